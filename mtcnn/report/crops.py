"""Sheets of mined crops with their targets drawn, and the negatives that a net takes for faces.

A few shards of a stage are read, one at a time, whatever the number that were mined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from mtcnn.image import Pixels, encode_jpeg
from mtcnn.nets import Net, normalise
from mtcnn.report.html import jpeg
from mtcnn.shards import Crops, CropShard, Manifest, read_crops
from mtcnn.store import Store

SHARDS = 4
"""Shards of a class that a sheet is taken from, and that are searched for hard negatives."""
SCORED = 2000
"""Negatives of a shard that are scored: they are mixed across its images."""
CHUNK = 256
QUALITY = 92
MOST_MARGIN = 60
"""Shown around a crop at most, in percent of its side: targets may lie outside."""


@dataclass(frozen=True)
class Negative:
    """A negative crop and the score that the net gives it."""

    image: Pixels
    score: float
    split: str


def sample(store: Store, manifest: Manifest, cls: str, count: int) -> list[Crops]:
    """About `count` training crops of a class, from up to SHARDS shards spread over the stage."""
    rows = _spread(manifest.shards(cls, "train"), SHARDS)
    each = -(-count // max(len(rows), 1))
    return [read_crops(store, row).slice(0, each) for row in rows]


def sheet(parts: Sequence[Crops]) -> str:
    """A grid of crops with box targets as rectangles and landmark targets as points."""
    cells = []
    margin = max((_margin(crops) for crops in parts), default=0)
    for crops in parts:
        for image, box, points in zip(crops.images, crops.boxes, crops.landmarks, strict=True):
            cells.append(_cell(image, margin, _rect(box) + _circles(points)))
    return f'<div class="crops">{"".join(cells)}</div>'


def hardest(store: Store, manifest: Manifest, net: Net, device: torch.device, count: int) -> list[Negative]:
    """The negatives that `net` scores highest, of up to SHARDS held-out and as many training shards; best first."""
    found: list[Negative] = []
    for split in ("val", "train"):
        for row in _spread(manifest.shards("neg", split), SHARDS):
            images = read_crops(store, row).images[:SCORED]
            scores = _scores(net, images, device)
            best = np.argsort(-scores, kind="stable")[:count]
            # Copies, so that no shard is kept alive by its worst crops.
            found += [Negative(images[i].copy(), float(scores[i]), split) for i in best]
            found = sorted(found, key=lambda negative: -negative.score)[:count]
    return found


def negative_sheet(negatives: Sequence[Negative]) -> str:
    """A grid of negatives with their scores; those that training never saw are marked."""
    cells = [
        f"<figure>{_cell(n.image)}<figcaption>{n.score:.2f}{' ○' if n.split == 'val' else ''}</figcaption></figure>"
        for n in negatives
    ]
    return f'<div class="crops">{"".join(cells)}</div>'


@torch.inference_mode()
def _scores(net: Net, images: Pixels, device: torch.device) -> np.ndarray:
    scores = [np.zeros(0, np.float32)]
    for start in range(0, len(images), CHUNK):
        out = net(normalise(torch.from_numpy(images[start : start + CHUNK]).to(device)))
        logits = out.logits.flatten(1)
        scores.append(torch.sigmoid(logits[:, 1] - logits[:, 0]).cpu().numpy())
    return np.concatenate(scores)


def _spread(rows: Sequence[CropShard], most: int) -> list[CropShard]:
    """At most `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i * len(rows) // most] for i in range(most)]


def _cell(image: Pixels, margin: int = 0, marks: str = "") -> str:
    frame = f"{-margin} {-margin} {100 + 2 * margin} {100 + 2 * margin}"
    source = escape(jpeg(encode_jpeg(image, QUALITY)))
    return f'<svg viewBox="{frame}"><image href="{source}" width="100" height="100"/>{marks}</svg>'


def _margin(crops: Crops) -> int:
    """What has to be shown around crops so that nearly all of their targets are whole, in percent of the side."""
    if not crops.boxes.any() and not crops.landmarks.any():
        return 0
    outside = np.concatenate(
        [-crops.boxes[:, :2], crops.boxes[:, 2:], -crops.landmarks, crops.landmarks - 1], axis=1
    ).max(axis=1)
    return int(np.clip(100 * np.quantile(outside, 0.95) + 4, 8, MOST_MARGIN))


def _rect(target: np.ndarray) -> str:
    if not target.any():
        return ""
    x1, y1, x2, y2 = (100 * (target + np.array([0, 0, 1, 1]))).tolist()
    return f'<rect class="found" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/>'


def _circles(target: np.ndarray) -> str:
    if not target.any():
        return ""
    places = (100 * target.reshape(5, 2)).tolist()
    return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in places)
