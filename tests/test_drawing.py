"""Drawn boxes and points are where they were asked for, at any size of image."""

import numpy as np
import pytest

from mtcnn.drawing import BOX, POINT, draw

NO_POINTS = np.full((1, 5, 2), np.nan, np.float32)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Pixels (H, W) of about a colour."""
    return np.abs(picture.astype(int) - colour).max(axis=2) < 40


def test_a_box_is_drawn_on_its_edges_and_not_inside() -> None:
    rgb = np.full((700, 800, 3), 90, np.uint8)
    box = np.array([[200, 300, 420, 560]], np.float32)
    drawn = near(draw(rgb, box, np.array([0.9], np.float32), NO_POINTS), BOX)
    assert drawn[560, 210:410].all() and drawn[310:550, 200].all() and drawn[310:550, 420].all()
    assert not drawn[310:550, 210:410].any()
    assert (rgb == 90).all()


def test_known_points_are_drawn_and_unknown_ones_are_not() -> None:
    rgb = np.full((700, 800, 3), 90, np.uint8)
    points = NO_POINTS.copy()
    points[0, 2] = 310, 430
    drawn = near(
        draw(rgb, np.array([[200, 300, 420, 560]], np.float32), np.ones(1, np.float32), points), POINT
    )
    rows, columns = np.nonzero(drawn)
    assert (rows.mean(), columns.mean()) == pytest.approx((430, 310), abs=1)
    assert np.ptp(rows) < 20


def test_small_images_are_enlarged_with_their_boxes() -> None:
    rgb = np.full((60, 80, 3), 90, np.uint8)
    picture = draw(rgb, np.array([[20, 20, 60, 50]], np.float32), np.ones(1, np.float32), NO_POINTS)
    assert picture.shape == (600, 800, 3)
    columns = np.flatnonzero(near(picture, BOX)[400])
    assert (columns.min(), columns.max()) == pytest.approx((200, 600), abs=3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (2000, 1500)])
def test_any_size_of_image_can_be_drawn_on(shape: tuple[int, int]) -> None:
    rgb = np.zeros((*shape, 3), np.uint8)
    nothing = draw(
        rgb, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    )
    assert not nothing.any()
    # Boxes may lie over the border, or be no larger than a pixel.
    boxes = np.array([[-50, -50, 4000, 4000], [0, 0, 0.4, 0.4]], np.float32)
    assert draw(rgb, boxes, np.ones(2, np.float32), np.zeros((2, 5, 2), np.float32)).dtype == np.uint8
