"""The mining threshold against trying every threshold in turn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mtcnn.config import Mining
from mtcnn.detector import Faces
from mtcnn.image import encode_jpeg
from mtcnn.mining import threshold as module
from mtcnn.mining.threshold import FLOOR, mining_threshold
from mtcnn.sources.annotation import Annotation, SourceImage

FACES = 40


def picture(number: int) -> SourceImage:
    """An image of two faces, one of 20 px, one of 40 px; its brightness is its number."""
    boxes = np.array([[5, 5, 25, 25], [40, 20, 80, 60], [0, 60, 30, 90], [90, 90, 98, 98]], np.float32)
    ignore = np.array([False, False, True, False])
    data = encode_jpeg(np.full((100, 100, 3), number * 5, np.uint8), 100)
    return SourceImage(
        f"i{number}", data, Annotation(100, 100, boxes, ignore, np.full((4, 5, 2), np.nan, np.float32))
    )


class Scripted:
    """A detector whose answer for image n is written down; it lets pass what is above its threshold."""

    boxes: np.ndarray
    scores: np.ndarray

    def __init__(
        self, nets: Sequence[Any], device: str, min_face: float, factor: float, thresholds: Sequence[float]
    ) -> None:
        self.threshold = thresholds[-1]
        self.options = len(nets), min_face, factor, list(thresholds)

    def trace(self, rgb: np.ndarray) -> dict[str, Faces]:
        number = round(float(rgb.mean()) / 5)
        boxes, scores = self.boxes[number], self.scores[number]
        passed = scores > self.threshold
        none = np.zeros((0, 4), np.float32)
        unknown = np.zeros((0, 5, 2), np.float32)
        return {
            "pnet": Faces(none, none[:, 0], unknown),
            "rnet": Faces(boxes[passed], scores[passed], unknown),
        }


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    """Boxes near the faces, some too far off, with scores of all heights."""
    rng = np.random.default_rng(1)
    truth = picture(0).annotation.boxes
    count = 30
    side = (truth[:3, 2] - truth[:3, 0])[rng.integers(0, 3, (FACES, count))]
    chosen = truth[rng.integers(0, 3, (FACES, count))]
    Scripted.boxes = (chosen + rng.normal(0, 0.15, (FACES, count, 1)) * side[..., None]).astype(np.float32)
    Scripted.scores = (rng.random((FACES, count)) ** 3).astype(np.float32)
    monkeypatch.setattr(module, "Detector", Scripted)
    return Scripted


def recall_at(threshold: float) -> float:
    """Share of the labelled faces of 12 px and more that have a passing box at IoU 0.5, face by face."""
    hits = total = 0
    for number in range(FACES):
        for face in picture(number).annotation.boxes[:2]:
            total += 1
            for box, score in zip(Scripted.boxes[number], Scripted.scores[number], strict=True):
                extent = np.maximum(np.minimum(face[2:], box[2:]) - np.maximum(face[:2], box[:2]), 0)
                area = np.prod(face[2:] - face[:2]) + np.prod(box[2:] - box[:2])
                if score > threshold and extent.prod() / (area - extent.prod()) >= 0.5:
                    hits += 1
                    break
    return hits / total


@pytest.mark.parametrize("recall", [0.5, 0.8, 0.9])
def test_it_is_the_highest_that_reaches_the_recall(scripted: type[Scripted], recall: float) -> None:
    images = [picture(number) for number in range(FACES)]
    threshold, reached = mining_threshold([], [0.6], images, Mining(), recall)
    assert reached == pytest.approx(recall_at(threshold)) and reached >= recall - 1e-6
    assert FLOOR < threshold < 0.95
    steps = np.sort(scripted.scores[scripted.scores > threshold + 2e-4])
    assert recall_at(steps[0]) < recall or recall_at(steps[1]) < recall


def test_a_recall_out_of_reach_takes_nearly_all_that_is_found(scripted: type[Scripted]) -> None:
    scripted.boxes[: FACES // 2] += 500
    images = [picture(number) for number in range(FACES)]
    threshold, reached = mining_threshold([], [], images, Mining(), 0.97)
    assert recall_at(FLOOR) <= 0.5
    assert 0.98 * recall_at(FLOOR) <= reached == pytest.approx(recall_at(threshold))


def test_without_faces_or_hits_it_lets_everything_pass(scripted: type[Scripted]) -> None:
    assert mining_threshold([], [], [], Mining(), 0.97) == (FLOOR, 0.0)
    scripted.boxes += 500
    assert mining_threshold([], [], [picture(1)], Mining(), 0.97) == (FLOOR, 0.0)


def test_images_that_cannot_be_read_do_not_count(scripted: type[Scripted]) -> None:
    images = [picture(number) for number in range(FACES)]
    broken = SourceImage("broken", b"no image", images[0].annotation)
    assert mining_threshold([], [], [broken, *images], Mining(), 0.8) == mining_threshold(
        [], [], images, Mining(), 0.8
    )


def test_a_threshold_is_never_close_to_one(scripted: type[Scripted]) -> None:
    scripted.boxes[:] = picture(0).annotation.boxes[1]
    scripted.boxes[:, ::2] = picture(0).annotation.boxes[0]
    scripted.scores[:] = 0.999
    images = [picture(number) for number in range(FACES)]
    assert mining_threshold([], [], images, Mining(), 0.9) == (0.95, 1.0)
