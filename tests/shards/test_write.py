"""A unit is committed once, in shards that anything can read, whatever interrupts or competes."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable

import numpy as np
import pytest

from mtcnn.errors import ShardError
from mtcnn.shards import Crops, commit_unit, list_marks, pack_crops, read_crops, read_mark
from mtcnn.store import Store


class Watched(Store):
    """A store that runs something before each put."""

    def __init__(self, url: str, before: Callable[[str], None]) -> None:
        super().__init__(url)
        self.before = before

    def put(self, key: str, data: bytes, overwrite: bool = True) -> bool:
        self.before(key)
        return super().put(key, data, overwrite)


def contents(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key, _ in store.list()}


def test_any_tar_and_npy_reader_gets_the_same_arrays(make_crops) -> None:
    crops = make_crops(2500)
    found: dict[str, list[np.ndarray]] = {}
    with tarfile.open(fileobj=io.BytesIO(pack_crops(crops, "photos-00001", "pos"))) as tar:
        for number, entry in enumerate(tar):
            key, member, extension = entry.name.split(".")
            assert (key, extension) == (f"photos-00001-pos-{number // 4:04d}", "npy")
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
            array = np.load(io.BytesIO(tar.extractfile(entry).read()), allow_pickle=False)
            found.setdefault(member, []).append(array)
    assert [len(array) for array in found["image"]] == [1024, 1024, 452]
    for name, array in (
        ("image", crops.images), ("box", crops.boxes), ("landmarks", crops.landmarks), ("origin", crops.origin)
    ):  # fmt: skip
        joined = np.concatenate(found[name])
        assert joined.dtype == array.dtype
        np.testing.assert_array_equal(joined, array)


def test_plain_webdataset_reads_a_shard(store: Store, make_crops) -> None:
    webdataset = pytest.importorskip("webdataset")
    crops = make_crops(1500)
    row = commit_unit(store, "photos-00001", {"neg": crops}, {}, "train").shards["neg"]
    samples = list(webdataset.WebDataset(f"{store.url}/{row.name}", shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == ["photos-00001-neg-0000", "photos-00001-neg-0001"]
    np.testing.assert_array_equal(np.concatenate([s["image.npy"] for s in samples]), crops.images)
    np.testing.assert_array_equal(np.concatenate([s["landmarks.npy"] for s in samples]), crops.landmarks)


def test_equal_crops_give_equal_bytes_in_any_memory_layout(make_crops) -> None:
    crops = make_crops(30)
    turned = Crops(
        np.asfortranarray(crops.images),
        np.asfortranarray(crops.boxes),
        crops.landmarks[::-1][::-1],
        crops.origin,
    )
    assert pack_crops(crops, "u", "pos") == pack_crops(turned, "u", "pos")


@pytest.mark.parametrize("size", [12, 24, 48])
def test_a_shard_is_hardly_larger_than_its_pixels_and_targets(make_crops, size: int) -> None:
    crops = make_crops(2048, size)
    raw = crops.images.nbytes + crops.boxes.nbytes + crops.landmarks.nbytes
    assert len(pack_crops(crops, "photos-00001", "landmark")) <= 1.05 * raw


def test_the_mark_comes_last_and_says_what_is_there(store: Store, make_crops) -> None:
    puts: list[str] = []
    watched = Watched(store.url, puts.append)
    stats = {"images": 3, "bad": [("a.jpg", "truncated")]}
    crops = {"landmark": make_crops(5), "pos": make_crops(1030), "part": make_crops(0)}
    row = commit_unit(watched, "u-1", crops, stats, "val")
    assert puts == ["u-1-pos.tar", "u-1-landmark.tar", "u-1.json"]
    assert (row.unit, row.split, list(row.shards)) == ("u-1", "val", ["pos", "landmark"])
    assert row.stats == {"images": 3, "bad": [["a.jpg", "truncated"]]}
    assert (row.shards["pos"].crops, row.shards["pos"].size) == (1030, 12)
    data = store.get("u-1-pos.tar")
    assert row.shards["pos"].bytes == len(data)
    assert row.shards["pos"].sha256 == hashlib.sha256(data).hexdigest()
    assert row == read_mark(store, "u-1")
    assert list(list_marks(store)) == ["u-1"]


def test_a_unit_without_any_crops_is_committed_too(store: Store) -> None:
    assert commit_unit(store, "u", {}, {}, "train").shards == {}
    assert read_mark(store, "u") is not None


def test_a_unit_that_is_not_done_has_no_mark(store: Store, make_crops) -> None:
    store.put("u-pos.tar", pack_crops(make_crops(3), "u", "pos"))
    assert read_mark(store, "u") is None
    assert list(list_marks(store)) == []


def test_a_committed_unit_is_left_as_it_is(store: Store, make_crops) -> None:
    row = commit_unit(store, "u", {"pos": make_crops(10)}, {}, "train")
    before = contents(store)
    assert commit_unit(store, "u", {"pos": make_crops(7), "neg": make_crops(2)}, {"x": 1}, "val") == row
    assert contents(store) == before


@pytest.mark.parametrize("died_at", ["u-pos.tar", "u-neg.tar", "u.json"])
def test_a_writer_that_dies_anywhere_leaves_no_trace_in_the_repeated_result(
    store: Store, make_crops, died_at: str
) -> None:
    crops = {"pos": make_crops(1500), "neg": make_crops(20, first=5000)}
    undisturbed = store.child("undisturbed")
    row = commit_unit(undisturbed, "u", crops, {}, "train")

    def die(key: str) -> None:
        if key == died_at:
            raise KeyboardInterrupt

    disturbed = store.child("disturbed")
    with pytest.raises(KeyboardInterrupt):
        commit_unit(Watched(disturbed.url, die), "u", crops, {}, "train")
    assert read_mark(disturbed, "u") is None
    assert commit_unit(disturbed, "u", crops, {}, "train") == row
    assert contents(disturbed) == contents(undisturbed)


def test_a_damaged_shard_without_a_mark_is_written_anew(store: Store, make_crops) -> None:
    whole = pack_crops(make_crops(10), "u", "pos")
    store.put("u-pos.tar", whole[:-1])
    row = commit_unit(store, "u", {"pos": make_crops(10)}, {}, "train")
    assert store.get("u-pos.tar") == whole
    assert len(read_crops(store, row.shards["pos"])) == 10


@pytest.mark.parametrize("moment", ["u-pos.tar", "u-neg.tar", "u.json"])
def test_a_second_writer_with_other_crops_never_leaves_a_mark_that_lies(
    store: Store, make_crops, moment: str
) -> None:
    def second(key: str) -> None:
        if key == moment:
            crops = {"pos": make_crops(30, first=900), "neg": make_crops(40, first=950)}
            rows.append(commit_unit(store, "u", crops, {"writer": 2}, "train"))

    rows: list[object] = []
    crops = {"pos": make_crops(10), "neg": make_crops(20, first=100)}
    row = commit_unit(Watched(store.url, second), "u", crops, {"writer": 1}, "train")
    assert rows == [row] == [read_mark(store, "u")]
    for cls in ("pos", "neg"):
        assert len(read_crops(store, row.shards[cls])) == row.shards[cls].crops


def test_many_writers_at_once_leave_one_result(store: Store, make_crops) -> None:
    rows: list[object] = []
    writers = [
        threading.Thread(
            target=lambda: rows.append(commit_unit(store, "u", {"pos": make_crops(2000)}, {}, "train"))
        )
        for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(rows) == 4
    assert all(row == rows[0] for row in rows)
    assert sorted(contents(store)) == ["u-pos.tar", "u.json"]


@pytest.mark.parametrize("unit", ["../u", "a/b", "a.b", "", "manifest", "x" * 65, "ü"])
def test_a_unit_whose_name_can_not_be_a_key_is_refused(store: Store, make_crops, unit: str) -> None:
    with pytest.raises(ShardError, match="can't name a shard"):
        commit_unit(store, unit, {"pos": make_crops(1)}, {}, "train")
    assert contents(store) == {}


def test_crops_of_a_wrong_type_or_shape_can_not_be_made(make_crops) -> None:
    good = make_crops(3)
    with pytest.raises(ValueError, match="box is float64"):
        Crops(good.images, good.boxes.astype(np.float64), good.landmarks, good.origin)
    with pytest.raises(ValueError, match=r"landmarks is float32 \(2, 10\), not float32 \(3, 10\)"):
        Crops(good.images, good.boxes, good.landmarks[:2], good.origin)
    with pytest.raises(ValueError, match="image"):
        Crops(good.images[..., :1], good.boxes, good.landmarks, good.origin)
