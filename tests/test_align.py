"""Aligned faces: the transform is the least-squares similarity, and what is cut is where the template says."""

import cv2
import numpy as np
import pytest

from mtcnn.align import TEMPLATE, crop_aligned, similarity
from mtcnn.errors import ImageError


def moved(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ matrix.T + shift


def test_the_transform_is_the_similarity_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    points = moved(TEMPLATE, 25, 3, (40, -7)) + rng.normal(0, 4, (5, 2))
    # The same as a linear problem in a, b, x, y: u = a x - b y + x0, v = b x + a y + y0.
    rows = [r for x, y in points for r in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, x, y = np.linalg.lstsq(np.array(rows), TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(points, TEMPLATE), [[a, -b, x], [b, a, y]], atol=1e-5)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 0.6), (-50, 2.3), (170, 6)])
@pytest.mark.parametrize("size", [112, 224])
def test_points_land_on_the_template_at_any_turn_scale_and_size(
    degrees: float, scale: float, size: int
) -> None:
    points = moved(TEMPLATE, degrees, scale, (0, 0))
    points += 450 - points.mean(axis=0)
    rgb = np.zeros((900, 900, 3), np.uint8)
    for x, y in points:
        # In an image the middle of pixel (0, 0) is at (0.5, 0.5); cv2 draws from there.
        centre = round((x - 0.5) * 256), round((y - 0.5) * 256)
        cv2.circle(rgb, centre, round(3 * scale * 256), (255, 255, 255), -1, cv2.LINE_AA, 8)
    face = crop_aligned(rgb, points[None].astype(np.float32), size)[0]
    assert face.shape == (size, size, 3)
    wanted = (TEMPLATE + 0.5) * (size / 112) - 0.5
    for x, y in wanted:
        window = face[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9, 0].astype(float)
        rows, columns = np.mgrid[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9]
        found = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
        assert found == pytest.approx((x, y), abs=0.25)


def test_beyond_the_border_is_black_and_no_faces_are_no_crops() -> None:
    rgb = np.full((60, 60, 3), 200, np.uint8)
    face = crop_aligned(rgb, (TEMPLATE - 56)[None])[0]
    assert (face[:50, :50] == 0).all() and (face[60:100, 60:100] == 200).all()
    assert crop_aligned(rgb, np.zeros((0, 5, 2), np.float32)).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("points", [np.full((1, 5, 2), np.nan), np.full((1, 5, 2), 7.0)])
def test_points_that_are_unknown_or_all_the_same_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ImageError, match="cannot be aligned"):
        crop_aligned(np.zeros((50, 50, 3), np.uint8), points.astype(np.float32))
