"""Average precision over images with labelled boxes and ignore regions, and the curves behind it.

All-point interpolation (area under the monotone envelope, as PASCAL VOC since 2010); recall over the total of
false positives as in FDDB.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray, IntArray, coverage, iou

FALSE_ALARM = -1
NEUTRAL = -2

IGNORED_FROM = 0.5

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """One image: found are boxes (D, 4) with scores (D,), there are truth (F, 4) with ignore bool (F,)."""

    boxes: FloatArray
    scores: FloatArray
    truth: FloatArray
    ignore: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Quality at one IoU. The arrays (K,) hold one point for every different score, best score first."""

    iou: float
    images: int
    faces: int
    scores: Doubles
    precision: Doubles
    recall: Doubles
    false_positives: IntArray
    ap: float
    """Average precision in 0..1; NaN when there is no face to find."""

    def recall_at(self, false_positives: int) -> float:
        """Recall at the lowest score that lets at most so many false positives through on the whole set."""
        last = int(np.searchsorted(self.false_positives, false_positives, side="right")) - 1
        return float(self.recall[last]) if last >= 0 else 0.0

    def thinned(self, points: int) -> "Curve":
        """The curve with at most `points` points evenly spread over it, ends included; its AP stays exact."""
        count = len(self.scores)
        if count <= points:
            return self
        keep = np.unique(np.linspace(0, count - 1, points).round().astype(np.int64))
        arrays = self.scores[keep], self.precision[keep], self.recall[keep], self.false_positives[keep]
        return Curve(self.iou, self.images, self.faces, *arrays, self.ap)


def match(image: Labelled, threshold: float) -> IntArray:
    """What became of each detection (D,): index of the face it found, FALSE_ALARM or NEUTRAL.

    Best score first, a detection takes the free face it overlaps most, if their IoU is at least `threshold`;
    one that takes none but lies by half or more in an ignore region is neutral.
    """
    fate = np.full(len(image.boxes), FALSE_ALARM, np.int64)
    if len(fate) == 0:
        return fate
    faces = np.flatnonzero(~image.ignore)
    overlap = iou(image.boxes, image.truth[faces])
    near = np.flatnonzero((overlap >= threshold).any(axis=1))
    for index in near[np.argsort(-image.scores[near], kind="stable")]:
        best = int(np.argmax(overlap[index]))
        if overlap[index, best] >= threshold:
            fate[index] = faces[best]
            overlap[:, best] = -1
    if image.ignore.any():
        inside = coverage(image.boxes, image.truth[image.ignore]).max(axis=1) >= IGNORED_FROM
        fate[(fate == FALSE_ALARM) & inside] = NEUTRAL
    return fate


def curve(images: Iterable[Labelled], threshold: float) -> Curve:
    """Precision, recall and AP at IoU `threshold` over all images; neutral detections count for nothing."""
    hits: list[npt.NDArray[np.bool_]] = []
    scores: list[FloatArray] = []
    faces = count = 0
    for image in images:
        fate = match(image, threshold)
        counted = fate != NEUTRAL
        hits.append(fate[counted] >= 0)
        scores.append(image.scores[counted])
        faces += int((~image.ignore).sum())
        count += 1
    hit = np.concatenate(hits) if hits else np.zeros(0, bool)
    score = np.concatenate(scores).astype(np.float64) if scores else np.zeros(0)
    order = np.argsort(-score, kind="stable")
    hit, score = hit[order], score[order]
    # A threshold cannot part equal scores, so the order of images must not either.
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])
    true = np.cumsum(hit)[last]
    false = np.cumsum(~hit)[last]
    recall = true / faces if faces else np.full(len(true), np.nan)
    precision = true / np.maximum(true + false, 1)
    ap = area_under(recall, precision) if faces else float("nan")
    return Curve(threshold, count, faces, score[last], precision, recall, false, ap)


def area_under(recall: Doubles, precision: Doubles) -> float:
    """Area under the monotone envelope of a precision-recall curve (K,), (K,) given with growing recall.

    An undefined precision (NaN, where nothing is found yet) counts for nothing, as with MATLAB's `max`.
    """
    x = np.concatenate([[0.0], recall, [1.0]])
    y = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.fmax.accumulate(y[::-1])[::-1]
    return float(np.sum(np.diff(x) * envelope[1:]))
