"""Where things are on a synthetic head: pose, outline, box, five points and how light falls on it.

Head coordinates: x right and y down from the middle of the face, hairline at y = -1, chin at y = 1.
Turning moves features over an ellipsoid, whose outline stays.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from mtcnn.sources.synthetic_brush import FULL_LIGHT, Image, Points, ellipse, points

_DEPTH = 0.62
NOSE_LIFT = 0.14


@dataclass(frozen=True)
class Head:
    """A head in the scene: centre and half height of the face in scene pixels, angles in radians.

    `width` is half the face's width over half its height, `jaw` how much the face narrows towards the chin;
    positive `yaw` turns the face to the right as seen in the image, positive `pitch` down.
    """

    x: float
    y: float
    size: float
    roll: float
    yaw: float
    pitch: float
    width: float
    jaw: float

    def flat(self, local: Points) -> Points:
        """Scene pixels of points (N, 2) in head coordinates that do not move when the head turns."""
        return np.asarray(local @ self._turn + (self.x, self.y))

    @cached_property
    def _turn(self) -> Points:
        cos, sin = math.cos(self.roll) * self.size, math.sin(self.roll) * self.size
        return np.array([[cos, sin], [-sin, cos]])

    def place(self, local: Points, lift: float = 0.0) -> Points:
        """Scene pixels of points (N, 2) on the face, `lift` above its surface, after yaw and pitch."""
        x, y = local[:, 0], local[:, 1]
        depth = _DEPTH * np.sqrt(np.maximum(0, 1 - x * x / self.width**2 - 0.5 * y * y)) + lift
        turned_x = x * math.cos(self.yaw) + depth * math.sin(self.yaw)
        turned_y = y * math.cos(self.pitch) + depth * math.sin(self.pitch)
        return self.flat(points(turned_x, turned_y))

    @cached_property
    def outline(self) -> Points:
        """The edge of the face (N, 2) in scene pixels: cheek to cheek, hairline to chin."""
        edge = ellipse(0, 0, self.width, 1, count=48)
        edge[:, 0] *= 1 - self.jaw * np.maximum(edge[:, 1], 0) ** 2
        return self.flat(edge)

    @cached_property
    def box(self) -> npt.NDArray[np.float32]:
        """x1, y1, x2, y2 of the outline in scene pixels: the face's exact box, not cut to the scene."""
        edge = self.outline
        return np.concatenate([edge.min(axis=0), edge.max(axis=0)]).astype(np.float32)

    def light(self, window: tuple[int, int, int, int], direction: Points, ambient: float) -> Image:
        """Brightness uint8 (h, w) of `window` lit from `direction` (x, y, towards the viewer)."""
        x1, y1, x2, y2 = window
        # Shading is smooth: a coarse grid stretched over the window looks the same and costs nothing.
        columns, rows = np.meshgrid(np.linspace(x1, x2, 24), np.linspace(y1, y2, 24))
        cos, sin = np.cos(self.roll) / self.size, np.sin(self.roll) / self.size
        x = ((columns - self.x) * cos + (rows - self.y) * sin) / (1.25 * self.width)
        y = ((rows - self.y) * cos - (columns - self.x) * sin) / 1.4
        radius = np.maximum(1.0, np.hypot(x, y))
        x, y = x / radius, y / radius
        depth = np.sqrt(np.maximum(0, 1 - x**2 - y**2))
        falling = np.maximum(0, x * direction[0] + y * direction[1] + depth * direction[2])
        shading = np.minimum(255, FULL_LIGHT * (ambient + (1.15 - ambient) * falling)).astype(np.uint8)
        return np.asarray(cv2.resize(shading, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR))


@dataclass(frozen=True)
class Centres:
    """Middles of the features in head coordinates, (2,) each; left and right as seen in the image."""

    left_eye: Points
    right_eye: Points
    nose: Points
    mouth: Points


def landmarks(head: Head, centres: Centres, mouth_half_width: float, smile: float) -> npt.NDArray[np.float32]:
    """Eyes, tip of the nose, corners of the mouth (5, 2) in scene pixels."""
    corner = np.array([mouth_half_width, -smile])
    corners = np.stack([centres.mouth + corner * (-1, 1), centres.mouth + corner])
    surface = head.place(np.stack([centres.left_eye, centres.right_eye]))
    tip = head.place(centres.nose[None], NOSE_LIFT)
    return np.concatenate([surface, tip, head.place(corners)]).astype(np.float32)
