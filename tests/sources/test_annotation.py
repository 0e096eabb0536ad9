"""An annotation survives its JSON to the last bit, and nonsense is refused."""

import json

import cv2
import numpy as np
import pytest

from mtcnn.errors import ImageError
from mtcnn.sources.annotation import Annotation, SourceImage


def faces(count: int, rng: np.random.Generator) -> Annotation:
    landmarks = rng.uniform(-5, 900, (count, 5, 2)).astype(np.float32)
    landmarks[::2] = np.nan
    landmarks[1::4, 3] = np.nan
    return Annotation(
        width=640,
        height=480,
        boxes=rng.uniform(-20, 700, (count, 4)).astype(np.float32),
        ignore=rng.random(count) < 0.3,
        landmarks=landmarks,
        attributes={"blur": tuple(range(count)), "pose": ("typical",) * count},
        name="0--Parade/Ünü 1.jpg",
    )


@pytest.mark.parametrize("count", [0, 1, 9])
def test_json_gives_back_every_bit(count: int) -> None:
    before = faces(count, np.random.default_rng(count))
    after = Annotation.from_json(before.to_json())
    for one in ("boxes", "ignore", "landmarks"):
        left, right = getattr(before, one), getattr(after, one)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert (after.width, after.height, after.name) == (640, 480, "0--Parade/Ünü 1.jpg")
    assert after.attributes == before.attributes


def test_json_is_what_the_format_says() -> None:
    landmarks = np.full((2, 5, 2), np.nan, np.float32)
    landmarks[1] = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.25]])
    box = np.array([[140.55, 145.84, 168.37, 172.22], [-1, 0, 8, 9]], np.float32)
    tree = json.loads(Annotation(20, 10, box, np.array([False, True]), landmarks).to_json())
    assert tree == {
        "name": "",
        "width": 20,
        "height": 10,
        "boxes": [[140.55, 145.84, 168.37, 172.22], [-1, 0, 8, 9]],
        "ignore": [False, True],
        "landmarks": [None, [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.25]]],
        "attributes": {},
    }


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": [[1, 2, 3]]},
        {"boxes": [[1, 2, 3, "NaN"]]},
        {"ignore": []},
        {"landmarks": [[[1, 2]]]},
        {"width": 0},
        {"width": None},
        {"attributes": {"blur": [1, 2]}},
        {"attributes": 3},
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    good: dict[str, object] = {
        "width": 9,
        "height": 9,
        "boxes": [[1, 2, 3, 4]],
        "ignore": [False],
        "landmarks": [None],
    }
    Annotation.from_json(json.dumps(good).encode())
    with pytest.raises(ValueError):
        Annotation.from_json(json.dumps(good | change).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe", b"{}"])
def test_what_is_not_an_annotation_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Annotation.from_json(data)


def test_an_image_is_decoded_at_the_size_it_was_packed_with_and_no_larger() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    _, png = cv2.imencode(".png", pixels[..., ::-1])
    none = np.zeros(0, bool)
    sizes = {
        size: SourceImage("a", png.tobytes(), Annotation(*size, none.reshape(0, 4), none, none.reshape(0, 5, 2)))
        for size in ((6, 4), (5, 4))
    }  # fmt: skip
    np.testing.assert_array_equal(sizes[6, 4].decode(), pixels)
    with pytest.raises(ImageError, match="6x4 pixels are over"):
        sizes[5, 4].decode()
