"""What one stage has to mine: its units, and the worker that turns a unit into committed crop shards."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import torch

from mtcnn.config import Mining
from mtcnn.detector import Detector
from mtcnn.mining.unit import Recipe, generator, mine_unit
from mtcnn.nets import SIZES, STAGES, load
from mtcnn.shards import UnitRow, commit_unit, read_mark
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.read import Index, ShardRow, read_shard
from mtcnn.store import open_store


@dataclass(frozen=True)
class Unit:
    """The images mined in one go: one source shard."""

    name: str
    """Unique within the stage: SOURCE-SHARD."""
    source: str
    shard: ShardRow
    split: str
    """`train`, or `val`: its crops are held out of training."""


@dataclass(frozen=True)
class PlannedSource:
    """Where a source is and which crops it may give."""

    url: str
    classes: frozenset[str]


@dataclass(frozen=True)
class MiningPlan:
    """All that a mining worker needs to know; small, and the same for every worker."""

    stage: str
    seed: int
    options: Mining
    landmarks: bool
    """Whether landmark crops are wanted."""
    sources: dict[str, PlannedSource]
    weights: tuple[bytes, ...]
    """Weights files of the stages before."""
    thresholds: tuple[float, ...]
    """Their mining thresholds."""
    out: str
    """Folder or URL of this stage's crop shards."""


def held_out(index: int, count: int, share: float) -> bool:
    """Whether unit `index` of a source's `count` is held out: every 1/share-th, at least one where there are two."""
    every = max(round(1 / share), 2)
    return index % every == every - 1 or (1 < count < every and index == count - 1)


def units(name: str, index: Index, validation: float) -> Iterator[Unit]:
    """The units of one source, in the order of its shards."""
    count = len(index.shards)
    for number, row in enumerate(index.shards):
        split = "val" if held_out(number, count, validation) else "train"
        yield Unit(f"{name}-{row.name.removesuffix('.tar')}", name, row, split)


def held_out_images(
    sources: Sequence[tuple[PlannedSource, Index]], validation: float, most: int
) -> Iterator[SourceImage]:
    """At most `most` images with faces from the held-out units of sources, as many of each where it has them."""
    for source, index in sources:
        yield from islice(_held_out_images(source, index, validation), most // len(sources))


def _held_out_images(source: PlannedSource, index: Index, validation: float) -> Iterator[SourceImage]:
    store = open_store(source.url)
    for unit in units("", index, validation):
        if unit.split == "val":
            for image in read_shard(store, unit.shard):
                if len(image.annotation.boxes):
                    yield image


class UnitMiner:
    """A worker that holds the nets once and mines unit after unit.

    Called from several threads, it reads and commits some while it computes one: an object store is not waited for.
    """

    def __init__(self, plan: MiningPlan, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self.plan = plan
        self._computing = threading.Lock()
        self.store = open_store(plan.out)
        self.sources = {name: open_store(source.url) for name, source in plan.sources.items()}
        self.proposer: Detector | None = None
        if plan.weights:
            nets = [load(d, s, f"{s}.pt").net for d, s in zip(plan.weights, STAGES, strict=False)]
            self.proposer = Detector(
                nets, device, plan.options.min_face, plan.options.factor, plan.thresholds, engine="auto"
            )

    def mine(self, unit: Unit) -> UnitRow:
        """Mine one unit and commit its crop shards; twice gives the same bytes."""
        # Another driver may be at the same stage, or the answer of an actor that died may have got lost.
        committed = read_mark(self.store, unit.name)
        if committed is not None:
            return committed
        plan = self.plan
        source = plan.sources[unit.source]
        wanted = source.classes
        classes = wanted if plan.landmarks else wanted - {"landmark"}
        recipe = Recipe(SIZES[plan.stage], plan.options, classes)
        images = read_shard(self.sources[unit.source], unit.shard)
        with self._computing:
            found = mine_unit(images, recipe, self.proposer, generator(plan.seed, plan.stage, unit.name))
        stats = {**found.stats, "bad": found.bad}
        return commit_unit(self.store, unit.name, found.crops, stats, unit.split)
