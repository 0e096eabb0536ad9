"""What the benchmarks work on: images in small source shards (drawn, or taken from a data set) and weights."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mtcnn.config import Mining, Stages
from mtcnn.detector import released_weights
from mtcnn.errors import MissingKey
from mtcnn.mining.plan import MiningPlan, PlannedSource, Unit, UnitMiner
from mtcnn.nets import STAGES, Weights, load
from mtcnn.shards import CLASSES
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.read import ShardRow, read_index, read_shard, write_tar
from mtcnn.sources.synthetic import synthetic_image
from mtcnn.store import open_store

SCENES_SEED = 11
SOURCE = "bench"


@dataclass(frozen=True)
class Setting:
    """What is asked of a benchmark."""

    folder: Path
    """Scratch: everything written goes there."""
    source: str | None = None
    """Source shards to take images from; None: synthetic scenes."""
    weights: str | None = None
    """Weights of the nets; None: the released ones."""
    device: str = "cpu"
    repeats: int = 5
    """Rounds, where time allows."""
    seconds: float = 150.0
    """Time for all of it; what it takes to set up comes on top."""
    images: int = 16
    """Images in a piece of work."""
    scale: float = 1.0
    """Size of pieces of work that are not made of images; small in tests."""


@dataclass(frozen=True)
class Material:
    """Images in source shards of their own, and the weights that are there."""

    url: str
    images: list[SourceImage]
    """All of the first shard."""
    units: list[Unit]
    files: tuple[bytes, ...]
    """Weights files of the first nets of the cascade."""

    @property
    def weights(self) -> list[Weights]:
        """The nets, loaded anew."""
        return [load(data, stage, f"{stage}.pt") for data, stage in zip(self.files, STAGES, strict=False)]

    def stages(self) -> list[str]:
        """Stages that can be mined with these weights."""
        return [stage for index, stage in enumerate(STAGES) if index <= len(self.files)]

    def plan(self, stage: str, out: str) -> MiningPlan:
        """What to mine, with the settings that a stage has by default."""
        before = self.weights[: STAGES.index(stage)]
        return MiningPlan(
            stage=stage,
            seed=0,
            options=mining_options(stage),
            landmarks=Stages().get(stage).net.landmarks,
            sources={SOURCE: PlannedSource(self.url, frozenset(CLASSES))},
            weights=self.files[: len(before)],
            thresholds=tuple(w.threshold for w in before),
            out=out,
        )


def material(setting: Setting, shards: int = 1) -> Material:
    """Images in `shards` shards of `setting.images` each, packed into the scratch folder, and weights."""
    store = open_store(str(setting.folder / "source"))
    pictures = _pictures(setting)
    units = []
    first: list[SourceImage] = []
    for number in range(shards):
        images = list(islice(pictures, setting.images)) or first
        first = first or images
        data, name = write_tar(images), f"{number:05d}.tar"
        store.put(name, data)
        faces = sum(int((~image.annotation.ignore).sum()) for image in images)
        row = ShardRow(name, len(images), faces, len(data), hashlib.sha256(data).hexdigest())
        units.append(Unit(f"{SOURCE}-{number:05d}", SOURCE, row, "train"))
    return Material(store.url, first, units, _weights(setting))


def mining_options(stage: str) -> Mining:
    """A stage's own defaults."""
    return Stages().get(stage).mining


def miner(found: Material, stage: str, setting: Setting) -> UnitMiner:
    """A mining worker with one thread, as an actor is."""
    return UnitMiner(found.plan(stage, str(setting.folder / "crops")), setting.device, 1)


def missing_nets(found: Material) -> list[str]:
    """A note where weights are missing."""
    if len(found.files) == len(STAGES):
        return []
    absent = ", ".join(f"{stage}.pt" for stage in STAGES[len(found.files) :])
    return [f"no {absent}: what needs them is not measured; give --weights, or put weights into model_store/"]


def _pictures(setting: Setting) -> Iterator[SourceImage]:
    if setting.source is None:
        number = 0
        while True:
            yield synthetic_image(SCENES_SEED, number)
            number += 1
    store = open_store(setting.source)
    for row in read_index(setting.source).shards:
        yield from read_shard(store, row)


def _weights(setting: Setting) -> tuple[bytes, ...]:
    store = open_store(setting.weights or str(released_weights()))
    files: list[bytes] = []
    for stage in STAGES:
        try:
            files.append(store.get(f"{stage}.pt"))
        except MissingKey:
            break
    return tuple(files)
