"""A small set of crop shards whose faces are easy to tell: bright in the middle, the box shifted as the middle is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mtcnn.shards import Crops, commit_unit, write_manifest
from mtcnn.store import Store, open_store

POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)

MakeCrops = Callable[..., Crops]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def easy_crops(rng: np.random.Generator, count: int, cls: str, size: int = 12) -> Crops:
    """`count` crops of a class; those with a face have it moved by up to a sixth of the side."""
    images = rng.integers(0, 110, (count, size, size, 3), dtype=np.uint8)
    shift = rng.integers(-size // 6, size // 6 + 1, (count, 2))
    if cls != "neg":
        for image, (x, y) in zip(images, shift, strict=True):
            third = size // 4
            image[third + y : size - third + y, third + x : size - third + x] += 140
    share = np.concatenate([shift, shift], axis=1).astype(np.float32) / size
    boxes = share if cls in ("pos", "part") else np.zeros((count, 4), np.float32)
    points = np.zeros((count, 10), np.float32)
    if cls == "landmark":
        points = (POINTS + share[:, None, :2]).reshape(count, 10).astype(np.float32)
    return Crops(images, boxes, points, np.zeros((count, 4), np.int32))


@pytest.fixture
def mined(tmp_path: Path) -> Callable[..., Store]:
    """Write three units of crops of the classes named, the last of them held out."""

    def write(*classes: str, count: int = 60, size: int = 12, stage: str = "pnet") -> Store:
        store = open_store(str(tmp_path / "crops"))
        rng = np.random.default_rng(1)
        rows = []
        for unit, split in enumerate(("train", "train", "val")):
            crops = {cls: easy_crops(rng, count, cls, size) for cls in classes}
            rows.append(commit_unit(store, f"easy-{unit}", crops, {"images": 1}, split))
        write_manifest(store, stage, "0", rows)
        return store

    return write
