"""Which crops each rank reads, and in which groups, so that they fit in memory: arithmetic only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtcnn.shards.manifest import CropShard


@dataclass(frozen=True)
class Part:
    """The crops start, start + step, start + 2 step … of a shard."""

    shard: CropShard
    start: int
    step: int

    def __len__(self) -> int:
        return len(range(self.start, self.shard.crops, self.step))


Group = tuple[Part, ...]
"""Parts that are in memory, and permuted, together."""


def share(shards: Sequence[CropShard], rank: int, world: int) -> Group:
    """The part of a class that belongs to a rank: disjoint, and all of it over all ranks.

    Whole shards, balanced by crops, where there are enough; every world-th crop of all of them otherwise. A class
    of fewer crops than ranks belongs whole to each.
    """
    total = sum(shard.crops for shard in shards)
    if world == 1 or total < world:
        return tuple(Part(shard, 0, 1) for shard in shards)
    parts = []
    if len(shards) >= 2 * world:
        crops = [0] * world
        for shard in sorted(shards, key=lambda s: (-s.crops, s.name)):
            lightest = crops.index(min(crops))
            crops[lightest] += shard.crops
            if lightest == rank:
                parts.append(Part(shard, 0, 1))
    else:
        before = 0
        for shard in shards:
            parts.append(Part(shard, (rank - before) % world, world))
            before += shard.crops
    return tuple(part for part in parts if len(part))


def budgets(needs: Mapping[str, int], total: int) -> dict[str, int]:
    """Bytes of memory for each class: what it needs where that fits, else an equal part of what the others leave."""
    given: dict[str, int] = {}
    for cls in sorted(needs, key=lambda name: (needs[name], name)):
        given[cls] = min(needs[cls], (total - sum(given.values())) // (len(needs) - len(given)))
    return given


def groups(parts: Group, crops: int, rng: np.random.Generator) -> list[Group]:
    """One pass over `parts`: in an order drawn anew, cut into groups of at most `crops` crops, or one part.

    What fits as a whole is one group in the order given, the same in every pass.
    """
    if sum(map(len, parts)) <= crops:
        return [parts]
    found: list[Group] = []
    group: list[Part] = []
    count = 0
    for index in rng.permutation(len(parts)):
        if group and count + len(parts[index]) > crops:
            found.append(tuple(group))
            group, count = [], 0
        group.append(parts[index])
        count += len(parts[index])
    return [*found, tuple(group)]


@dataclass(frozen=True)
class Stretch:
    """What comes next in a class's stream: a group in a permuted order, from `offset` on."""

    group: Group
    seed: tuple[int, ...]
    """Seeds the permutation."""
    offset: int

    def order(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Indices of the group's crops in the order in which they come."""
        return np.random.default_rng(self.seed).permutation(sum(map(len, self.group)))[self.offset :]


def stream(parts: Group, crops: int, seed: tuple[int, ...], position: int) -> Iterator[Stretch]:
    """The endless stream of passes over `parts`, from crop `position` on, with groups of at most `crops` crops.

    A pass gives every crop once. Nothing before `position` has to be drawn.
    """
    number, offset = divmod(position, sum(map(len, parts)))
    while True:
        for index, group in enumerate(groups(parts, crops, np.random.default_rng((*seed, number)))):
            count = sum(map(len, group))
            if offset < count:
                yield Stretch(group, (*seed, number, index), offset)
            offset = max(offset - count, 0)
        number += 1
