"""Images with drawn faces to mine, and nets that propose around them."""

import numpy as np
import pytest
import torch

from mtcnn.image import encode_jpeg
from mtcnn.sources.annotation import Annotation, SourceImage

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def photo(number: int, boxes: list[list[float]], ignore: list[int] = [], points: bool = True) -> SourceImage:  # noqa: B006
    """An image of 160x120 with white faces on noise, all with points or none of them."""
    rng = np.random.default_rng(number)
    rgb = rng.integers(0, 90, (120, 160, 3), dtype=np.uint8)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    for x1, y1, x2, y2 in np.rint(array).astype(int):
        rgb[max(y1, 0) : y2, max(x1, 0) : x2] = 255
    landmarks = array[:, None, :2] + POINTS * (array[:, None, 2:] - array[:, None, :2])
    if not points:
        landmarks[:] = np.nan
    marks = np.isin(np.arange(len(array)), ignore)
    return SourceImage(f"photo-{number}", encode_jpeg(rgb, 95), Annotation(160, 120, array, marks, landmarks))


@pytest.fixture
def images() -> list[SourceImage]:
    """Faces of several sizes, over the border, ignored, too small, without points; no faces; no image."""
    return [
        photo(0, [[20, 20, 60, 60], [100, 40, 124, 70]]),
        photo(1, [[-12, 50, 28, 90], [90, 30, 98, 38]]),
        photo(2, [[30, 20, 110, 100], [120, 5, 155, 40]], ignore=[1]),
        photo(3, []),
        SourceImage("broken", b"no image", photo(4, [[10, 10, 40, 40]]).annotation),
        photo(5, [[50, 50, 90, 90]], points=False),
    ]
