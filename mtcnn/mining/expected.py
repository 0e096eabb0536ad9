"""How many crops a stage will give, worked out before it is mined: for a plan, not for a decision.

The shares are those of squares around faces that get each label, as measured on synthetic scenes and on photos; what
the nets before propose around a face adds to them.
"""

from collections.abc import Mapping

from mtcnn.config import Stage
from mtcnn.nets import SIZES
from mtcnn.sources.read import Summary

STEPS = (0.0, 12.0, 20.0, 40.0, 80.0, 160.0)
"""Where the size classes of a Summary begin, in pixels of the shorter side."""
SLENDER = 1.25
"""A face's longer side, in shorter ones."""
POSITIVE, PART = 0.25, 0.8
"""Share of jittered squares that become crops; of landmark squares around labels it is that of positives."""
POINTS = 0.5
"""Share of landmark squares around proposals: these are square, as crops are."""
PROPOSED = {"pos": 2.0, "part": 5.0}
"""Crops of a face from the proposals of the nets before."""
NEGATIVES_KEPT = 0.92
"""Share of the most negatives of an image that are found."""
TARGETS = 72
"""Bytes of a crop beside its pixels: box, landmarks, origin."""


def expected_crops(
    stage: str, options: Stage, sources: Mapping[str, tuple[Summary, frozenset[str]]]
) -> dict[str, int]:
    """About how many crops of each class `stage` gives: `sources` are what each holds and the classes it may give."""
    mining = options.mining
    proposed = PROPOSED if stage != "pnet" else {"pos": 0.0, "part": 0.0}
    around = POINTS if stage != "pnet" else POSITIVE
    total = dict.fromkeys(("pos", "part", "neg", "landmark"), 0.0)
    for summary, classes in sources.values():
        large = _share_from(summary, mining.min_face / SLENDER)
        faces, points = large * summary.faces, large * summary.with_landmarks
        tried = mining.random_squares + (
            mining.near_squares * faces / summary.images if summary.images else 0
        )
        found = {
            "pos": faces * min(POSITIVE * mining.jittered_squares + proposed["pos"], mining.crops_per_face),
            "part": faces * min(PART * mining.jittered_squares + proposed["part"], mining.crops_per_face),
            # Proposals alone are more than are kept.
            "neg": summary.images
            * NEGATIVES_KEPT
            * (min(tried, mining.negatives_per_image) if stage == "pnet" else mining.negatives_per_image),
            "landmark": points * around * mining.landmark_squares if options.net.landmarks else 0.0,
        }
        for name in classes:
            total[name] += found[name]
    return {name: round(count) for name, count in total.items()}


def crop_bytes(stage: str) -> int:
    """Bytes of one crop of `stage` in its shard."""
    return 3 * SIZES[stage] ** 2 + TARGETS


def _share_from(summary: Summary, smallest: float) -> float:
    """Share of the faces whose shorter side is at least `smallest`; within a size class, evenly spread."""
    if not summary.faces:
        return 0.0
    over = 0.0
    for begin, end, faces in zip(STEPS, (*STEPS[1:], 2 * STEPS[-1]), summary.sizes, strict=True):
        over += faces * min(max((end - smallest) / (end - begin), 0.0), 1.0)
    return over / summary.faces
