"""Parts of the report against what they show: crops and targets, hard negatives, pictures, charts."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mtcnn.detector import Faces
from mtcnn.evaluation import evaluate
from mtcnn.nets import Outputs
from mtcnn.report.charts import Line, line_chart, linear, logarithmic
from mtcnn.report.crops import hardest, sample, sheet
from mtcnn.report.pictures import close_ups, operating_score, pictures
from mtcnn.shards import Crops
from mtcnn.sources.read import read_index
from mtcnn.store import open_store
from mtcnn.words import duration


def test_targets_are_drawn_where_they_point(crops):
    boxes = np.array([[-0.1, 0.2, 0.05, -0.3]], np.float32)
    points = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]], np.float32)
    html = sheet([Crops(np.zeros((1, 12, 12, 3), np.uint8), boxes, points, np.zeros((1, 4), np.int32))])
    # Of a crop drawn 100 wide: the face spans -10..105 and 20..70.
    assert 'x="-10.0" y="20.0" width="115.0" height="50.0"' in html
    assert re.findall(r'cx="(\S+)" cy="(\S+)"', html)[1:3] == [("30.0", "40.0"), ("50.0", "60.0")]
    plain = sheet([crops(np.random.default_rng(0), 2, 12, "neg")])
    assert "<rect" not in plain and "<circle" not in plain and plain.count("<image") == 2


class Bright(torch.nn.Module):
    """A net whose score is how bright a crop is."""

    def forward(self, x):
        bright = x.mean(dim=(1, 2, 3))
        return Outputs(torch.stack([-bright, bright], dim=1)[..., None, None], x, None)


def test_hardest_negatives_are_those_scored_highest_of_all_shards(tmp_path, mined):
    store = open_store(str(tmp_path))
    manifest = mined(store, "pnet", units=6, count=50)
    found = hardest(store, manifest, Bright(), torch.device("cpu"), 12)
    # Four of the five training shards are read, and the one that is held out.
    images = [sample(store, manifest, "neg", 200)[i].images for i in range(4)]
    rng_images = np.concatenate(images).mean(axis=(1, 2, 3))
    training = [n.image.mean() for n in found if n.split == "train"]
    assert [n.score for n in found] == sorted((n.score for n in found), reverse=True)
    assert len(found) == 12 and {n.split for n in found} == {"train", "val"}
    assert training == sorted(rng_images, reverse=True)[: len(training)]


def test_a_sheet_reads_few_shards_whatever_the_number(tmp_path, mined):
    store = open_store(str(tmp_path))
    manifest = mined(store, "rnet", units=9, count=10)
    assert [len(part) for part in sample(store, manifest, "pos", 20)] == [5, 5, 5, 5]


def test_pictures_show_what_became_of_every_face(source, knows):
    faces = read_index(source).faces
    for finds, kind, other in ((True, "found", "missed"), (False, "missed", "found")):
        detector = knows(finds)
        result = evaluate(detector, source)
        html = pictures(result, detector, operating_score(result))
        assert html.count(f'<rect class="{kind}"') == faces
        assert f'<rect class="{other}"' not in html and '<rect class="false"' not in html


def test_a_detection_that_is_no_face_is_marked_false_and_one_below_the_score_is_left_out(source, knows):
    detector = knows()
    result = evaluate(detector, source)
    detector.detect = lambda rgb: Faces(
        np.array([[0, 0, 3, 3], [5, 5, 8, 8]], np.float32),
        np.array([0.9, 0.3], np.float32),
        np.full((2, 5, 2), np.nan, np.float32),
    )
    html = pictures(result, detector, 0.5)
    assert html.count('<rect class="false"') == html.count("<figure")
    assert "<title>0.90</title>" in html and "<title>0.30</title>" not in html


def test_close_ups_are_in_the_order_of_the_examples(source, knows):
    result = evaluate(knows(finds=False), source)
    html = close_ups(source, result.misses, "missed")
    assert re.findall(r"<br>(synthetic-\d+.jpg)", html) == [example.name for example in result.misses]
    assert html.count('class="missed"') == len(result.misses)


def test_the_operating_score_balances_precision_and_recall_best(known):
    recall, precision = np.array([0.2, 0.5, 0.6, 0.7]), np.array([1.0, 0.9, 0.8, 0.5])
    curve = replace(known.curve, scores=np.array([0.9, 0.7, 0.6, 0.1]), recall=recall, precision=precision)
    result = replace(known, curves=(curve,))
    assert operating_score(result) == 0.6
    nothing = replace(curve, scores=np.zeros(0), recall=np.zeros(0), precision=np.zeros(0))
    assert operating_score(replace(known, curves=(nothing,))) == 0.5


def test_lines_are_drawn_to_scale_without_what_is_not_finite():
    line = Line("loss", [1, 2, 3, 4], [0.0, float("nan"), 0.5, 1.0])
    html = line_chart(
        "Loss", [line, Line("empty", [1], [float("inf")])], "epoch", linear(1, 4, whole=True), linear(0, 1)
    )
    (path,) = re.findall(r'points="([^"]+)"', html)
    places = [tuple(map(float, point.split(","))) for point in path.split()]
    assert len(places) == 3
    (x1, y1), (x3, y3), (x4, y4) = places
    assert (x3 - x1) / (x4 - x1) == pytest.approx(2 / 3, abs=0.01)
    assert y1 - y3 == pytest.approx(y3 - y4, abs=0.11) and y4 < y3 < y1
    assert line_chart("Loss", [Line("empty", [], [])], "epoch", linear(0, 1), linear(0, 1)) == ""


def test_long_lines_are_thinned_and_keep_their_ends():
    line = Line("curve", list(range(5000)), list(range(5000)))
    assert len(line.points()) == 200
    assert (line.points()[0], line.points()[-1]) == ((0, 0), (4999, 4999))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)), (0.52, 0.68, (0.5, 0.55, 0.6, 0.65, 0.7)), (3, 3, (1, 2, 3, 4, 5))],
)
def test_ticks_are_round_and_hold_the_range(low, high, expected):
    axis = linear(low, high)
    assert axis.ticks == pytest.approx(expected)
    assert axis.low <= low and axis.high >= high


def test_epochs_have_whole_ticks_and_powers_of_ten_are_evenly_apart():
    assert linear(1, 3, whole=True).ticks == (1, 2, 3)
    assert linear(1, 40, whole=True).ticks == (10, 20, 30, 40)
    axis = logarithmic(0.5, 2000)
    assert axis.share(100) - axis.share(10) == pytest.approx(axis.share(1000) - axis.share(100))
    assert axis.share(0.5) == 0 and axis.share(2000) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (8.21, "8.2 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"), (7799.6, "2 h 10 min")],
)
def test_times_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words
