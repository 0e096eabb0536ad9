"""The only place that decodes or resamples pixels.

An image is uint8 (H, W, 3) RGB. Everything smaller is taken from its octaves (the image halved again and again by
area averaging) with at most one bilinear step of less than 2x, which is nearly free of aliasing and cheap.
Mining and detection crop with the same function.
"""

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from mtcnn.boxes import FloatArray, IntArray
from mtcnn.errors import ImageError

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000
# `decode` has a limit of its own, which may be higher.
Image.MAX_IMAGE_PIXELS = None
SMALLEST_OCTAVE = 12


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Pixels (H, W, 3) RGB of an image file, turned upright by its EXIF tag; grey, alpha and 16 bit are converted.

    Raises ImageError for what is not an image, is damaged, or has more than `max_pixels` (read from the header,
    before anything is allocated).
    """
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError("not an image file, or a damaged one") from error
    if width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels are over limits.max_pixels={max_pixels}")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ImageError("not an image file, or a damaged one")
    return pixels  # type: ignore[return-value]


def encode_jpeg(rgb: Pixels, quality: int = 90) -> bytes:
    """A JPEG file of an image (H, W, 3)."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ImageError(f"cannot write a JPEG of shape {rgb.shape}")
    return data.tobytes()


def resize_to_width(rgb: Pixels, width: int) -> Pixels:
    """An image (H, W, 3) at `width` pixels with the same proportions, area-averaged where that is smaller."""
    size = width, max(round(rgb.shape[0] * width / rgb.shape[1]), 1)
    smaller = width < rgb.shape[1]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)  # type: ignore[return-value]


def check(rgb: Pixels) -> None:
    """Raise ImageError for what is not an image, uint8 (H, W, 3)."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ImageError(f"an image is uint8 (H, W, 3), not {rgb.dtype} {rgb.shape}")


class Octaves:
    """An image and its halvings: octave k is 2**-k of its size; made once, shared by pyramid and crops."""

    def __init__(self, rgb: Pixels) -> None:
        check(rgb)
        self.levels = [np.ascontiguousarray(rgb)]
        while min(self.levels[-1].shape[:2]) >= 2 * SMALLEST_OCTAVE:
            self.levels.append(_halve(self.levels[-1]))

    @property
    def height(self) -> int:
        """Height of the whole image in pixels."""
        return self.levels[0].shape[0]

    @property
    def width(self) -> int:
        """Width of the whole image in pixels."""
        return self.levels[0].shape[1]

    def level(self, scale: float) -> tuple[Pixels, tuple[float, float]]:
        """The whole image at about `scale` (1 = as it is), from the octave that is less than twice as large.

        Also the steps (x, y) from one pixel to the next in pixels of the image: an octave of a size that is not a
        multiple of 2**k ends a little beyond the image, and the level with it.
        """
        octave = int(np.clip(np.floor(np.log2(1 / scale) + 1e-6), 0, len(self.levels) - 1))
        source = self.levels[octave]
        extent = [side * 2**octave for side in source.shape[1::-1]]
        size = [max(round(side * scale), 1) for side in extent]
        pixels = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
        return pixels, (extent[0] / size[0], extent[1] / size[1])  # type: ignore[return-value]

    def snap(self, squares: FloatArray, size: int) -> "Windows":
        """Where crops of `size` pixels are cut for squares (N, 4): each on the pixel grid of its octave.

        A square moves by at most half a pixel of that octave; targets and regression are to be taken from
        `Windows.squares`, which are exact.
        """
        side = squares[:, 2] - squares[:, 0]
        octave = np.floor(np.log2(np.maximum(side / size, 1e-6)) + 1e-6)
        octave = np.minimum(np.maximum(octave, 0), len(self.levels) - 1).astype(np.int64)
        factor = 2.0**octave
        cells = np.maximum(np.rint(side / factor), 1).astype(np.int64)
        corners = np.rint(squares[:, :2] / factor[:, None]).astype(np.int64)
        return Windows(octave, corners, cells)

    def cut(self, windows: "Windows", size: int, stretch: bool = False) -> Pixels:
        """Crops (N, size, size, 3) of windows, black beyond the border of the image.

        With `stretch` what a window has of the image fills the whole crop instead.
        """
        out = np.empty((len(windows.octave), size, size, 3), np.uint8)
        ends = windows.corners + windows.cells[:, None]
        limits = np.array([level.shape[1::-1] for level in self.levels])[windows.octave]
        inside: npt.NDArray[np.bool_] = np.all((windows.corners >= 0) & (ends <= limits), axis=1)
        # For small crops this loop costs as much as resizing: all that can be known beforehand is.
        places = np.column_stack([windows.octave, windows.corners, ends]).tolist()
        levels, shape, resize, linear = self.levels, (size, size), cv2.resize, cv2.INTER_LINEAR
        beyond = _cut_off if stretch else _padded
        for (octave, x1, y1, x2, y2), whole, target in zip(places, inside.tolist(), out, strict=True):
            level = levels[octave]
            window = level[y1:y2, x1:x2] if whole else beyond(level, x1, y1, x2, y2)
            resize(window, shape, target, 0, 0, linear)
        return out

    def warp(self, matrix: npt.NDArray[np.float64], size: int) -> Pixels:
        """The crop (size, size, 3) whose coordinates are `matrix` (2, 3), a similarity, applied to the image's.

        Taken from the octave that is less than twice as fine as the crop; zeros where it lies beyond the image.
        """
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        octave = int(np.clip(np.floor(np.log2(1 / scale) + 1e-6), 0, len(self.levels) - 1))
        moved = matrix.copy()
        moved[:, :2] *= 2**octave
        # cv2 counts from the middle of the first pixel.
        moved[:, 2] += moved[:, :2].sum(axis=1) / 2 - 0.5
        source = self.levels[octave]
        return cv2.warpAffine(source, moved, (size, size), flags=cv2.INTER_LINEAR)  # type: ignore[return-value]


@dataclass(frozen=True)
class Windows:
    """N squares on the pixel grids of an image's octaves."""

    octave: IntArray
    """Octave of each (N,)."""
    corners: IntArray
    """Left and top in pixels of the octave (N, 2)."""
    cells: IntArray
    """Side in pixels of the octave (N,)."""

    @property
    def squares(self) -> FloatArray:
        """The squares (N, 4) in pixels of the image."""
        factor = (2.0**self.octave)[:, None]
        return (np.concatenate([self.corners, self.corners + self.cells[:, None]], axis=1) * factor).astype(
            np.float32
        )

    def __getitem__(self, chosen: npt.NDArray[Any]) -> "Windows":
        return Windows(self.octave[chosen], self.corners[chosen], self.cells[chosen])


def _halve(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    size = image.shape[1] // 2, image.shape[0] // 2
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _cut_off(image: Pixels, x1: int, y1: int, x2: int, y2: int) -> Pixels:
    """What the image has of pixels x1 to x2, y1 to y2; one black pixel where that is nothing."""
    window = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    return window if window.size else np.zeros((1, 1, 3), np.uint8)


def _padded(image: Pixels, x1: int, y1: int, x2: int, y2: int) -> Pixels:
    """Pixels x1 to x2, y1 to y2, with zeros where they lie beyond the image."""
    height, width = image.shape[:2]
    window = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if left < right and top < bottom:
        window[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return window
