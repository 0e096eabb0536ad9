"""The mistakes worth looking at: faces that were missed and detections that are no face, worst first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mtcnn.boxes import FloatArray, area, iou
from mtcnn.evaluation.average_precision import FALSE_ALARM, match
from mtcnn.evaluation.collect import ImageResult

EXAMPLES = 24


@dataclass(frozen=True)
class Example:
    """One box worth looking at: a labelled face that was missed, or a detection that is no face."""

    shard: str
    key: str
    name: str
    box: tuple[float, ...]
    """x1 y1 x2 y2 in pixels."""
    score: float
    """Of the detection; for a face, of the detection that found it after all, 0 for none."""
    iou: float
    """The largest IoU with any detection (face) or any labelled face (detection)."""


def worst(images: Sequence[ImageResult], threshold: float) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The worst misses and the worst false alarms at IoU `threshold`, at most 24 of each, worst first."""
    misses = sorted(_misses(images, threshold), key=lambda row: row[0])[:EXAMPLES]
    alarms = sorted(_alarms(images, threshold), key=lambda row: row[0])[:EXAMPLES]
    return tuple(example for _, example in misses), tuple(example for _, example in alarms)


def _misses(images: Sequence[ImageResult], threshold: float) -> Iterator[tuple[tuple[float, float], Example]]:
    for image in images:
        labelled = image.labelled
        fate = match(labelled, threshold)
        score = np.zeros(len(labelled.truth), np.float32)
        score[fate[fate >= 0]] = labelled.scores[fate >= 0]
        best = _largest(iou(labelled.truth, labelled.boxes))
        sizes = area(labelled.truth)
        faces = np.flatnonzero(~labelled.ignore)
        # No image can give more than the sheet shows.
        for face in faces[np.lexsort((-sizes[faces], score[faces]))][:EXAMPLES]:
            example = _example(image, labelled.truth[face], score[face], best[face])
            yield (example.score, -float(sizes[face])), example


def _alarms(images: Sequence[ImageResult], threshold: float) -> Iterator[tuple[float, Example]]:
    for image in images:
        labelled = image.labelled
        false = np.flatnonzero(match(labelled, threshold) == FALSE_ALARM)
        false = false[np.argsort(-labelled.scores[false], kind="stable")][:EXAMPLES]
        best = _largest(iou(labelled.boxes[false], labelled.truth))
        for index, overlap in zip(false, best, strict=True):
            example = _example(image, labelled.boxes[index], labelled.scores[index], overlap)
            yield -example.score, example


def _largest(overlap: FloatArray) -> FloatArray:
    best: FloatArray = overlap.max(axis=1, initial=0)
    return best


def _example(image: ImageResult, box: FloatArray, score: np.float32, overlap: np.float32) -> Example:
    return Example(image.shard, image.key, image.name, tuple(box.tolist()), float(score), float(overlap))
