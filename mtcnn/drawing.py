"""Pictures with boxes, scores and points, readable at any size of image."""

import math

import cv2
import numpy as np

from mtcnn.boxes import FloatArray
from mtcnn.image import Pixels

BOX = (64, 255, 96)
POINT = (255, 64, 64)
INK = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
READABLE = 800
"""Longest side in pixels from which figures of whole pixels are sharp beside a face."""
FONT_SIDE = 80
"""Side of the box whose score is written in the font's own size."""


def draw(rgb: Pixels, boxes: FloatArray, scores: FloatArray, landmarks: FloatArray) -> Pixels:
    """A copy of an image (H, W, 3) with boxes (N, 4), their scores (N,) and points (N, 5, 2), NaN left out.

    Images of less than 800 pixels are enlarged by a whole number.
    """
    scale = math.ceil(READABLE / max(rgb.shape[:2]))
    picture = (
        cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else rgb.copy()
    )
    longest = max(picture.shape[:2])
    line = max(2, round(longest / 600))
    boxes, landmarks = boxes * scale, landmarks * scale
    for box, points in zip(boxes, landmarks, strict=True):
        x1, y1, x2, y2 = _whole(box)
        # Dark beside bright: seen on any background.
        cv2.rectangle(picture, (x1, y1), (x2, y2), INK, line + 2, cv2.LINE_AA)
        cv2.rectangle(picture, (x1, y1), (x2, y2), BOX, line, cv2.LINE_AA)
        radius = max(1, round((x2 - x1) / 45))
        for point in points[np.isfinite(points).all(axis=1)]:
            cv2.circle(picture, _whole(point), radius + 1, INK, -1, cv2.LINE_AA)
            cv2.circle(picture, _whole(point), radius, POINT, -1, cv2.LINE_AA)
    # The worst first: where labels overlap, the best is on top.
    for box, score in zip(boxes[::-1], scores[::-1], strict=True):
        _label(picture, _whole(box), f"{score:.2f}", longest / 1600)
    return picture  # type: ignore[return-value]


def _label(picture: cv2.typing.MatLike, box: list[int], text: str, largest: float) -> None:
    """A score on top of its box, no larger than suits the box; left out where it would hide the face."""
    x1, y1, x2, _ = box
    font = max(min(largest, (x2 - x1) / FONT_SIDE), 0.35)
    thick = max(1, round(font * 1.6))
    (width, height), _ = cv2.getTextSize(text, FONT, font, thick)
    if width > 1.5 * (x2 - x1):
        return
    pad = max(2, height // 4)
    top = max(y1 - height - 2 * pad, 0)
    cv2.rectangle(picture, (x1, top), (x1 + width + 2 * pad, top + height + 2 * pad), BOX, -1)
    cv2.putText(picture, text, (x1 + pad, top + height + pad), FONT, font, INK, thick, cv2.LINE_AA)


def _whole(values: FloatArray) -> list[int]:
    return [round(float(value)) for value in values]
