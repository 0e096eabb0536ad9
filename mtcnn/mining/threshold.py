"""The score above which a stage passes a crop on, chosen by recall on held-out images instead of by a constant."""

from collections.abc import Iterable

import numpy as np

from mtcnn import boxes as bx
from mtcnn.config import Mining
from mtcnn.detector import Detector
from mtcnn.errors import ImageError
from mtcnn.nets import Net
from mtcnn.sources.annotation import SourceImage

FLOOR = 0.02
"""Lowest threshold considered: below it proposals are too many to be of use."""
REACHABLE = 0.99
"""Share of the faces found at the floor that is kept where the target recall is out of reach."""
HIT_IOU = 0.5


def mining_threshold(
    nets: list[Net],
    thresholds: list[float],
    images: Iterable[SourceImage],
    options: Mining,
    recall: float,
    device: str = "cpu",
) -> tuple[float, float]:
    """Threshold of the last of `nets` and the recall of the faces in `images` that it gives.

    `thresholds` are those of the nets before it. Greedy suppression goes by score, so raising the threshold removes
    boxes without uncovering others: one run at the floor tells the recall of every threshold.
    """
    detector = Detector(nets, device, options.min_face, options.factor, [*thresholds, FLOOR])
    scores: list[float] = []
    for image in images:
        try:
            rgb = image.decode()
        except ImageError:
            continue
        boxes = image.annotation.boxes[~image.annotation.ignore]
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= options.min_face]
        found = list(detector.trace(rgb).values())[-1]
        hits = bx.iou(boxes, found.boxes) >= HIT_IOU
        best = np.where(hits, found.scores[None], 0).max(axis=1, initial=0)
        scores.extend(best.tolist())
    if not scores or max(scores) == 0:
        return FLOOR, 0.0
    ranked = np.sort(np.array(scores))[::-1]
    found_at_all = int((ranked > 0).sum())
    wanted = min(round(recall * len(ranked)), round(REACHABLE * found_at_all))
    # A detection passes when its score is above the threshold: step just below the last face that is wanted.
    threshold = float(np.clip(ranked[max(wanted, 1) - 1] - 1e-4, FLOOR, 0.95))
    return threshold, float((ranked > threshold).mean())
