"""The drawing surface of the synthetic scenes: shapes in scene pixels, drawn enlarged and averaged down.

Colours are premultiplied by their coverage, so that layers compose, blur and shrink without fringes.
"""

import math
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

FULL_LIGHT = 180
_FRACTION_BITS = 4


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between `a` (share 0) and `b` (share 1)."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or lighter (factor > 1), kept within 0..255."""
    return (min(255.0, colour[0] * factor), min(255.0, colour[1] * factor), min(255.0, colour[2] * factor))


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour, greyish ones more often than saturated ones."""
    grey = rng.uniform(10, 245)
    red, green, blue = np.clip(grey + rng.normal(0, 40, 3), 0, 255).tolist()
    return (red, green, blue)


def points(x: Points | float, y: Points | float) -> Points:
    """Points (N, 2) from their x and y, of which one may be a single number."""
    joined = np.empty((max(np.size(x), np.size(y)), 2))
    joined[:, 0] = x
    joined[:, 1] = y
    return joined


@cache
def _circle(count: int) -> Points:
    angle = np.arange(count) * (2 * np.pi / count)
    return points(np.cos(angle), np.sin(angle))


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, count: int = 24) -> Points:
    """Outline (count, 2) of an ellipse with half axes rx, ry turned by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    edge = _circle(count) @ np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]])
    edge += (x, y)
    return np.asarray(edge)


class Layer:
    """A transparent window of the scene, `zoom` times enlarged: draw on it, then paste it."""

    def __init__(self, window: tuple[int, int, int, int], zoom: int) -> None:
        """`window` is x1, y1, x2, y2 in whole scene pixels, half open and not empty."""
        self.window = window
        self._zoom = zoom
        self._corner = np.array(window[:2], np.float64)
        x1, y1, x2, y2 = window
        self._canvas = np.zeros(((y2 - y1) * zoom, (x2 - x1) * zoom, 4), np.uint8)

    def fill(self, corners: Points, colour: Colour) -> None:
        """Fill the polygon with `corners` (N, 2) in scene pixels."""
        cv2.fillPoly(self._canvas, [self._fixed(corners)], (*colour, 255), cv2.LINE_AA, _FRACTION_BITS)

    def stroke(self, corners: Points, width: float, colour: Colour, closed: bool = False) -> None:
        """Draw a line of `width` scene pixels through `corners` (N, 2)."""
        thickness = max(1, round(width * self._zoom))
        cv2.polylines(
            self._canvas,
            [self._fixed(corners)],
            closed,
            (*colour, 255),
            thickness,
            cv2.LINE_AA,
            _FRACTION_BITS,
        )

    def _fixed(self, corners: Points) -> npt.NDArray[np.int32]:
        # OpenCV puts whole coordinates at pixel centres; ours are at pixel corners.
        scale = self._zoom << _FRACTION_BITS
        return np.asarray(((corners - self._corner) * scale - (1 << _FRACTION_BITS - 1)).astype(np.int32))

    def paste(self, scene: Image, light: Image | None = None, blur: float = 0.0) -> Image:
        """Compose onto `scene` (H, W, 3) in place, softened by `blur` scene pixels.

        `light` uint8 (h, w) of the window multiplies the colours, `FULL_LIGHT` leaving them as they are.
        Returns the coverage uint8 (h, w) of the window: 255 where the layer hides the scene.
        """
        x1, y1, x2, y2 = self.window
        patch: np.ndarray = cv2.resize(self._canvas, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
        if blur > 0.3:
            patch = cv2.GaussianBlur(patch, (0, 0), blur)
        coverage = np.ascontiguousarray(patch[..., 3])
        colours: np.ndarray = np.ascontiguousarray(patch[..., :3])
        if light is not None:
            colours = cv2.multiply(colours, cv2.merge([light, light, light]), scale=1 / FULL_LIGHT)
        seen = 255 - coverage
        under = np.ascontiguousarray(scene[y1:y2, x1:x2])
        under_seen = cv2.multiply(under, cv2.merge([seen, seen, seen]), scale=1 / 255)
        scene[y1:y2, x1:x2] = cv2.add(under_seen, colours)
        return np.asarray(coverage)


def window_around(corners: Points, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Whole-pixel window around points (N, 2) cut to a scene; None when nothing is inside."""
    x1, y1 = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(corners.max(axis=0)), (width, height)).astype(int).tolist()
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
