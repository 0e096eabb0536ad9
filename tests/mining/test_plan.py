"""Units of a source and the worker that mines them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mtcnn.mining.plan as plan_module
from mtcnn.config import Mining
from mtcnn.image import decode, encode_jpeg
from mtcnn.mining.plan import MiningPlan, PlannedSource, Unit, UnitMiner, held_out, units
from mtcnn.mining.unit import UnitCrops, mine_unit
from mtcnn.nets import Architecture, Weights, build, save
from mtcnn.shards import CLASSES, read_crops, read_mark
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.pack import Pictures, pack
from mtcnn.sources.read import Index, ShardRow, read_shard
from mtcnn.store import Store, open_store


@pytest.mark.parametrize(
    ("count", "share"), [(10, 0.1), (100, 0.1), (95, 0.1), (3, 0.1), (2, 0.1), (40, 0.25), (7, 0.5)]
)
def test_about_the_share_of_the_units_is_held_out_and_at_least_one(count: int, share: float) -> None:
    out = [held_out(index, count, share) for index in range(count)]
    assert 1 <= sum(out) < count
    assert abs(sum(out) - share * count) <= 1


def test_the_only_unit_of_a_source_is_trained_on() -> None:
    assert not held_out(0, 1, 0.1)


@pytest.fixture
def source(images: list[SourceImage], tmp_path: Path) -> tuple[str, Index]:
    """The images in shards of two."""
    url = str(tmp_path / "source")
    return url, pack(
        Pictures("csv", 6, images.__getitem__, "0" * 64), url, images_per_shard=2, max_bad_fraction=1
    )


def planned(url: str, out: Path, stage: str = "pnet", **changes: object) -> MiningPlan:
    options: dict[str, object] = {
        "stage": stage, "seed": 1, "options": Mining(), "landmarks": True,
        "sources": {"photos": PlannedSource(url, frozenset(CLASSES))},
        "weights": (), "thresholds": (), "out": str(out),
    }  # fmt: skip
    return MiningPlan(**{**options, **changes})  # type: ignore[arg-type]


def test_units_are_named_after_source_and_shard(source: tuple[str, Index]) -> None:
    found = list(units("photos", source[1], 0.3))
    assert [unit.name for unit in found] == [
        f"photos-{row.name.removesuffix('.tar')}" for row in source[1].shards
    ]
    assert [unit.split for unit in found] == ["train", "train", "val"]


def test_a_mined_unit_is_committed_with_what_was_counted(source: tuple[str, Index], tmp_path: Path) -> None:
    url, index = source
    out = tmp_path / "crops"
    miner = UnitMiner(planned(url, out), "cpu", 1)
    rows = [miner.mine(unit) for unit in units("photos", index, 0.3)]
    assert sum(row.stats["images"] for row in rows) == 5
    store = open_store(str(out))
    for row in rows:
        assert read_mark(store, row.unit) == row
        for shard in row.shards.values():
            assert len(read_crops(store, shard)) == shard.crops and shard.size == 12


def test_units_give_the_same_bytes_in_any_order(source: tuple[str, Index], tmp_path: Path) -> None:
    url, index = source
    found = list(units("photos", index, 0.3))
    forwards, backwards = (
        UnitMiner(planned(url, tmp_path / "a"), "cpu", 1),
        UnitMiner(planned(url, tmp_path / "b"), "cpu", 1),
    )
    rows = [forwards.mine(unit) for unit in found]
    assert [backwards.mine(unit) for unit in reversed(found)] == rows[::-1]


def test_in_threads_one_unit_is_read_while_another_is_computed_and_the_bytes_are_the_same(
    source: tuple[str, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, index = source
    found = list(units("photos", index, 0.3))
    alone = UnitMiner(planned(url, tmp_path / "alone"), "cpu", 1)
    expected = [alone.mine(unit) for unit in found]
    read, computing = [], []

    def reading(store: Store, row: ShardRow) -> list[SourceImage]:
        read.append(row.name)
        return read_shard(store, row)

    def mining(*arguments: Any) -> UnitCrops:
        computing.append(threading.current_thread())
        assert len(computing) == 1
        deadline = time.monotonic() + 20
        while len(read) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        mined = mine_unit(*arguments)
        computing.clear()
        return mined

    monkeypatch.setattr(plan_module, "read_shard", reading)
    monkeypatch.setattr(plan_module, "mine_unit", mining)
    miner = UnitMiner(planned(url, tmp_path / "threads"), "cpu", 1)
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(miner.mine, found)) == expected
    assert time.monotonic() - start < 20


def test_landmark_crops_are_mined_only_where_they_are_wanted(
    source: tuple[str, Index], tmp_path: Path
) -> None:
    url, index = source
    miner = UnitMiner(planned(url, tmp_path / "crops", landmarks=False), "cpu", 1)
    assert all("landmark" not in miner.mine(unit).shards for unit in units("photos", index, 0.3))


def test_later_stages_ask_the_nets_before_with_their_thresholds(
    source: tuple[str, Index], tmp_path: Path
) -> None:
    url, index = source
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(1))
    unit = next(units("photos", index, 0.3))
    proposals = []
    for threshold in (0.0, 1.0):
        plan = planned(
            url, tmp_path / str(threshold), "rnet", weights=(save(Weights(net)),), thresholds=(threshold,)
        )
        row = UnitMiner(plan, "cpu", 1).mine(unit)
        assert {shard.size for shard in row.shards.values()} == {24}
        proposals.append(row.stats["proposals"])
    assert proposals[0] > 100 and proposals[1] == 0


def test_shards_depend_on_neither_the_units_before_nor_the_worker(
    images: list[SourceImage], tmp_path: Path
) -> None:
    """With a net in the loop: what a worker has seen must not shape what it computes, on images of several sizes."""
    whole = [image for image in images if image.key != "broken"]
    cropped = [
        replace(image, data=encode_jpeg(decode(image.data)[: 120 - 17 * n, : 160 - 31 * n], 95))
        for n, image in enumerate(whole)
    ]
    url = str(tmp_path / "source")
    pictures = Pictures("csv", len(cropped), cropped.__getitem__, "0" * 64)
    found = list(units("photos", pack(pictures, url, images_per_shard=1, max_bad_fraction=1), 0.3))
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(1))
    weights = (save(Weights(net)),)

    def sums(name: str, order: list[Unit], alone: bool) -> dict[tuple[str, str], str]:
        plan = planned(url, tmp_path / name, "rnet", weights=weights, thresholds=(0.45,))
        miner = UnitMiner(plan, "cpu", 1)
        rows = [(UnitMiner(plan, "cpu", 1) if alone else miner).mine(unit) for unit in order]
        assert sum(row.stats["proposals"] for row in rows) > 100
        return {(row.unit, cls): shard.sha256 for row in rows for cls, shard in row.shards.items()}

    first = sums("first", found, alone=False)
    assert len(found) == 5 and len(first) > 10
    assert sums("reversed", found[::-1], alone=False) == first
    assert sums("alone", found, alone=True) == first
