"""The manifest lists every unit, the same whatever order they finished in, and is not taken for what it is not."""

import json

import pytest

from mtcnn.errors import MissingKey, ShardError
from mtcnn.shards import UnitRow, commit_unit, list_marks, read_manifest, read_mark, write_manifest
from mtcnn.store import Store


@pytest.fixture
def rows(store: Store, make_crops) -> list[UnitRow]:
    return [
        commit_unit(store, "b-1", {"pos": make_crops(3), "neg": make_crops(5)}, {"images": 2}, "train"),
        commit_unit(store, "a-2", {"neg": make_crops(7)}, {"images": 1}, "train"),
        commit_unit(store, "a-1", {"pos": make_crops(11)}, {"images": 4}, "val"),
    ]


def test_its_bytes_do_not_depend_on_the_order_of_the_units(store: Store, rows: list[UnitRow]) -> None:
    write_manifest(store, "pnet", "d", rows)
    first = store.get("manifest.json")
    write_manifest(store, "pnet", "d", rows[::-1])
    assert store.get("manifest.json") == first


def test_it_is_read_as_it_was_written(store: Store, rows: list[UnitRow]) -> None:
    written = write_manifest(store, "pnet", "d", rows)
    assert read_manifest(store) == written
    assert [row.unit for row in written.units] == ["a-1", "a-2", "b-1"]
    assert (written.stage, written.digest, written.size) == ("pnet", "d", 12)


def test_it_counts_crops_by_class_and_split(store: Store, rows: list[UnitRow]) -> None:
    manifest = write_manifest(store, "pnet", "d", rows)
    counts = {(c, s): manifest.count(c, s) for c in ("pos", "neg", "part") for s in ("train", "val")}
    assert counts == {
        ("pos", "train"): 3, ("neg", "train"): 12, ("part", "train"): 0,
        ("pos", "val"): 11, ("neg", "val"): 0, ("part", "val"): 0,
    }  # fmt: skip
    assert [shard.name for shard in manifest.shards("neg", "train")] == ["a-2-neg.tar", "b-1-neg.tar"]


def test_it_is_no_unit(store: Store, rows: list[UnitRow]) -> None:
    write_manifest(store, "pnet", "d", rows)
    assert sorted(list_marks(store)) == ["a-1", "a-2", "b-1"]


def test_a_stage_that_is_not_mined_has_none(store: Store) -> None:
    with pytest.raises(MissingKey):
        read_manifest(store)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"format": 2', b'{"format": 99}', b'{"format": 2}', b'{"format": 2, "units": [3]}']
)
def test_what_is_damaged_is_named(store: Store, data: bytes) -> None:
    store.put("manifest.json", data)
    store.put("u.json", data)
    with pytest.raises(ShardError, match=f"{store.url}/manifest.json: damaged"):
        read_manifest(store)
    with pytest.raises(ShardError, match=f"{store.url}/u.json: damaged"):
        read_mark(store, "u")


def test_a_unit_of_an_unknown_split_is_damaged(store: Store, rows: list[UnitRow]) -> None:
    content = json.loads(rows[0].to_json()) | {"split": "test"}
    with pytest.raises(ShardError, match="split is 'test'"):
        UnitRow.from_json(json.dumps(content).encode(), "here")
