"""Boxes of a group of images as tensors on a device: what `boxes` and `peaks` are for one image on a CPU."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcnn.faces import Faces

PAIRS = 32_000_000
"""Pairs of boxes whose overlaps are held together, about 30 bytes each."""


class Found(NamedTuple):
    """Boxes (N, K, 4) of N images, margins (N, K), best first; points (N, K, 10) in pixels or NaN; float32.

    An image with fewer than K has a margin of -inf in the places left over.
    """

    boxes: Tensor
    margins: Tensor
    points: Tensor

    def faces(self) -> list[Faces]:
        """The faces of each image, in one copy to the host."""
        scores = torch.sigmoid(self.margins)[..., None]
        rows = torch.cat([self.boxes, scores, self.points, self.margins[..., None]], dim=2).cpu().numpy()
        found = []
        for image in rows:
            image = image[image[:, 15] > -np.inf]
            points = image[:, 5:15].reshape(-1, 5, 2)
            found.append(Faces(image[:, :4].copy(), image[:, 4].copy(), points.copy()))
        return found


def peaks(margins: Tensor, floor: float) -> Tensor:
    """Margins (N, rows, columns) of the cells that `peaks.peaks` keeps, -inf at all others."""
    left = torch.where(margins > floor, margins, -torch.inf)
    kept = torch.full_like(left, -torch.inf)
    while bool((left > -torch.inf).any()):
        peak = (left == F.max_pool2d(left[:, None], 3, 1, 1)[:, 0]) & (left > -torch.inf)
        kept = torch.where(peak, left, kept)
        hidden = F.max_pool2d(peak[:, None].float(), 3, 1, 1)[:, 0] > 0
        left = left.masked_fill(hidden, -torch.inf)
    return kept


def suppressed(boxes: Tensor, margins: Tensor, threshold: float) -> Tensor:
    """Margins (N, K), best first, -inf where `boxes.nms` drops the box.

    Who stays is settled from the best on: each round settles at least one more box of every image, and mostly all
    but a few, for chains of boxes that hide each other are short.
    """
    out = []
    step = max(PAIRS // max(margins.shape[1] ** 2, 1), 1)
    for start in range(0, len(boxes), step):
        some, margin = boxes[start : start + step], margins[start : start + step]
        there = margin > -torch.inf
        corner = torch.maximum(some[:, :, None, :2], some[:, None, :, :2])
        end = torch.minimum(some[:, :, None, 2:], some[:, None, :, 2:])
        shared = (end - corner).clamp_(min=0).prod(dim=3)
        area = (some[..., 2:] - some[..., :2]).clamp(min=0).prod(dim=2)
        whole = area[:, :, None] + area[:, None, :] - shared
        hides = (shared > threshold * whole).triu_(diagonal=1)
        stays = there
        while True:
            now = there & ~(hides & stays[:, :, None]).any(dim=1)
            if torch.equal(now, stays):
                break
            stays = now
        out.append(torch.where(stays, margin, -torch.inf))
    return torch.cat(out)


def ordered(found: Found) -> Found:
    """The same, best first."""
    margins, order = torch.sort(found.margins, dim=1, descending=True, stable=True)
    boxes, points = (
        part.gather(1, order[..., None].expand(-1, -1, part.shape[2])) for part in (found.boxes, found.points)
    )
    return Found(boxes, margins, points)


def best(found: Found) -> Found:
    """The same, best first, without the places that no image needs."""
    most = most_of(found.margins)
    return Found(*(part[:, :most] for part in ordered(found)))


def most_of(margins: Tensor) -> int:
    """How many boxes the fullest image has."""
    return int((margins > -torch.inf).sum(dim=1).max())


def nothing(count: int, device: torch.device) -> Found:
    return Found(*(torch.zeros((count, 0, *more), device=device) for more in ((4,), (), (10,))))


def decode(crops: Tensor, offsets: Tensor) -> Tensor:
    """As `boxes.decode`, for boxes (..., 4)."""
    return crops + offsets * (crops[..., 2:] - crops[..., :2]).repeat(*[1] * (crops.ndim - 1), 2)


def square(boxes: Tensor) -> Tensor:
    """As `boxes.square`, for boxes (..., 4)."""
    extent = boxes[..., 2:] - boxes[..., :2]
    side = extent.amax(dim=-1, keepdim=True)
    corner = boxes[..., :2] + (extent - side) * 0.5
    return torch.cat([corner, corner + side], dim=-1)
