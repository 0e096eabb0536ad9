"""The training loader: shuffled batches of fixed composition from one stream of crops a class.

A stream is an endless row of passes over the class's crops. What fits in `cache_bytes` is read once and kept; the
rest is read in groups of shards, the next one in threads while one is given out. Its state is (epoch, step) alone.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtcnn.errors import ShardError
from mtcnn.shards.crops import CLASSES, MEMBERS, row_shape
from mtcnn.shards.manifest import Manifest
from mtcnn.shards.partition import Group, Part, Stretch, budgets, share, stream
from mtcnn.shards.read import read_records
from mtcnn.store import Store

READERS = 4
"""Threads that read shards: two keep a local disk and its checks busy, an object store likes more."""
INDEX_BYTES = 8
"""A crop's entry in a permutation."""
LOADED = MEMBERS[:3]
"""Members that training needs."""


@dataclass(frozen=True)
class Batch:
    """B crops in fresh, contiguous arrays, classes in fixed blocks in the order of `sizes`."""

    images: NDArray[np.uint8]
    """(B, S, S, 3) RGB."""
    labels: NDArray[np.int64]
    """(B,) index in CLASSES; the same read-only array in every batch."""
    boxes: NDArray[np.float32]
    """(B, 4) box targets."""
    landmarks: NDArray[np.float32]
    """(B, 10) landmark targets."""

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """The arrays of LOADED."""
        return self.images, self.boxes, self.landmarks


Arrays = tuple[NDArray[np.generic], ...]
"""Images, boxes and landmarks of a group."""


class Batches:
    """Batches of one rank of a stage's crops; every rank has crops of its own, together all of them."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        split: str,
        sizes: Mapping[str, int],
        seed: int,
        rank: int,
        world: int,
        cache_bytes: int,
    ) -> None:
        """`sizes`: crops of each class in a batch. Raises ShardError for a class that has none.

        Memory is bounded by `cache_bytes`, and READERS shards on their way; single shards have to fit.
        """
        self.size = manifest.size
        self.sizes = {cls: count for cls, count in sizes.items() if count}
        self.labels = np.concatenate(
            [np.full(n, CLASSES.index(cls), np.int64) for cls, n in self.sizes.items()]
        )
        self.labels.flags.writeable = False
        parts = {cls: share(manifest.shards(cls, split), rank, world) for cls in self.sizes}
        crop = sum(int(np.prod(row_shape(name, self.size))) * dtype.itemsize for name, dtype in LOADED)
        needs = {cls: sum(map(len, group)) * (crop + INDEX_BYTES) for cls, group in parts.items()}
        for cls, need in needs.items():
            if need == 0:
                raise ShardError(f"{store.url}: no {cls!r} crops for {split!r}")
        given = budgets(needs, cache_bytes)
        self.streams = {}
        for cls, group in parts.items():
            # A class that does not fit has two groups in memory: one given out, one read ahead.
            room = given[cls] if given[cls] == needs[cls] else given[cls] // 2
            seeds = seed, CLASSES.index(cls), rank
            self.streams[cls] = _Stream(store, group, self.size, room // (crop + INDEX_BYTES), seeds)

    def epoch(self, number: int, steps: int) -> Iterator[Batch]:
        """The `steps` batches of epoch `number` (from 0): the same whichever epochs ran before.

        Threads end with the iterator: at its end, when it is closed, and when reading fails, which raises here.
        """
        pool = ThreadPoolExecutor(READERS, thread_name_prefix="shards")
        try:
            cursors = [
                (self.streams[cls].cursor(number * steps * count, steps * count, pool), count)
                for cls, count in self.sizes.items()
            ]
            total = len(self.labels)
            for _ in range(steps):
                images, boxes, landmarks = _empty(total, self.size)
                batch = Batch(images, self.labels, boxes, landmarks)
                start = 0
                for cursor, count in cursors:
                    cursor.take(tuple(array[start : start + count] for array in batch.arrays()))
                    start += count
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Stream:
    """One class; keeps the group that was given out last, for the next epoch to go on with."""

    def __init__(self, store: Store, parts: Group, size: int, crops: int, seed: tuple[int, ...]) -> None:
        self.store, self.parts, self.size, self.crops, self.seed = store, parts, size, crops, seed
        self.kept: tuple[Group, Arrays] | None = None

    def cursor(self, position: int, count: int, pool: ThreadPoolExecutor) -> "_Cursor":
        """Gives out `count` crops from `position` on; reading begins now."""
        return _Cursor(self, stream(self.parts, self.crops, self.seed, position), count, pool)


class _Cursor:
    """A place in a class's stream: the crops being given out, and the ones being read ahead."""

    def __init__(
        self, source: _Stream, stretches: Iterator[Stretch], count: int, pool: ThreadPoolExecutor
    ) -> None:
        self.source, self.stretches, self.count, self.pool = source, stretches, count, pool
        self.ahead = _Reading(source, next(stretches), pool)
        self.arrays: Arrays = ()
        self.order: NDArray[np.int64] = np.zeros(0, np.int64)

    def take(self, out: Arrays) -> None:
        """Fill `out` with the next crops."""
        filled, wanted = 0, len(out[0])
        while filled < wanted:
            if not len(self.order):
                self._advance()
            rows = self.order[: wanted - filled]
            self.order = self.order[len(rows) :]
            for array, target in zip(self.arrays, out, strict=True):
                # With mode="raise", take would go through a buffer.
                array.take(rows, axis=0, out=target[filled : filled + len(rows)], mode="clip")
            filled += len(rows)
            self.count -= len(rows)

    def _advance(self) -> None:
        """Go on to the group that was read ahead; read the one after it, if this epoch gets there."""
        self.arrays, self.order = self.ahead.result()
        self.source.kept = self.ahead.group, self.arrays
        if len(self.order) < self.count:
            self.ahead = _Reading(self.source, next(self.stretches), self.pool)


class _Reading:
    """A stretch on its way into memory."""

    def __init__(self, source: _Stream, stretch: Stretch, pool: ThreadPoolExecutor) -> None:
        self.group = stretch.group
        self.order = pool.submit(stretch.order)
        self.filled: list[Future[None]] = []
        if source.kept and source.kept[0] == stretch.group:
            self.arrays = source.kept[1]
            return
        self.arrays = _empty(sum(map(len, stretch.group)), source.size)
        start = 0
        for part in stretch.group:
            target = tuple(array[start : start + len(part)] for array in self.arrays)
            self.filled.append(pool.submit(_fill, target, source.store, part, source.size))
            start += len(part)

    def result(self) -> tuple[Arrays, NDArray[np.int64]]:
        for future in self.filled:
            future.result()
        return self.arrays, self.order.result()


def _fill(out: Arrays, store: Store, part: Part, size: int) -> None:
    """Read a part of a shard into `out`."""
    if part.shard.size != size:
        raise ShardError(
            f"{store.url}/{part.shard.name}: crops of {part.shard.size} px among others of {size} px"
        )
    filled = passed = 0
    for record in read_records(store, part.shard):
        rows = slice((part.start - passed) % part.step, None, part.step)
        count = len(range(len(record))[rows])
        for target, array in zip(out, record.arrays(), strict=False):
            target[filled : filled + count] = array[rows]
        filled += count
        passed += len(record)


def _empty(count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    images, boxes, landmarks = (np.empty((count, *row_shape(name, size)), dtype) for name, dtype in LOADED)
    return images, boxes, landmarks
