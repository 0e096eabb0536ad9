"""Pixels in: every kind of file becomes upright RGB; pixels out: crops and levels against slow, plain cutting."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mtcnn.errors import ImageError
from mtcnn.image import Octaves, decode, encode_jpeg


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """An image without fine detail, so that JPEG and resampling change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def file_of(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# decode


def test_a_colour_file_keeps_its_channels_in_order() -> None:
    rgb = noise(1, 13, 17)
    np.testing.assert_array_equal(decode(file_of(Image.fromarray(rgb), "PNG")), rgb)


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(2, 9, 11)[..., 0]
    np.testing.assert_array_equal(decode(file_of(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, axis=2))


def test_alpha_is_left_out() -> None:
    rgba = np.dstack([noise(3, 9, 11), np.full((9, 11), 128, np.uint8)])
    np.testing.assert_array_equal(decode(file_of(Image.fromarray(rgba, "RGBA"), "PNG")), rgba[..., :3])


def test_sixteen_bit_is_scaled_to_eight() -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    pixels = decode(cv2.imencode(".png", deep)[1].tobytes())
    np.testing.assert_allclose(pixels[..., 0].ravel(), np.arange(256), atol=1)


def test_a_palette_is_looked_up() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:, :4], rgb[:, 4:] = (255, 0, 0), (0, 0, 255)
    palette = Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(decode(file_of(palette, "PNG")), rgb)


@pytest.mark.parametrize(
    ("tag", "turn"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: stored[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda stored: np.rot90(stored, 1)),
    ],
)
def test_a_photo_is_turned_upright_as_its_exif_tag_says(tag: int, turn) -> None:  # type: ignore[no-untyped-def]
    stored = smooth(4, 40, 64)
    exif = Image.Exif()
    exif[0x0112] = tag
    upright = decode(file_of(Image.fromarray(stored), "JPEG", exif=exif, quality=95, subsampling=0))
    assert upright.shape == turn(stored).shape
    assert np.abs(upright.astype(int) - turn(stored)).mean() < 4


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40), b"<svg/>"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image file, or a damaged one"):
        decode(data)


@pytest.mark.parametrize("side", [200, 30_000])
def test_too_many_pixels_are_refused_from_the_header_alone(side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=r"over limits.max_pixels=30000"):
        decode(bomb, max_pixels=30_000)


def test_jpeg_goes_out_and_comes_back() -> None:
    rgb = smooth(5, 60, 80)
    data = encode_jpeg(rgb, 95)
    assert data[:2] == b"\xff\xd8"
    assert np.abs(decode(data).astype(int) - rgb).mean() < 3


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)]
)
def test_only_rgb_bytes_are_an_image(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"an image is uint8 \(H, W, 3\)"):
        Octaves(pixels)


# crops


def plain_crop(rgb: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """A crop cut pixel by pixel with black beyond the border, then made smaller by area averaging."""
    x1, y1, x2, y2 = np.rint(square).astype(int)
    window = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    for y in range(max(y1, 0), min(y2, rgb.shape[0])):
        for x in range(max(x1, 0), min(x2, rgb.shape[1])):
            window[y - y1, x - x1] = rgb[y, x]
    shrinks = x2 - x1 >= size
    return cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def squares_in(seed: int, count: int, width: int, height: int, smallest: float, beyond: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    side = np.exp(rng.uniform(np.log(smallest), np.log(min(width, height)), count))
    room = np.array([width, height]) - side[:, None]
    corner = rng.uniform(0, 1, (count, 2)) * room + rng.uniform(-beyond, beyond, (count, 2)) * side[:, None]
    return np.concatenate([corner, corner + side[:, None]], axis=1).astype(np.float32)


@pytest.mark.parametrize("size", [12, 24, 48])
# Over the border an octave's last pixel is half image, half nothing.
@pytest.mark.parametrize(("beyond", "tolerance"), [(0.0, 5), (0.6, 11)])
def test_crops_look_like_plain_ones_inside_and_over_the_border(
    size: int, beyond: float, tolerance: float
) -> None:
    rgb = smooth(6, 211, 307)
    octaves = Octaves(rgb)
    windows = octaves.snap(squares_in(7, 60, 307, 211, 8, beyond), size)
    for crop, square in zip(octaves.cut(windows, size), windows.squares, strict=True):
        difference = np.abs(crop.astype(int) - plain_crop(rgb, square, size))
        assert difference.mean() < tolerance, square


def test_a_square_of_the_crops_size_is_copied_to_the_bit() -> None:
    rgb = noise(8, 60, 90)
    octaves = Octaves(rgb)
    windows = octaves.snap(np.array([[30, 20, 54, 44], [-4, 50, 20, 74]], np.float32), 24)
    inside, over = octaves.cut(windows, 24)
    np.testing.assert_array_equal(inside, rgb[20:44, 30:54])
    np.testing.assert_array_equal(over[:10, 4:], rgb[50:, :20])
    assert not over[10:].any() and not over[:, :4].any()


def test_a_square_moves_by_half_a_pixel_of_its_octave_at_most() -> None:
    octaves = Octaves(noise(9, 200, 300))
    wanted = squares_in(10, 300, 300, 200, 6, 0.3)
    windows = octaves.snap(wanted, 12)
    moved = np.abs(windows.squares - wanted)
    assert (moved[:, :2] <= 0.5 * 2.0 ** windows.octave[:, None] + 1e-3).all()
    side = windows.squares[:, 2] - windows.squares[:, 0]
    np.testing.assert_array_equal(side, windows.squares[:, 3] - windows.squares[:, 1])
    # From the octave in which it is less than twice as large as the crop, unless there is none so small.
    cells = windows.cells[windows.octave < len(octaves.levels) - 1]
    assert (cells <= 24).all()


def test_what_the_border_leaves_of_a_square_can_be_stretched() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    octaves = Octaves(rgb)
    squares = np.array([[-8, 10, 16, 34], [50, 30, 74, 54], [-40, -40, -16, -16]], np.float32)
    corner, low, away = octaves.cut(octaves.snap(squares, 24), 24, stretch=True)
    assert np.array_equal(corner, cv2.resize(rgb[10:34, :16], (24, 24)))
    assert np.array_equal(low, cv2.resize(rgb[30:, 50:], (24, 24)))
    assert not away.any()


def test_squares_far_outside_are_black() -> None:
    octaves = Octaves(np.full((40, 40, 3), 200, np.uint8))
    windows = octaves.snap(np.array([[500, 500, 512, 512], [-90, 0, -60, 30]], np.float32), 12)
    assert not octaves.cut(windows, 12).any()


# levels


@pytest.mark.parametrize("scale", [1.0, 0.6, 0.37, 0.11, 0.05])
def test_a_level_is_the_image_made_smaller(scale: float) -> None:
    height, width = 333, 501
    rgb = smooth(11, height, width)
    level, (step_x, step_y) = Octaves(rgb).level(scale)
    assert step_x == pytest.approx(1 / scale, rel=0.05) and step_y == pytest.approx(1 / scale, rel=0.05)
    # A level may end a few pixels beyond the image, in copies of its border; it must not squeeze them in.
    there = np.rint([[0, 0, level.shape[1] * step_x, level.shape[0] * step_y]])[0].astype(int)
    padded = cv2.copyMakeBorder(rgb, 0, there[3] - height, 0, there[2] - width, cv2.BORDER_REPLICATE)
    expected = cv2.resize(padded, level.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(level.astype(int) - expected).mean() < 2.5


@pytest.mark.parametrize("scale", [0.6, 0.21, 0.05])
def test_a_level_says_where_its_pixels_lie_in_the_image(scale: float) -> None:
    """The edge of a bright area near the far corner is where the level's steps put it."""
    rgb = np.zeros((1031, 777, 3), np.uint8)
    rgb[900:, 700:] = 255
    level, (step_x, step_y) = Octaves(rgb).level(scale)
    row, column = level[-1, :, 0].astype(float), level[:, -1, 0].astype(float)
    assert (len(row) - row.sum() / 255) * step_x == pytest.approx(700, abs=0.25 / scale)
    assert (len(column) - column.sum() / 255) * step_y == pytest.approx(900, abs=0.25 / scale)


def test_a_level_may_be_larger_than_the_image() -> None:
    rgb = smooth(12, 20, 30)
    level, steps = Octaves(rgb).level(2.0)
    np.testing.assert_array_equal(level, cv2.resize(rgb, (60, 40), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_array_equal(steps, [0.5, 0.5])


def test_fine_detail_is_averaged_not_sampled() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    for scale in (0.5, 0.3, 0.1):
        level = Octaves(stripes).level(scale)[0][2:-2, 2:-2]
        assert np.abs(level.astype(float) - 127.5).max() < 30, scale


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (11, 13)])
def test_tiny_images_have_one_octave(shape: tuple[int, int]) -> None:
    octaves = Octaves(np.full((*shape, 3), 7, np.uint8))
    assert (octaves.height, octaves.width, len(octaves.levels)) == (*shape, 1)
    assert octaves.level(0.01)[0].shape == (1, 1, 3)
