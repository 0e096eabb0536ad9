"""Cluttered backgrounds: coloured noise at several scales, textures, and random shapes, lines and letters."""

import cv2
import numpy as np

from mtcnn.sources.synthetic_brush import Image, ellipse, random_colour
from mtcnn.sources.synthetic_look import random_skin


def background(rng: np.random.Generator, width: int, height: int) -> Image:
    """A scene uint8 (height, width, 3) RGB without anything that looks like a face."""
    image = _noise(rng, width, height)
    for _ in range(rng.integers(0, 4)):
        _textured_area(rng, image)
    for _ in range(rng.integers(4, 36)):
        _shape(rng, image)
    if rng.random() < 0.5:
        # Out of focus behind the people, as in most portraits.
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3.0)), np.uint8)
    return image


def _noise(rng: np.random.Generator, width: int, height: int) -> Image:
    """Smooth areas of colour with some finer grain on top."""
    base = np.array(random_colour(rng))
    rows, columns = rng.integers(2, 9, 2).tolist()
    coarse = np.clip(base + rng.normal(0, rng.uniform(5, 50), (rows, columns, 3)), 0, 255).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    for cell in (24, 6):
        strength = rng.uniform(0, 30)
        grain = np.clip(
            128 + rng.normal(0, strength, (height // cell + 2, width // cell + 2, 1)), 0, 255
        ).astype(np.uint8)
        fine = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
        image = cv2.addWeighted(image, 1.0, cv2.merge([fine, fine, fine]), 1.0, -128)
    return np.asarray(image)


def _textured_area(rng: np.random.Generator, image: Image) -> None:
    """Stripes, bricks, a checker board or leaves in a part of the image."""
    height, width = image.shape[:2]
    w, h = rng.integers(width // 5, width, dtype=int), rng.integers(height // 5, height, dtype=int)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    first, second = np.array(random_colour(rng), np.uint8), np.array(random_colour(rng), np.uint8)
    period = int(rng.integers(4, 30))
    rows, columns = np.arange(h)[:, None], np.arange(w)[None, :]
    kind = rng.integers(5)
    if kind == 0:
        pattern = (columns + rows * int(rng.integers(-1, 2))) % period < period // 2
    elif kind == 1:
        pattern = (columns // period + rows // period) % 2 == 0
    elif kind == 2:
        course = rows // (period // 2 + 2)
        mortar = (rows % (period // 2 + 2) < 1) | ((columns + course % 2 * (period // 2)) % period < 1)
        pattern = np.broadcast_to(mortar, (h, w))
    elif kind == 3:
        leaves = rng.integers(0, 256, (h // 4 + 2, w // 4 + 2), dtype=np.uint8)
        pattern = cv2.resize(leaves, (int(w), int(h)), interpolation=cv2.INTER_CUBIC) > 128
    else:
        pattern = ((columns % period) - period / 2) ** 2 + ((rows % period) - period / 2) ** 2 < (
            period / 3.5
        ) ** 2
    image[y : y + h, x : x + w] = np.where(np.broadcast_to(pattern, (h, w))[..., None], first, second)


def _shape(rng: np.random.Generator, image: Image) -> None:
    """One ellipse, polygon, line, frame or word; areas can have the colour of skin."""
    height, width = image.shape[:2]
    extent = min(width, height)
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    size = extent * 0.02 * (20 ** rng.random())
    colour = random_skin(rng) if rng.random() < 0.25 else random_colour(rng)
    kind = rng.integers(6)
    if kind == 0:
        outline = ellipse(x, y, size * rng.uniform(0.4, 1), size, rng.uniform(0, np.pi))
        cv2.fillPoly(image, [_fixed(outline)], colour, cv2.LINE_AA, 4)
    elif kind <= 2:
        corners = rng.integers(3, 7)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        outline = np.stack([x + size * np.cos(angles), y + size * np.sin(angles)], axis=1)
        cv2.fillPoly(image, [_fixed(outline)], colour, cv2.LINE_AA, 4)
    elif kind == 3:
        ends = rng.uniform(-4 * size, 4 * size, 2)
        path = np.array([[x, y], [x + ends[0], y + ends[1]]])
        cv2.polylines(image, [_fixed(path)], False, colour, int(rng.integers(1, 6)), cv2.LINE_AA, 4)
    elif kind == 4:
        half = (size, size * rng.uniform(0.3, 1.5))
        frame = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + (x, y)
        cv2.polylines(image, [_fixed(frame)], True, colour, int(rng.integers(1, 5)), cv2.LINE_AA, 4)
    else:
        word = "".join(chr(code) for code in rng.integers(48, 91, rng.integers(1, 6)).tolist())
        cv2.putText(
            image,
            word,
            (int(x), int(y)),
            cv2.FONT_HERSHEY_SIMPLEX,
            size / 20,
            colour,
            1 + int(size / 12),
            cv2.LINE_AA,
        )


def _fixed(outline: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(outline * 16).astype(np.int32))
