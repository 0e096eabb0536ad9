"""Source shards: what goes in comes out, the same input gives the same bytes, and damage is found."""

import hashlib
import io
import json
import tarfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from mtcnn.errors import MissingKey, ShardError, UserError
from mtcnn.image import decode
from mtcnn.sources import pack as pack_module
from mtcnn.sources import prepare
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.entry import Skipped, make_entry
from mtcnn.sources.files import ImageFiles, settle
from mtcnn.sources.read import Index, ShardRow, read_index, read_shard
from mtcnn.store import Store, open_store


def write_image(path: Path, size: tuple[int, int], seed: int = 0, **options: Any) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten images of several formats and `boxes.csv` with i faces in image i."""
    rows = ["name,xmin,ymin,xmax,ymax"]
    for i in range(10):
        name = f"day {i % 3}/photo.{i}.{('jpg', 'png', 'webp')[i % 3]}"
        write_image(tmp_path / "photos" / name, (60 + i, 50), seed=i)
        rows += [f"{name},{k},{k},{k + 10 * k + 1},{k + 20}" for k in range(i)] or [f"{name},,,,"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def make(photos: Path, out: str, **options: Any) -> Index:
    settings: dict[str, Any] = {"images_per_shard": 4, "done": lambda count: None, **options}
    return prepare("csv", str(photos / "photos"), [str(photos / "boxes.csv")], str(photos / out), **settings)


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def images_of(folder: Path) -> Iterator[SourceImage]:
    for row in read_index(str(folder)).shards:
        yield from read_shard(open_store(str(folder)), row)


def test_every_image_comes_back_as_it_was(photos: Path) -> None:
    index = make(photos, "out")
    found = {image.annotation.name: image for image in images_of(photos / "out")}
    assert len(found) == 10
    for name, image in found.items():
        i = int(name.split(".")[1])
        assert image.data == (photos / "photos" / name).read_bytes()
        assert image.annotation.boxes.tolist() == [[k, k, 11 * k + 1, k + 20] for k in range(i)]
        assert (image.annotation.width, image.annotation.height) == (60 + i, 50)
        assert decode(image.data).shape == (50, 60 + i, 3)
    assert len({image.key for image in found.values()}) == 10
    assert [row.images for row in index.shards] == [4, 4, 2]
    assert (index.images, index.faces) == (10, 45)
    assert index.summary.images == 10
    assert index.summary.empty == 1
    assert index.summary.faces == sum(index.summary.sizes) == 45


def test_the_index_says_the_truth_about_the_files(photos: Path) -> None:
    index = make(photos, "out")
    tree = json.loads((photos / "out" / "index.json").read_text())
    assert tree["format"] == 1
    assert tree["kind"] == "csv"
    assert tree["digest"] == index.digest == read_index(str(photos / "out")).digest
    for row in tree["shards"]:
        data = (photos / "out" / row["name"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert {row["name"] for row in tree["shards"]} | {"index.json"} == set(content(photos / "out"))


def test_webdataset_reads_a_shard(photos: Path) -> None:
    make(photos, "out")
    shard = str(photos / "out" / "00000.tar")
    samples = list(webdataset.WebDataset(shard, shardshuffle=False))
    assert len(samples) == 4
    for sample in samples:
        tree = json.loads(sample["json"])
        assert np.asarray(Image.open(io.BytesIO(sample["jpg"]))).shape == (tree["height"], tree["width"], 3)


def test_the_same_input_gives_the_same_bytes_with_any_number_of_workers(photos: Path) -> None:
    one, four = make(photos, "one", workers=1), make(photos, "four", workers=4)
    assert one == four
    assert content(photos / "one") == content(photos / "four")


def test_another_seed_gives_other_shards_of_the_same_images(photos: Path) -> None:
    names = []
    for seed in (0, 1):
        make(photos, f"seed{seed}", seed=seed)
        names.append([image.annotation.name for image in images_of(photos / f"seed{seed}")])
    assert names[0] != names[1]
    assert sorted(names[0]) == sorted(names[1])
    assert names[0] != sorted(names[0])


def test_a_second_call_touches_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(photos, "out")
    monkeypatch.setattr(Store, "put", lambda *_, **__: pytest.fail("wrote"))
    monkeypatch.setattr(Store, "delete", lambda *_, **__: pytest.fail("deleted"))
    counted: list[int] = []
    assert make(photos, "out", done=counted.append) == first
    assert sum(counted) == 10


@pytest.mark.parametrize(
    "change", ["shard lost", "shard cut", "index lost", "index damaged", "photo", "box", "seed"]
)
def test_what_is_lost_or_changed_is_made_again(photos: Path, change: str) -> None:
    make(photos, "out")
    shard, index = photos / "out" / "00001.tar", photos / "out" / "index.json"
    if change == "shard lost":
        shard.unlink()
    elif change == "shard cut":
        shard.write_bytes(shard.read_bytes()[:-512])
    elif change == "index lost":
        index.unlink()
    elif change == "index damaged":
        index.write_bytes(index.read_bytes()[:99])
    elif change == "photo":
        write_image(photos / "photos" / "day 0" / "photo.0.jpg", (90, 90))
    elif change == "box":
        with (photos / "boxes.csv").open("a") as file:
            file.write("day 0/photo.0.jpg,1,2,3,4\n")
    seed = int(change == "seed")
    make(photos, "out", seed=seed)
    make(photos, "fresh", seed=seed)
    assert content(photos / "out") == content(photos / "fresh")


def test_shards_that_are_no_longer_named_go(photos: Path) -> None:
    make(photos, "out", images_per_shard=1)
    make(photos, "out", images_per_shard=10)
    assert set(content(photos / "out")) == {"00000.tar", "index.json"}


def test_a_packing_that_fails_leaves_no_index(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "out")
    monkeypatch.setattr(pack_module, "write_tar", lambda images: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(photos, "out", seed=1)
    with pytest.raises(MissingKey):
        read_index(str(photos / "out"))


def test_a_worker_holds_one_shard_and_no_more(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, most, lock = 0, 0, threading.Lock()
    read = ImageFiles.__call__

    def counted(self: ImageFiles, i: int) -> SourceImage | Skipped:
        nonlocal held, most
        image = read(self, i)
        weakref.finalize(image, let_go)
        with lock:
            held += 1
            most = max(most, held)
        return image

    def let_go() -> None:
        nonlocal held
        held -= 1

    monkeypatch.setattr(ImageFiles, "__call__", counted)
    make(photos, "out", images_per_shard=2, workers=2)
    assert 2 <= most <= 4


def test_bad_images_are_named_up_to_the_limit(photos: Path) -> None:
    folder = photos / "photos" / "day 0"
    (folder / "photo.0.jpg").unlink()
    (folder / "photo.3.jpg").write_bytes((folder / "photo.3.jpg").read_bytes()[:700])
    (folder / "photo.6.jpg").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"of 10 images cannot be used, limits\.max_bad_fraction is 0\.2: "
    ) as error:
        make(photos, "out", max_bad_fraction=0.2)
    assert "day 0/photo.0.jpg: no such file" in str(error.value)
    assert not (photos / "out" / "index.json").exists()

    index = make(photos, "out", max_bad_fraction=0.3)
    assert {one.name for one in index.skipped} == {f"day 0/photo.{i}.jpg" for i in (0, 3, 6)}
    assert index.images == 7
    assert read_index(str(photos / "out")) == index


def test_large_images_are_skipped(photos: Path) -> None:
    index = make(photos, "out", max_pixels=60 * 50, max_bad_fraction=0.9)
    assert index.images == 1
    assert all("max_pixels" in one.reason for one in index.skipped)


def test_nothing_left_is_an_error_at_any_limit(photos: Path) -> None:
    with pytest.raises(UserError, match="10 of 10 images"):
        make(photos, "out", max_pixels=10, max_bad_fraction=1.0)
    (photos / "empty").mkdir()
    with pytest.raises(UserError, match="not one image"):
        prepare("folder", str(photos / "empty"), [], str(photos / "out"))


def test_skipped_lines_are_listed_and_not_held_against_the_images(photos: Path) -> None:
    with (photos / "boxes.csv").open("a") as file:
        file.write("day 0/photo.0.jpg,1,2,3\n")
    with pytest.raises(UserError, match=r"boxes\.csv:\d+: 4 cells"):
        make(photos, "out")
    index = make(photos, "out", skip_bad=True, max_bad_fraction=0)
    assert index.images == 9
    assert [one.reason for one in index.skipped] == ["4 cells under 5 columns; day 0/photo.0.jpg left out"]


def test_annotations_hold_for_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(tmp_path / "in" / "a.jpg", (80, 40), exif=exif)
    prepare("folder", str(tmp_path / "in"), [], str(tmp_path / "out"))
    [image] = images_of(tmp_path / "out")
    assert (image.annotation.width, image.annotation.height) == (40, 80)
    assert decode(image.data).shape == (80, 40, 3)


def test_an_image_of_another_size_than_its_annotation_says_is_skipped(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", (80, 40))
    write_image(tmp_path / "b.jpg", (80, 40))
    (tmp_path / "c.csv").write_text(
        "name,width,height,x1,y1,x2,y2\na.jpg,160,80,1,2,3,4\nb.jpg,80,40,1,2,3,4\n"
    )
    index = prepare(
        "csv", str(tmp_path), [str(tmp_path / "c.csv")], str(tmp_path / "out"), max_bad_fraction=0.5
    )
    assert [(one.name, one.reason) for one in index.skipped] == [
        ("a.jpg", "80x40 pixels, but its annotation is for 160x80")
    ]


def test_boxes_without_area_or_outside_become_ignore_regions() -> None:
    boxes = [
        [10, 10, 20, 20],  # a face
        [10, 10, 10, 20],  # no width
        [20, 20, 10, 30],  # inside out
        [100, 5, 120, 20],  # touches the right border from outside
        [-30, -30, -1, -1],  # outside
        [-5, -5, 5, 5],  # crosses the corner
        [90, 40, 130, 70],  # crosses the other
    ]
    entry = make_entry("a.jpg", boxes, ignore=[False] * 6 + [True])
    annotation = settle(entry, 100, 50)
    assert annotation.ignore.tolist() == [False, True, True, True, True, False, True]
    kept = [0, 5, 6]
    assert annotation.boxes[kept].tolist() == [boxes[i] for i in kept]
    changed = np.delete(annotation.boxes, kept, axis=0)
    assert (changed >= 0).all()
    assert (changed[:, 2] <= 100).all()
    assert (changed[:, 3] <= 50).all()
    assert ((changed[:, 2:] - changed[:, :2]).min(axis=1) == 0).all()


def test_ignore_regions_are_counted_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "0--Parade" / "a.jpg", (300, 300))
    faces = ["0 0 11 40", "0 0 12 40", "0 0 20 40", "9 9 200 170", "0 0 0 0", "400 0 9 9", "5 5 30 30"]
    rows = [f"{face} 0 0 0 {int(i == 6)} 0 0" for i, face in enumerate(faces)]
    (tmp_path / "w.txt").write_text("0--Parade/a.jpg\n7\n" + "\n".join(rows))
    index = prepare("wider", str(tmp_path), [str(tmp_path / "w.txt")], str(tmp_path / "out"))
    assert index.summary.sizes == (1, 1, 1, 0, 0, 1)
    assert (index.faces, index.summary.ignored, index.summary.without_area) == (4, 3, 2)


def test_wider_images_are_found_in_the_folder_above(tmp_path: Path) -> None:
    write_image(tmp_path / "WIDER_val" / "images" / "0--Parade" / "a.jpg", (30, 30))
    (tmp_path / "w.txt").write_text("0--Parade/a.jpg\n0\n")
    arguments = [str(tmp_path / "w.txt")], str(tmp_path / "out")
    above = prepare("wider", str(tmp_path / "WIDER_val"), *arguments)
    assert above == prepare("wider", str(tmp_path / "WIDER_val" / "images"), *arguments)


def test_synthetic_scenes_are_packed_like_photos(tmp_path: Path) -> None:
    one = prepare(
        "synthetic", None, [], str(tmp_path / "one"), count=5, seed=3, images_per_shard=2, workers=1
    )
    two = prepare(
        "synthetic", None, [], str(tmp_path / "two"), count=5, seed=3, images_per_shard=2, workers=3
    )
    assert one == two
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert [row.images for row in one.shards] == [2, 2, 1]
    assert prepare("synthetic", None, [], str(tmp_path / "two"), count=5, seed=4).digest != one.digest


def test_what_a_kind_needs_is_said(tmp_path: Path) -> None:
    for arguments, words in [
        (("csv", None, ["a.csv"]), "--images"),
        (("csv", str(tmp_path / "no"), ["a.csv"]), "no"),
        (("folder", str(tmp_path), ["a.csv"]), "no annotation file"),
        (("synthetic", str(tmp_path), []), "--count"),
        (("synthetic", None, []), "--count"),
        (("cvs", None, []), "unknown kind"),
    ]:
        with pytest.raises(UserError, match=words):
            prepare(*arguments, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1024], "bytes where the index says"),
        (lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:], "sha256 .* where the index says"),
        (None, "is missing"),
    ],
)
def test_a_damaged_shard_is_read_again_and_named(
    photos: Path, damage: Callable[[bytes], bytes] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make(photos, "out").shards[1]
    path = photos / "out" / row.name
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(whole))
    store = open_store(str(photos / "out"))
    with pytest.raises(ShardError, match=rf"00001\.tar .*{words}"):
        read_shard(store, row)

    # Mended between the two reads: nothing is wrong.
    get = Store.get

    def once_bad(self: Store, key: str) -> bytes:
        try:
            return get(self, key)
        finally:
            path.write_bytes(whole)

    monkeypatch.setattr(Store, "get", once_bad)
    assert len(read_shard(store, row)) == row.images


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"digest": "0" * 64},
        {"shards": [{"name": "../x.tar", "images": 1, "faces": 0, "bytes": 9, "sha256": ""}]},
        {"shards": [{"name": "00000.tar"}]},
        {"summary": {}},
        {"skipped": 3},
    ],
)
def test_an_index_that_is_none_is_refused(photos: Path, change: dict[str, object]) -> None:
    make(photos, "out")
    path = photos / "out" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardError, match=r"out/index\.json"):
        read_index(str(photos / "out"))


def test_no_index_is_a_missing_key(tmp_path: Path) -> None:
    with pytest.raises(MissingKey, match="index.json"):
        read_index(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "linked"),
    [("../a.jpg", False), ("/a.jpg", False), ("a.b.jpg", False), ("a.txt", False), ("a.jpg", True)],
)
def test_a_foreign_member_is_refused(name: str, linked: bool, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        if linked:
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    data = out.getvalue()
    (tmp_path / "00000.tar").write_bytes(data)
    row = ShardRow("00000.tar", 1, 0, len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(ShardError, match="KEY"):
        read_shard(open_store(str(tmp_path)), row)
