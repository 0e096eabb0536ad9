"""Crop shards of random pixels: neither reading nor a training step is faster or slower for what they show."""

import numpy as np

from mtcnn.shards import CLASSES, Crops, Manifest, commit_unit, write_manifest
from mtcnn.store import Store

UNITS = 6
SHARES = {"pos": 1, "part": 1, "neg": 3, "landmark": 2}
"""Crops of the classes relative to each other: those of a batch, so that one pass over each takes as many steps."""


def write_random_crops(store: Store, stage: str, size: int, crops: int, landmarks: bool) -> Manifest:
    """A mined stage of about `crops` crops of `size` pixels in UNITS units, and a small one that is held out."""
    rng = np.random.default_rng(size)
    classes = [name for name in CLASSES if landmarks or name != "landmark"]
    share = crops / sum(SHARES[name] for name in classes) / UNITS
    rows = []
    for number in range(UNITS + 1):
        held_out = number == UNITS
        counts = {name: 8 if held_out else max(round(share * SHARES[name]), 1) for name in classes}
        made = {name: _random(rng, count, size, name == "landmark") for name, count in counts.items()}
        split = "val" if held_out else "train"
        rows.append(commit_unit(store, f"random-{number:05d}", made, {}, split))
    return write_manifest(store, stage, "random", rows)


def _random(rng: np.random.Generator, count: int, size: int, points: bool) -> Crops:
    pixels = np.frombuffer(rng.bytes(count * size * size * 3), np.uint8).reshape(count, size, size, 3)
    boxes = rng.uniform(-0.3, 0.3, (count, 4)).astype(np.float32)
    landmarks = rng.random((count, 10)) if points else np.zeros((count, 10))
    origin = rng.integers(0, 400, (count, 4))
    return Crops(pixels, boxes, landmarks.astype(np.float32), origin.astype(np.int32))
