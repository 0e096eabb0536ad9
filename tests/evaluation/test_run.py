"""A detector with known faults measured on a source: the figures are those faults, whatever the protocol."""

import json
import logging

import numpy as np
import pytest
from scipy.io import savemat

from mtcnn.errors import StoreError, UserError
from mtcnn.evaluation import evaluate, evaluate_landmarks, evaluate_wider_source, plots
from mtcnn.evaluation.collect import detect_source
from mtcnn.evaluation.sheet import draw_sheet
from mtcnn.image import decode
from tests.evaluation.conftest import Found, annotation


@pytest.fixture
def result(detector, source):
    return evaluate(detector, source)


def test_average_precision_counts_every_labelled_box_of_every_readable_image(result):
    assert (result.images, result.faces) == (9, 18)
    # 8 of 18 faces are found, the false alarm scores lower than all of them, the small faces never turn up
    assert result.ap == pytest.approx(dict.fromkeys((0.4, 0.5, 0.6, 0.7), 8 / 18))
    assert result.curve.recall[-1] == pytest.approx(8 / 18)
    assert result.curve.false_positives[-1] == 1


def test_another_iou_is_measured_with_the_usual_ones(detector, source):
    assert sorted(evaluate(detector, source, iou=0.9).ap) == [0.4, 0.5, 0.6, 0.7, 0.9]


def test_an_unreadable_image_is_named_and_left_out(detector, source, caplog):
    with caplog.at_level(logging.WARNING):
        result = evaluate(detector, source)
    assert len(result.skipped) == 1
    assert result.skipped[0].startswith("images/0--Parade/0_7.png: ")
    assert "0_7.png" in caplog.text


def test_recall_is_told_apart_by_size_and_by_stage(result):
    sizes = dict(zip(result.to_dict()["sizes"], result.recall_by_size, strict=True))
    assert sizes["12-20"] == 0
    assert sizes["40-80"] == pytest.approx(8 / 9)
    assert [row.stage for row in result.cascade.stages] == ["pnet", "onet"]
    assert [row.proposals for row in result.cascade.stages] == [6.0, pytest.approx(10 / 9)]
    assert [row.recall for row in result.cascade.stages] == [1.0, pytest.approx(8 / 18)]
    assert [row.milliseconds for row in result.cascade.stages] == [3.0, 1.0]


def test_landmarks_of_found_faces_are_measured(result):
    assert result.landmarks.summary()["nme_eyes_mean"] == pytest.approx(0.1, abs=1e-4)
    assert (result.landmarks.faces, result.landmarks.unmatched) == (18, 10)


def test_the_worst_miss_is_the_largest_face_never_found_and_the_worst_alarm_the_surest(result):
    assert result.misses[0].name == "images/0--Parade/0_3.png"
    assert result.misses[0].score == 0
    assert [round(alarm.score, 2) for alarm in result.alarms] == [0.8]
    assert result.alarms[0].box == (80, 60, 110, 90)


def test_the_result_is_plain_json_with_undefined_as_null(result):
    tree = json.loads(result.to_json())
    assert tree["ap"] == pytest.approx(8 / 18)
    assert tree["recall_by_size"][0] is None
    assert tree["cascade"][0]["recall_by_size"][0] is None
    assert len(tree["recall"]) == len(tree["false_positives"]) == len(tree["scores"])


def test_a_limit_takes_the_first_images_and_tells_of_each(detector, source):
    told = []
    found = detect_source(detector, source, limit=5, done=told.append)
    assert len(found.images) + len(found.skipped) == 5 == sum(told)
    assert (detector.traced, found.cascade) == (0, None)


def test_batches_and_traces_give_the_same_detections(detector, source):
    traced, batched = detect_source(detector, source, cascade=True), detect_source(detector, source)
    assert [i.key for i in traced.images] == [i.key for i in batched.images]
    for one, other in zip(traced.images, batched.images, strict=True):
        np.testing.assert_array_equal(one.labelled.boxes, other.labelled.boxes)


def test_images_are_looked_at_in_the_width_asked_for_and_measured_as_they_are(detector, source, monkeypatch):
    widths = []

    def half(rgb):
        widths.append(rgb.shape[1])
        truth = annotation(0)
        return Found(truth.boxes[:1] / 2, np.ones(1, np.float32), truth.landmarks[:1] / 2)

    monkeypatch.setattr(detector, "faces", half)
    found = detect_source(detector, source, width=80)
    assert set(widths) == {80}
    for image in found.images:
        np.testing.assert_allclose(image.labelled.boxes, annotation(0).boxes[:1])
        np.testing.assert_allclose(image.points, annotation(0).landmarks[:1], rtol=1e-5)
    # Half as wide, the large faces of 50 to 59 pixels have 25 to 30 and the small ones of 16 have 8.
    monkeypatch.setattr(detector, "trace", lambda rgb: {"onet": half(rgb)})
    assert detect_source(detector, source, width=80, cascade=True).cascade.faces_by_size == (9, 0, 9, 0, 0, 0)


def test_landmark_error_alone(detector, source):
    result = evaluate_landmarks(detector, source)
    assert result.to_dict()["matched"] == 8
    assert result.to_dict()["nme_eyes_median"] == pytest.approx(0.1, abs=1e-4)
    assert b"</svg>" in plots.landmark_errors(result)


def cell(*items):
    out = np.empty((len(items), 1), object)
    for i, item in enumerate(items):
        out[i, 0] = item
    return out


def test_the_wider_protocol_on_a_source(detector, source, tmp_path):
    # Eleven listed images of one face each, of which the source has nine that can be read.
    boxes = [np.array([[10, 10, 50 + n, 50 + n]]) for n in range(11)]
    lists = {
        "event_list": cell("0--Parade"),
        "file_list": cell(cell(*[f"0_{n}" for n in range(11)])),
        "face_bbx_list": cell(cell(*boxes)),
        "gt_list": cell(cell(*[np.array([[1]])] * 11)),
    }
    for setting in ("easy", "medium", "hard"):
        savemat(tmp_path / f"wider_{setting}_val.mat", lists)
    result = evaluate_wider_source(detector, source, tmp_path)
    assert (result.images, result.of_images) == (9, 11)
    assert [c.ap for c in result.curves] == [pytest.approx(8 / 9)] * 3
    assert json.dumps(result.to_dict(), allow_nan=False)
    assert plots.precision_recall(result).startswith(b"<?xml")
    assert "a part of the set" in result.lines()[0]


def test_images_that_are_not_of_wider_are_refused(detector, source, shared_data):
    with pytest.raises(UserError, match="0--Parade/0_"):
        evaluate_wider_source(detector, source, shared_data / "wider")


def test_a_source_that_is_not_there_is_named(detector, tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        evaluate(detector, str(tmp_path / "nowhere"))


@pytest.mark.parametrize("plot", [plots.precision_recall, plots.recall_false_positives, plots.recall_by_size])
def test_plots_are_svg_or_png_and_the_same_every_time(result, plot):
    assert plot(result, "png").startswith(b"\x89PNG")
    assert b"</svg>" in plot(result)


def test_the_sheet_shows_the_mistakes_in_their_colours(result):
    picture = decode(draw_sheet(result)).astype(int)
    yellow = (picture[:, :, 0] > 200) & (picture[:, :, 1] > 150) & (picture[:, :, 2] < 90)
    red = (picture[:, :, 0] > 200) & (picture[:, :, 1] < 110) & (picture[:, :, 2] < 110)
    assert yellow.sum() > 1000
    assert red.sum() > 100
    assert np.argmax(yellow.any(axis=1)) < np.argmax(red.any(axis=1)), "misses come first"


def test_nothing_found_and_nothing_labelled_still_makes_a_page(detector, source, monkeypatch):
    empty = detector.faces(np.full((1, 1, 3), 3, np.uint8))
    monkeypatch.setattr(detector, "faces", lambda rgb: empty)
    result = evaluate(detector, source)
    assert result.ap[0.5] == 0
    assert result.landmarks is None
    for plot in (plots.precision_recall, plots.recall_false_positives, plots.recall_by_size):
        assert b"</svg>" in plot(result)
    assert decode(draw_sheet(result)).shape[1] > 1000
