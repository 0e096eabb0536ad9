"""What light and camera do to a finished scene: exposure, tint, uneven light, blur, noise, lost colour."""

import cv2
import numpy as np

from mtcnn.sources.synthetic_brush import Image


def take_picture(rng: np.random.Generator, image: Image, blur: float) -> Image:
    """The scene uint8 (H, W, 3) as a camera saw it, out of focus by `blur` pixels; pixels do not move."""
    image = _uneven_light(rng, image) if rng.random() < 0.5 else image
    image = _tone(rng, image)
    if blur > 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
    image = _grain(rng, image, rng.uniform(0, 10) if rng.random() < 0.7 else 0.0)
    if rng.random() < 0.08:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = np.asarray(cv2.merge([grey, grey, grey]), np.uint8)
    return image


def _uneven_light(rng: np.random.Generator, image: Image) -> Image:
    height, width = image.shape[:2]
    corners = rng.uniform(90, 255, (2, 2)).astype(np.uint8)
    field = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, cv2.merge([field, field, field]), scale=1 / 190))


def _tone(rng: np.random.Generator, image: Image) -> Image:
    """Gamma, contrast and a colour cast, as one table a channel."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.7, 1.5)
    gains = rng.uniform(0.75, 1.1) * rng.uniform(0.9, 1.1, 3)
    table = np.clip(levels * gains * 255 + rng.uniform(-12, 20), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[:, None, :]))


def _grain(rng: np.random.Generator, image: Image, sigma: float) -> Image:
    if sigma < 1:
        return image
    height, width = image.shape[:2]
    field = rng.standard_normal((height + 5, width + 5), dtype=np.float32) * np.float32(sigma)
    # Three shifted views of one field are as good to the eye as three fields and cost a third.
    noise = cv2.merge([field[shift : shift + height, 5 - shift : 5 - shift + width] for shift in (0, 2, 5)])
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U))
