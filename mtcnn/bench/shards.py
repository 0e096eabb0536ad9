"""How fast shards become shuffled, mixed, normalised batches: against reading their `.npy` members and no more."""

import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from mtcnn.backend import usable_cpus
from mtcnn.bench.crop_shards import write_random_crops
from mtcnn.bench.data import Setting
from mtcnn.bench.measure import Work, here, interleaved
from mtcnn.bench.report import Report, Row, compared
from mtcnn.config import Stages
from mtcnn.nets import SIZES, normalise
from mtcnn.shards import Batches, Manifest
from mtcnn.shards.crops import row_shape
from mtcnn.store import Store, open_store
from mtcnn.training import loop
from mtcnn.training.losses import blocks

MEGABYTES = 96
"""Crops of each size, in a piece of work."""
COLD_GOAL, MEMORY_GOAL = 0.7, 0.9
BYTES_GOAL = 1.05
READ = ("image", "box", "landmarks")
"""Members that training needs."""
LIMIT = "read the .npy members"


def run(setting: Setting) -> Report:
    """Crops a second at 12, 24 and 48 px, and bytes a crop."""
    torch.set_num_threads(usable_cpus())
    cv2.setNumThreads(1)
    loop.keep_freed_memory()  # as in a training worker, where batches are made; for all sides
    report = Report("shards")
    report.notes.append(
        f"{MEGABYTES * setting.scale:g} MB of crops of each size on local disk, in the system's cache for both sides; "
        f"cold: a loader that has read nothing yet; from memory: its later epochs; {usable_cpus()} threads normalise"
    )
    for stage, size in SIZES.items():
        _size(stage, size, setting, setting.seconds / len(SIZES), report)
    return report


def _size(stage: str, size: int, setting: Setting, seconds: float, report: Report) -> None:
    store = open_store(str(setting.folder / stage))
    landmarks = Stages().get(stage).net.landmarks
    crops = max(int(setting.scale * MEGABYTES * 1e6 / (size * size * 3)), 400)
    manifest = write_random_crops(store, stage, size, crops, landmarks)
    loader = _Loader(store, manifest, stage)
    kept = loader.batches()
    numbers = itertools.count()
    sides = {
        "cold, batches": lambda: loader.epoch(loader.batches(), 0, False),
        "cold, normalised": lambda: loader.epoch(loader.batches(), 0, True),
        "memory, batches": lambda: loader.epoch(kept, next(numbers), False),
        "memory, normalised": lambda: loader.epoch(kept, next(numbers), True),
        "limit": _members(store, manifest),
    }
    rounds = interleaved({name: here(work) for name, work in sides.items()}, setting.repeats, seconds)
    goals = {"cold, normalised": COLD_GOAL, "memory, normalised": MEMORY_GOAL}
    for side in list(sides)[:-1]:
        report.rows.append(
            compared(rounds, side, "limit", f"{size} px, {side}", "crops/s", LIMIT, goals.get(side))
        )
    report.rows.append(_bytes_per_crop(manifest, size))


class _Loader:
    def __init__(self, store: Store, manifest: Manifest, stage: str) -> None:
        self.store, self.manifest = store, manifest
        options = Stages().get(stage).training
        self.sizes = blocks(options, Stages().get(stage).net.landmarks).sizes()
        # One pass over the scarcest class; the shares of the shards are those of a batch.
        self.steps = max(min(manifest.count(name, "train") // n for name, n in self.sizes.items()), 1)

    def batches(self) -> Batches:
        """A loader with room for everything."""
        return Batches(self.store, self.manifest, "train", self.sizes, 0, 0, 1, 2_000_000_000)

    def epoch(self, batches: Batches, number: int, normalised: bool) -> float:
        """One pass; crops given out."""
        crops = 0
        for batch in batches.epoch(number, self.steps):
            if normalised:
                normalise(torch.from_numpy(batch.images))
            crops += len(batch.images)
        return crops


def _members(store: Store, manifest: Manifest) -> Work:
    """Read what training needs from every shard, front to back: no check, no shuffling, no batches."""
    assert store.local_path is not None
    folder = store.local_path
    names = [s.name for row in manifest.units if row.split == "train" for s in row.shards.values()]

    def work() -> float:
        return sum(len(images) for name in names for images in _read(folder / name))

    return work


def _read(path: Path) -> Iterator[np.ndarray]:
    """The images of each record of a shard; boxes and landmarks are read too."""
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            kind = member.name.split(".")[1]
            if kind in READ:
                file = tar.fileobj
                assert file is not None
                # Straight from the file: numpy reads a file object of tarfile in small pieces.
                file.seek(member.offset_data)
                array = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
                if kind == "image":
                    yield array


def _bytes_per_crop(manifest: Manifest, size: int) -> Row:
    shards = [s for row in manifest.units if row.split == "train" for s in row.shards.values()]
    figure = sum(s.bytes for s in shards) / sum(s.crops for s in shards)
    raw = int(np.prod(row_shape("image", size))) + 4 * (4 + 10)
    return Row(
        f"{size} px, shards", "bytes/crop", figure, raw, figure / raw, goal=BYTES_GOAL, at_most=True,
        limit_is="raw pixels and targets",
    )  # fmt: skip
