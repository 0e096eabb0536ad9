"""The loader gives every crop its turn, mixed as asked, the same in every repetition, within its memory."""

import itertools
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from mtcnn.errors import ShardError
from mtcnn.shards import CLASSES, Batch, Batches, Manifest
from mtcnn.store import Store

MakeStage = Callable[..., Manifest]
CROP = 12 * 12 * 3 + 4 * 4 + 4 * 10 + 8
"""Bytes that a 12 px crop takes in memory."""
COUNTS = {
    "pos": [70, 30, 55, 45],
    "part": [20, 25, 0, 40],
    "neg": [300, 250, 200, 50],
    "landmark": [9, 1, 5, 2],
}
ALL = 10**9
LITTLE = 300 * CROP


def loader(
    store: Store,
    manifest: Manifest,
    sizes: dict[str, int],
    cache: int = ALL,
    rank: int = 0,
    world: int = 1,
    seed: int = 3,
) -> Batches:
    return Batches(store, manifest, "train", sizes, seed, rank, world, cache)


def numbers(batch: Batch) -> np.ndarray:
    """The number of every crop of a batch, after checking that its arrays agree on it."""
    pixel = batch.images[:, 0, 0].astype(int)
    number = pixel[:, 0] + 256 * pixel[:, 1] + 65536 * pixel[:, 2]
    np.testing.assert_array_equal(batch.boxes, np.repeat(number[:, None], 4, axis=1))
    np.testing.assert_array_equal(batch.landmarks, np.repeat(number[:, None], 10, axis=1))
    return number


def drawn(batches: Batches, epoch: int, steps: int) -> list[int]:
    return [int(n) for batch in batches.epoch(epoch, steps) for n in numbers(batch)]


def reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shards")]


@pytest.mark.parametrize("cache", [ALL, LITTLE])
def test_classes_lie_in_fixed_blocks_with_their_labels(
    store: Store, make_stage: MakeStage, cache: int
) -> None:
    manifest = make_stage(COUNTS)
    sizes = {"neg": 30, "pos": 10, "part": 0, "landmark": 21}
    ends = np.cumsum([0] + [sum(counts) for counts in COUNTS.values()])
    for batch in loader(store, manifest, sizes, cache).epoch(0, 20):
        assert batch.images.shape == (61, 12, 12, 3)
        assert batch.labels.tolist() == [2] * 30 + [0] * 10 + [3] * 21
        number = numbers(batch)
        np.testing.assert_array_equal(np.searchsorted(ends, number, side="right") - 1, batch.labels)


def test_arrays_of_a_batch_belong_to_whoever_gets_it(store: Store, make_stage: MakeStage) -> None:
    epoch = loader(store, make_stage(COUNTS), {"pos": 10}).epoch(0, 2)
    first = next(epoch)
    assert first.images.flags.c_contiguous and first.images.flags.writeable
    kept = numbers(first)
    next(epoch)
    np.testing.assert_array_equal(numbers(first), kept)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("cache", [ALL, LITTLE])
@pytest.mark.parametrize("counts", [[12] * 10, [70, 50], [1100]])
def test_a_pass_of_all_ranks_shows_every_crop_once(
    store: Store, make_stage: MakeStage, world: int, cache: int, counts: list[int]
) -> None:
    manifest = make_stage({"neg": counts})
    ranks = [loader(store, manifest, {"neg": 1}, cache // 4, rank, world) for rank in range(world)]
    owned = [batches.streams["neg"] for batches in ranks]
    steps = [sum(map(len, stream.parts)) for stream in owned]
    for number in range(3):
        seen = Counter(
            n for batches, count in zip(ranks, steps, strict=True) for n in drawn(batches, number, count)
        )
        assert seen == Counter(range(sum(counts)))


def test_no_crop_is_favoured_when_passes_do_not_end_with_epochs(store: Store, make_stage: MakeStage) -> None:
    manifest = make_stage({"pos": [13, 8], "neg": [101, 57, 42]})
    batches = loader(store, manifest, {"pos": 5, "neg": 11}, LITTLE // 3)
    seen = Counter(itertools.chain.from_iterable(drawn(batches, epoch, 37) for epoch in range(10)))
    positives = [seen[n] for n in range(21)]
    negatives = [seen[n] for n in range(21, 221)]
    assert sum(positives) == 1850 and max(positives) - min(positives) <= 1
    assert sum(negatives) == 4070 and max(negatives) - min(negatives) <= 1


def test_a_class_smaller_than_its_block_is_repeated_within_the_batch(
    store: Store, make_stage: MakeStage
) -> None:
    batch = next(loader(store, make_stage({"pos": [3]}), {"pos": 10}).epoch(0, 1))
    assert sorted(Counter(numbers(batch).tolist()).values()) == [3, 3, 4]


@pytest.mark.parametrize("cache", [ALL, LITTLE])
def test_an_epoch_is_the_same_whatever_ran_before(store: Store, make_stage: MakeStage, cache: int) -> None:
    manifest = make_stage(COUNTS)
    sizes = {"neg": 30, "pos": 10, "part": 10, "landmark": 20}
    one = loader(store, manifest, sizes, cache)
    in_order = [drawn(one, epoch, 15) for epoch in range(5)]
    assert drawn(loader(store, manifest, sizes, cache), 3, 15) == in_order[3]
    abandoned = one.epoch(1, 15)
    next(abandoned)
    assert drawn(one, 4, 15) == in_order[4]
    abandoned.close()
    assert drawn(one, 0, 15) == in_order[0]
    assert len({tuple(epoch) for epoch in in_order}) == 5


def test_another_seed_or_rank_gives_another_order(store: Store, make_stage: MakeStage) -> None:
    manifest = make_stage(COUNTS)
    orders = [
        drawn(loader(store, manifest, {"neg": 50}, seed=seed, rank=rank, world=2), 0, 5)
        for seed in (0, 1) for rank in (0, 1)
    ]  # fmt: skip
    assert len({tuple(order) for order in orders}) == 4


class Counted(Store):
    """Counts what is read, can be slow, and can fail."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.gets: Counter[str] = Counter()
        self.delay = 0.0
        self.broken = ""

    def get(self, key: str) -> bytes:
        self.gets[key] += 1
        time.sleep(self.delay)
        if key == self.broken:
            return b"short"
        return super().get(key)


def test_what_fits_in_memory_is_read_once(store: Store, make_stage: MakeStage) -> None:
    counted = Counted(store.url)
    batches = loader(counted, make_stage(COUNTS), {"pos": 10, "neg": 30})
    for epoch in range(4):
        drawn(batches, epoch, 40)
    assert sorted(counted.gets.values()) == [1] * 8


def test_what_does_not_fit_is_read_once_a_pass_and_small_classes_stay(
    store: Store, make_stage: MakeStage
) -> None:
    counted = Counted(store.url)
    manifest = make_stage({"pos": [20, 20], "neg": [50] * 20})
    batches = loader(counted, manifest, {"pos": 10, "neg": 50}, cache=400 * CROP)
    drawn(batches, 0, 20)
    drawn(batches, 1, 20)
    gets = {cls: [n for key, n in counted.gets.items() if f"-{cls}" in key] for cls in ("pos", "neg")}
    assert gets == {"pos": [1, 1], "neg": [2] * 20}


def test_an_epoch_goes_on_with_the_group_in_which_the_last_one_ended(
    store: Store, make_stage: MakeStage
) -> None:
    counted = Counted(store.url)
    batches = loader(counted, make_stage({"neg": [100] * 10}), {"neg": 10}, cache=620 * CROP)
    for epoch in range(25):
        drawn(batches, epoch, 4)
    assert sorted(counted.gets.values()) == [1] * 10


def test_memory_stays_within_the_cache(store: Store, make_stage: MakeStage) -> None:
    size, count, units = 24, 200, 40
    crop = size * size * 3 + 56 + 8
    manifest = make_stage({"neg": [count] * units}, size)
    cache = units * count * crop // 4
    batches = loader(store, manifest, {"neg": 64}, cache)
    tracemalloc.start()
    for _ in batches.epoch(0, 250):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    in_flight = 5 * count * crop
    assert peak < cache + in_flight


@pytest.mark.parametrize("cache", [ALL, LITTLE])
def test_an_error_while_reading_ahead_reaches_the_consumer(
    store: Store, make_stage: MakeStage, cache: int
) -> None:
    counted = Counted(store.url)
    batches = loader(counted, make_stage({"neg": [100] * 10}), {"neg": 10}, cache)
    counted.broken = "train-007-neg.tar"
    with pytest.raises(ShardError, match=r"train-007-neg\.tar: 5 bytes, but"):
        drawn(batches, 0, 100)
    assert reading_threads() == []
    counted.broken = ""
    assert sorted(drawn(batches, 0, 100)) == list(range(1000))


def test_threads_end_with_the_iterator(store: Store, make_stage: MakeStage) -> None:
    counted = Counted(store.url)
    batches = loader(counted, make_stage({"neg": [100] * 30}), {"neg": 10}, LITTLE)
    drawn(batches, 0, 300)
    assert reading_threads() == []
    counted.delay = 0.02
    epoch = batches.epoch(1, 300)
    next(epoch)
    assert reading_threads()
    epoch.close()
    assert reading_threads() == []


def test_closing_the_iterator_does_not_wait_for_shards_that_nobody_wants(
    store: Store, make_stage: MakeStage
) -> None:
    counted = Counted(store.url)
    batches = loader(counted, make_stage({"neg": [100] * 60}), {"neg": 10}, 4000 * CROP)
    counted.delay = 0.02
    epoch = batches.epoch(0, 600)
    next(epoch)
    epoch.close()
    group = 20
    assert group <= counted.gets.total() < 2 * group


def test_a_class_without_crops_is_refused_at_once(store: Store, make_stage: MakeStage) -> None:
    manifest = make_stage({"neg": [10]})
    with pytest.raises(ShardError, match="no 'pos' crops for 'train'"):
        loader(store, manifest, {"neg": 3, "pos": 1})
    assert loader(store, manifest, {"neg": 3, "pos": 0}).labels.tolist() == [CLASSES.index("neg")] * 3
