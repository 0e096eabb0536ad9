"""The three losses of a stage, over batches whose classes lie in fixed blocks: pos, part, neg, landmark.

Classification is cross-entropy with hard-example mining (Zhang et al. 2016: the worst 70 % count); boxes and points
use smooth L1, whose gradient does not fade as errors become small, so localisation keeps improving.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mtcnn.config import Training
from mtcnn.nets import Outputs

SMOOTH = 0.02
"""Error, in crop sides, below which smooth L1 is quadratic."""


@dataclass(frozen=True)
class Blocks:
    """How many crops of each class a batch holds, in this order."""

    pos: int
    part: int
    neg: int
    landmark: int

    @property
    def total(self) -> int:
        """Crops in the batch."""
        return self.pos + self.part + self.neg + self.landmark

    def sizes(self) -> dict[str, int]:
        """Crops by class, without the classes that have none."""
        sizes = {"pos": self.pos, "part": self.part, "neg": self.neg, "landmark": self.landmark}
        return {name: size for name, size in sizes.items() if size}


def blocks(options: Training, landmarks: bool) -> Blocks:
    """The composition of `batch_size` crops by the configured shares."""
    shares = [options.positives, options.parts, options.negatives, options.landmarks if landmarks else 0.0]
    unit = options.batch_size / sum(shares)
    pos, part, landmark = (
        max(round(share * unit), 1 if share else 0) for share in (shares[0], shares[1], shares[3])
    )
    return Blocks(pos, part, max(options.batch_size - pos - part - landmark, 1), landmark)


@dataclass(frozen=True)
class Losses:
    """Mean losses of a batch; `total` is weighted."""

    total: Tensor
    classification: Tensor
    box: Tensor
    landmark: Tensor


def losses(out: Outputs, boxes: Tensor, landmarks: Tensor, parts: Blocks, options: Training) -> Losses:
    """Losses of a net's outputs (B, ...) against box targets (B, 4) and landmark targets (B, 10)."""
    logits, offsets = out.logits.flatten(1).float(), out.offsets.flatten(1).float()
    framed = parts.pos + parts.part
    classed = torch.cat([logits[: parts.pos], logits[framed : framed + parts.neg]])
    truth = torch.zeros(len(classed), dtype=torch.long, device=logits.device)
    truth[: parts.pos] = 1
    each = F.cross_entropy(classed, truth, reduction="none")
    hard = max(int(len(each) * options.hard_share), 1)
    classification = each.topk(hard).values.mean() if hard < len(each) else each.mean()
    box = _smooth(offsets[:framed], boxes[:framed])
    landmark = torch.zeros((), device=logits.device)
    if out.landmarks is not None and parts.landmark:
        landmark = _smooth(out.landmarks.flatten(1)[-parts.landmark :].float(), landmarks[-parts.landmark :])
    total = (
        options.class_weight * classification + options.box_weight * box + options.landmark_weight * landmark
    )
    return Losses(total, classification.detach(), box.detach(), landmark.detach())


def _smooth(predicted: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 summed over coordinates, averaged over crops."""
    return F.smooth_l1_loss(predicted, target, beta=SMOOTH, reduction="sum") / max(len(target), 1)
