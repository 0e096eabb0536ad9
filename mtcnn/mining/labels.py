"""IoU labels of squares, and the choice of those that become crops.

Positive, part and negative as in Zhang et al. 2016; between negative and part a square is unused.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtcnn import boxes as bx
from mtcnn.boxes import FloatArray, IntArray
from mtcnn.config import Mining

IGNORED_SHARE = 0.3
"""A square with more of its area than this on one ignore region is not used."""


@dataclass(frozen=True)
class Labels:
    """What squares (N, 4) are: indices into them."""

    pos: IntArray
    part: IntArray
    neg: IntArray
    face: IntArray
    """Nearest face of every square (N,), by IoU; -1 where the image has none."""
    iou: FloatArray
    """IoU of every square with it (N,); 0 where the image has none."""


def label(
    squares: FloatArray, scores: FloatArray, faces: FloatArray, ignored: FloatArray, options: Mining
) -> Labels:
    """Labels of squares (N, 4) against faces (F, 4) and ignore regions (I, 4).

    `scores` (N,) are those of the nets so far, NaN for squares that no net proposed; they and the share inside a
    face rule out negatives that are likely faces without a label (`Mining.sure_negative`, `Mining.inside_face`).
    """
    face = np.full(len(squares), -1, np.int64)
    best = np.zeros(len(squares), np.float32)
    if len(faces):
        overlap = bx.iou(squares, faces)
        face, best = overlap.argmax(axis=1), overlap.max(axis=1)
    # No comparison holds for the NaN of squares that were not proposed.
    unsure = scores > options.sure_negative
    if len(faces) and options.inside_face < 1:
        unsure |= np.isfinite(scores) & (bx.coverage(squares, faces).max(axis=1) > options.inside_face)
    if len(ignored):
        unsure |= (bx.coverage(squares, ignored) > IGNORED_SHARE).any(axis=1)
    positive = best >= options.positive_iou
    part = (best >= options.part_iou) & ~positive
    negative = (best < options.negative_iou) & ~unsure
    return Labels(np.flatnonzero(positive), np.flatnonzero(part), np.flatnonzero(negative), face, best)


def choose(rng: np.random.Generator, candidates: IntArray, most: int) -> IntArray:
    """At most `most` of `candidates`, at random, in their old order."""
    if len(candidates) <= most:
        return candidates
    return np.sort(rng.choice(candidates, most, replace=False))


def choose_negatives(
    rng: np.random.Generator, negatives: IntArray, preferred: npt.NDArray[np.bool_], share: float, most: int
) -> IntArray:
    """At most `most` of `negatives`, `share` of them from those that `preferred` (per square) marks.

    Where one kind is short the other fills in.
    """
    first, second = negatives[preferred[negatives]], negatives[~preferred[negatives]]
    wanted = max(round(most * share), most - len(second))
    chosen = choose(rng, first, wanted)
    return np.concatenate([chosen, choose(rng, second, most - len(chosen))])
