"""A shard comes back whole, or an error says which shard and what differs; never silently fewer crops."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mtcnn.errors import ShardError
from mtcnn.shards import CropShard, commit_unit, pack_crops, read_crops
from mtcnn.shards.manifest import shard_row
from mtcnn.store import Store


@pytest.fixture
def row(store: Store, make_crops) -> CropShard:
    return commit_unit(store, "u-1", {"pos": make_crops(1500)}, {}, "train").shards["pos"]


@pytest.fixture
def path(store: Store, row: CropShard) -> Path:
    return store.local_path / row.name


def test_crops_come_back_as_they_were_in_arrays_of_their_own(
    store: Store, row: CropShard, make_crops
) -> None:
    crops, written = read_crops(store, row), make_crops(1500)
    for found, expected in zip(crops.arrays(), written.arrays(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
        assert found.flags.writeable and found.flags.c_contiguous


def test_a_byte_that_is_missing_is_named(store: Store, row: CropShard, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match=rf"{path}: {row.bytes - 1:,} bytes, but {row.bytes:,} were written"):
        read_crops(store, row)


def test_a_byte_that_is_altered_is_named(store: Store, row: CropShard, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=rf"{path}: altered: .* is .*{row.xxh3[:16]}"):
        read_crops(store, row)


def test_a_shard_that_is_gone_is_named_with_what_to_do(store: Store, row: CropShard, path: Path) -> None:
    path.unlink()
    with pytest.raises(ShardError, match=rf"{path}: it is missing; .*delete .*u-1\.json and manifest\.json"):
        read_crops(store, row)


def test_a_shard_that_comes_through_damaged_once_is_read_again(store: Store, row: CropShard) -> None:
    class Bad(Store):
        gets = 0

        def get(self, key: str) -> bytes:
            self.gets += 1
            return super().get(key)[: -1 if self.gets == 1 else None]

    bad = Bad(store.url)
    assert len(read_crops(bad, row)) == 1500
    assert bad.gets == 2


def reseal(store: Store, row: CropShard, data: bytes, crops: int | None = None) -> CropShard:
    """Put other bytes in the place of a shard, with a row that vouches for them."""
    store.put(row.name, data)
    return shard_row(row.name, row.crops if crops is None else crops, row.size, data)


def test_a_row_that_counts_other_crops_is_noticed(store: Store, row: CropShard) -> None:
    with pytest.raises(ShardError, match=r"holds 1500 crops of \[12\] px, not 1499 of 12 px"):
        read_crops(store, reseal(store, row, store.get(row.name), crops=1499))


def test_members_are_never_unpickled(store: Store, row: CropShard) -> None:
    member = io.BytesIO()
    np.save(member, np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    data = tar([("u-1-pos-0000.image.npy", member.getvalue())])
    with pytest.raises(ShardError, match=r"not a crop shard: u-1-pos-0000.image.npy: object \(1,\)"):
        read_crops(store, reseal(store, row, data))


@pytest.mark.parametrize("name", ["../u-1-pos-0000.image.npy", "/etc/passwd", "u-1-pos-0001.image.npy"])
def test_members_of_other_names_are_refused(store: Store, row: CropShard, name: str) -> None:
    with pytest.raises(ShardError, match="not a crop shard: member .* where u-1-pos-0000.image.npy belongs"):
        read_crops(store, reseal(store, row, tar([(name, b"")])))


def test_a_tar_cut_between_members_is_no_shard_even_if_its_row_says_so(store: Store, row: CropShard) -> None:
    data = store.get(row.name)
    for end in (512, 10_000, len(data) - 1024, len(data) - 512):
        with pytest.raises(ShardError, match="not a crop shard"):
            read_crops(store, reseal(store, row, data[:end]))


def test_a_shard_under_another_shards_name_is_noticed(store: Store, row: CropShard, make_crops) -> None:
    with pytest.raises(ShardError, match="u-2-pos-0000.image.npy"):
        read_crops(store, reseal(store, row, pack_crops(make_crops(1500), "u-2", "pos")))


def tar(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
