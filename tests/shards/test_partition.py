"""Ranks share a class without overlap or loss, and passes go over all of it, by counting crop by crop."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from mtcnn.shards import CropShard
from mtcnn.shards.partition import Part, budgets, groups, share, stream


def shards(*crops: int) -> list[CropShard]:
    return [CropShard(f"u{i:03d}-pos.tar", count, 12, 0, "", "") for i, count in enumerate(crops)]


def crops_of(parts: tuple[Part, ...]) -> list[tuple[str, int]]:
    return [(part.shard.name, i) for part in parts for i in range(part.start, part.shard.crops, part.step)]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "counts", [[5], [100], [3, 1, 4], [1] * 20, [40, 1, 1, 1, 1, 30, 2, 2], list(range(1, 60))]
)
def test_ranks_have_disjoint_crops_that_make_up_the_whole(counts: list[int], world: int) -> None:
    total = sum(counts)
    owned = [crops_of(share(shards(*counts), rank, world)) for rank in range(world)]
    for rank, crops in enumerate(owned):
        assert len(crops) == sum(map(len, share(shards(*counts), rank, world))) > 0
    seen = Counter(crop for crops in owned for crop in crops)
    assert len(seen) == total
    assert set(seen.values()) == {1} if total >= world else {world}


def test_many_shards_are_dealt_whole_and_evenly() -> None:
    counts = np.random.default_rng(0).integers(500, 1500, 80).tolist()
    parts = [share(shards(*counts), rank, 4) for rank in range(4)]
    assert all(part.step == 1 for of_rank in parts for part in of_rank)
    sizes = [sum(map(len, of_rank)) for of_rank in parts]
    assert max(sizes) - min(sizes) <= 0.01 * max(sizes)


def test_few_shards_are_split_by_crop_to_within_one() -> None:
    sizes = [sum(map(len, share(shards(101, 7, 33), rank, 4))) for rank in range(4)]
    assert max(sizes) - min(sizes) <= 1


def test_small_classes_get_what_they_need_and_large_ones_share_the_rest() -> None:
    assert budgets({"pos": 10, "neg": 1000, "part": 500, "landmark": 20}, 230) == {
        "pos": 10, "landmark": 20, "part": 100, "neg": 100
    }  # fmt: skip
    assert budgets({"pos": 10, "neg": 20}, 100) == {"pos": 10, "neg": 20}
    assert sum(budgets({"a": 7, "b": 8, "c": 9}, 10).values()) <= 10


def test_a_pass_in_groups_has_every_part_once_and_no_group_too_large() -> None:
    parts = share(shards(*range(1, 50)), 0, 1)
    for seed in range(20):
        found = groups(parts, 60, np.random.default_rng(seed))
        assert Counter(part for group in found for part in group) == Counter(parts)
        assert all(sum(map(len, group)) <= 60 for group in found)
    assert groups(parts, 60, np.random.default_rng(0)) != groups(parts, 60, np.random.default_rng(1))


def test_a_part_larger_than_a_group_is_a_group_alone() -> None:
    parts = share(shards(5, 100, 5), 0, 1)
    found = groups(parts, 12, np.random.default_rng(0))
    assert (parts[1],) in found
    assert sum(map(len, found)) == 3


def test_what_fits_is_one_group_that_stays_the_same_in_every_pass() -> None:
    parts = share(shards(5, 6, 7), 0, 1)
    assert (
        groups(parts, 18, np.random.default_rng(0)) == groups(parts, 18, np.random.default_rng(1)) == [parts]
    )


def drawn(crops: int, position: int, count: int) -> list[tuple[str, int]]:
    """`count` crops of the stream of nine shards from `position`."""
    parts = share(shards(*range(2, 11)), 0, 1)
    found: list[tuple[str, int]] = []
    for stretch in stream(parts, crops, (7, 0, 0), position):
        names = crops_of(stretch.group)
        found += [names[i] for i in stretch.order()]
        if len(found) >= count:
            return found[:count]
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("crops", [12, 25, 54])
def test_a_stream_gives_each_crop_once_a_pass_in_another_order_each_time(crops: int) -> None:
    total = 54
    passes = [drawn(crops, total * number, total) for number in range(4)]
    assert all(sorted(one) == sorted(passes[0]) for one in passes)
    assert len({tuple(one) for one in passes}) == 4
    assert len(set(passes[0])) == total


@pytest.mark.parametrize("crops", [12, 25, 54])
def test_a_stream_can_begin_anywhere(crops: int) -> None:
    whole = drawn(crops, 0, 200)
    for position in range(0, 150, 7):
        assert drawn(crops, position, 50) == whole[position : position + 50]


def test_far_positions_cost_nothing() -> None:
    parts = share(shards(*range(2, 11)), 0, 1)
    stretches = list(islice(stream(parts, 12, (0,), 54 * 10**12 + 53), 2))
    assert len(stretches[0].order()) == 1
