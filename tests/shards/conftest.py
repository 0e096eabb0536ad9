"""Crops to write and read, each marked with a number of its own in all its arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from mtcnn.shards import Crops, Manifest, commit_unit, write_manifest
from mtcnn.store import Store, open_store

MakeCrops = Callable[..., Crops]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "crops"))


@pytest.fixture
def make_crops() -> MakeCrops:
    return _crops


def _crops(count: int, size: int = 12, first: int = 0) -> Crops:
    """`count` crops numbered from `first`: the number is in a pixel, the box, the points and the origin."""
    number = np.arange(first, first + count)
    images = np.random.default_rng(first).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images[:, 0, 0] = np.stack([number % 256, number // 256 % 256, number // 65536], axis=1)
    boxes = np.repeat(number[:, None], 4, axis=1).astype(np.float32)
    landmarks = np.repeat(number[:, None], 10, axis=1).astype(np.float32)
    return Crops(images, boxes, landmarks, np.repeat(number[:, None], 4, axis=1).astype(np.int32))


@pytest.fixture
def make_stage(store: Store) -> Callable[..., Manifest]:
    """Commit a stage: `counts[cls]` lists the crops of each unit; all crops have numbers of their own."""

    def make(counts: Mapping[str, list[int]], size: int = 12, split: str = "train") -> Manifest:
        first = 0
        units: dict[int, dict[str, Crops]] = {}
        for cls, of_units in counts.items():
            for unit, count in enumerate(of_units):
                units.setdefault(unit, {})[cls] = _crops(count, size, first)
                first += count
        rows = [commit_unit(store, f"{split}-{unit:03d}", crops, {}, split) for unit, crops in units.items()]
        return write_manifest(store, "pnet", "digest", rows)

    return make
