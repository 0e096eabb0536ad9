"""The WIDER FACE protocol against a slow, literal version of the official one, on made and real lists."""

import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from mtcnn.errors import UserError
from mtcnn.evaluation.wider import SETTINGS, WiderImage, evaluate_wider, official_name, read_ground_truth


def slow_overlap(a, b):
    """IoU of two x1 y1 x2 y2 boxes whose corners are part of them."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - shared)


def slow_protocol(truth, detections, setting):
    """AP of one setting as the MATLAB tools go: a loop for every detection and every threshold."""
    every = [float(s) for _, scores in detections.values() for s in scores]
    low, high = min(every), max(every)
    sums, faces = np.zeros((1000, 2)), 0
    for name, (boxes, scores) in detections.items():
        image = truth[name]
        faces += int(sum(image.counted[setting]))
        order = sorted(range(len(scores)), key=lambda i: -float(scores[i]))
        listed = [(x, y, x + w, y + h) for x, y, w, h in image.boxes_xywh.tolist()]
        state, proposal, recalled = [0] * len(listed), [], []
        for d in order:
            overlaps = [slow_overlap([float(v) for v in boxes[d]], face) for face in listed]
            best = max(overlaps)
            at = overlaps.index(best)
            valid = 1
            if best >= 0.5 and not image.counted[setting][at]:
                state[at], valid = -1, -1
            elif best >= 0.5 and state[at] == 0:
                state[at] = 1
            proposal.append(valid)
            recalled.append(state.count(1))
        for t in range(1, 1001):
            passing = [
                i for i, d in enumerate(order) if (float(scores[d]) - low) / (high - low) >= 1 - t / 1000
            ]
            if passing:
                sums[t - 1] += proposal[: passing[-1] + 1].count(1), recalled[passing[-1]]
    recall = [0.0, *(found / faces for found in sums[:, 1]), 1.0]
    precision = [0.0, *(found / n if n else 0.0 for n, found in sums), 0.0]
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def jittered(rng, truth, noise):
    """Detections of a WiderImage's boxes, moved, doubled and mixed with noise, with scores."""
    listed = truth.boxes_xywh
    boxes = np.concatenate([listed[:, :2], listed[:, :2] + listed[:, 2:]], axis=1)
    boxes = boxes[rng.random(len(boxes)) < 0.8]
    boxes = np.concatenate([boxes, boxes[rng.random(len(boxes)) < 0.3]])
    side = np.sqrt(np.maximum((boxes[:, 2:3] - boxes[:, :1]) * (boxes[:, 3:] - boxes[:, 1:2]), 1))
    boxes = boxes + rng.normal(0, noise, boxes.shape) * side
    corner = rng.uniform(0, 300, (rng.integers(0, 4), 2))
    boxes = np.concatenate([boxes, np.concatenate([corner, corner + 40], axis=1)])
    return boxes.astype(np.float32), rng.random(len(boxes)).astype(np.float32)


def made_truth(rng, images):
    truth = {}
    for number in range(images):
        count = int(rng.integers(1, 9))
        boxes = np.concatenate([rng.integers(0, 300, (count, 2)), rng.integers(2, 90, (count, 2))], axis=1)
        easy = rng.random(count) < 0.3
        medium = easy | (rng.random(count) < 0.4)
        counted = {"easy": easy, "medium": medium, "hard": medium | (rng.random(count) < 0.7)}
        truth[f"0--Parade/{number}"] = WiderImage(boxes.astype(np.float64), counted)
    return truth


def test_it_agrees_with_a_literal_version_of_the_official_protocol():
    rng = np.random.default_rng(0)
    truth = made_truth(rng, 25)
    detections = {name: jittered(rng, image, 0.12) for name, image in truth.items()}
    detections["0--Parade/0"] = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    for result in evaluate_wider(truth, detections):
        assert 0.1 < result.ap < 0.9
        assert result.ap == pytest.approx(slow_protocol(truth, detections, result.setting), abs=1e-12)


def test_scores_are_normalised_over_the_whole_set():
    rng = np.random.default_rng(1)
    truth = made_truth(rng, 8)
    detections = {name: jittered(rng, image, 0.1) for name, image in truth.items()}
    shifted = {
        name: (boxes, scores * np.float32(0.25) + np.float32(0.5))
        for name, (boxes, scores) in detections.items()
    }
    for plain, other in zip(evaluate_wider(truth, detections), evaluate_wider(truth, shifted), strict=True):
        assert other.ap == pytest.approx(plain.ap, abs=0.01)


def test_a_face_outside_the_setting_absorbs_its_detections():
    boxes = np.array([[0, 0, 20, 20], [100, 100, 20, 20]], np.float64)
    counted = {setting: np.array([True, False]) for setting in SETTINGS}
    found = np.array([[100, 100, 120, 120], [0, 0, 20, 20]], np.float32)
    results = evaluate_wider(
        {"a/b": WiderImage(boxes, counted)}, {"a/b": (found, np.array([0.9, 0.3], np.float32))}
    )
    assert results[0].ap == pytest.approx(1)


def test_a_second_detection_of_a_face_is_a_false_alarm():
    image = WiderImage(
        np.array([[0, 0, 20, 20], [90, 0, 20, 20]], np.float64), dict.fromkeys(SETTINGS, np.ones(2, bool))
    )
    found = np.array([[0, 0, 20, 20], [0, 0, 20, 21], [90, 0, 110, 20]], np.float32)
    result = evaluate_wider({"a/b": image}, {"a/b": (found, np.array([0.9, 0.8, 0.1], np.float32))})[0]
    assert result.precision[-1] == pytest.approx(2 / 3)
    assert result.ap == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_an_image_that_is_not_of_the_set_is_refused_by_name():
    with pytest.raises(UserError, match="0--Parade/other"):
        evaluate_wider({}, {"0--Parade/other": (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))})


@pytest.mark.parametrize(
    "path", ["0--Parade/0_a_1.jpg", "WIDER_val/images/0--Parade/0_a_1.jpg", "x\\0--Parade\\0_a_1.jpg"]
)
def test_the_official_name_is_event_and_image_wherever_the_folder_lies(path):
    assert official_name(path) == "0--Parade/0_a_1"


def cells(rows):
    out = np.empty((len(rows), 1), object)
    for i, row in enumerate(rows):
        out[i, 0] = row
    return out


def write_lists(folder, boxes, kept):
    for setting in SETTINGS:
        content = {
            "event_list": cells(["0--Parade"]),
            "file_list": cells([cells(["one", "two"])]),
            "face_bbx_list": cells([cells(boxes)]),
            "gt_list": cells([cells(kept[setting])]),
        }
        savemat(folder / f"wider_{setting}_val.mat", content)


def test_lists_are_read_with_counting_from_one(tmp_path):
    boxes = [np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.zeros((0, 4))]
    none = np.zeros((0, 0))
    write_lists(tmp_path, boxes, {"easy": [none, none], "medium": [[[2]], none], "hard": [[[1], [2]], none]})
    truth = read_ground_truth(tmp_path)
    assert list(truth) == ["0--Parade/one", "0--Parade/two"]
    counted = truth["0--Parade/one"].counted
    assert [counted[s].tolist() for s in SETTINGS] == [[False, False], [False, True], [True, True]]
    assert truth["0--Parade/two"].boxes_xywh.shape == (0, 4)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"wider_easy_val\.mat: not found"):
        read_ground_truth(tmp_path)
    (tmp_path / "wider_easy_val.mat").write_bytes(b"not a list" * 50)
    with pytest.raises(UserError, match=r"wider_easy_val\.mat: not an official"):
        read_ground_truth(tmp_path)


@pytest.fixture(scope="module")
def real(request):
    folder = request.getfixturevalue("shared_data") / "wider"
    return read_ground_truth(folder)


def as_detections(image):
    boxes = image.boxes_xywh.astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, np.linspace(0.9, 0.1, len(boxes), dtype=np.float32)


def test_the_real_lists_hold_the_published_numbers_of_faces(real):
    assert len(real) == 3226
    assert sum(len(image.boxes_xywh) for image in real.values()) == 39708
    faces = {s: sum(int(image.counted[s].sum()) for image in real.values()) for s in SETTINGS}
    assert faces == {"easy": 7211, "medium": 13319, "hard": 31958}


def test_the_real_boxes_given_as_detections_are_nearly_perfect(real):
    for result in evaluate_wider(real, {name: as_detections(image) for name, image in real.items()}):
        assert result.ap > 0.995


def test_only_the_faces_of_the_images_given_count(real, shared_data):
    with tarfile.open(shared_data / "wider" / "WIDER_val_slice.tar") as tar:
        names = [official_name(member.name) for member in tar if member.name.endswith(".jpg")]
    results = evaluate_wider(real, {name: as_detections(real[name]) for name in names})
    for result in results:
        assert result.images == 60
        assert result.faces == sum(int(real[name].counted[result.setting].sum()) for name in names)
        assert result.ap > 0.995


def test_a_truncated_list_is_named(shared_data, tmp_path):
    data = (shared_data / "wider" / "wider_easy_val.mat").read_bytes()
    (tmp_path / "wider_easy_val.mat").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"wider_easy_val\.mat: not an official"):
        read_ground_truth(tmp_path)


def test_it_agrees_with_the_literal_version_on_a_part_of_the_real_lists(real):
    rng = np.random.default_rng(2)
    chosen = [name for name, image in real.items() if len(image.boxes_xywh) < 60][::50]
    detections = {name: jittered(rng, real[name], 0.1) for name in chosen}
    for result in evaluate_wider(real, detections):
        assert result.images == len(chosen) > 50
        assert result.ap == pytest.approx(slow_protocol(real, detections, result.setting), abs=1e-12)
