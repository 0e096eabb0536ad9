"""Random squares keep what their makers promise: where they are, how large, and how they are spread."""

import numpy as np
import pytest

from mtcnn import boxes as bx
from mtcnn.mining import squares as sq

FACES = np.array([[30, 40, 60, 90], [100, 100, 140, 120], [-5, 10, 15, 30]], np.float32)


def sides(squares: np.ndarray) -> np.ndarray:
    width, height = squares[:, 2] - squares[:, 0], squares[:, 3] - squares[:, 1]
    np.testing.assert_allclose(width, height, rtol=1e-4, atol=1e-3)
    return width


def test_squares_anywhere_are_inside_and_of_every_size_alike() -> None:
    squares = sq.anywhere(np.random.default_rng(1), 4000, 320, 200, 12)
    side = sides(squares)
    assert (
        (squares >= -1e-3).all()
        and (squares[:, [0, 2]] <= 320.01).all()
        and (squares[:, [1, 3]] <= 200.01).all()
    )
    assert side.min() >= 11.99 and side.max() <= 200.01
    # Log-uniform: as many from 12 to 49 as from 49 to 200.
    assert np.mean(side < np.sqrt(12 * 200)) == pytest.approx(0.5, abs=0.03)


def test_an_image_smaller_than_the_smallest_square_gives_none() -> None:
    assert sq.anywhere(np.random.default_rng(1), 10, 300, 11, 12).shape == (0, 4)


def test_squares_near_a_face_touch_it_and_are_half_to_twice_its_size() -> None:
    squares = sq.near(np.random.default_rng(2), FACES, 500, 12)
    assert squares.shape == (1500, 4)
    for face, own in zip(FACES, squares.reshape(3, 500, 4), strict=True):
        longer = max(face[2] - face[0], face[3] - face[1])
        around = bx.square(face[None])
        assert (bx.intersection(own, around) > 0).mean() > 0.99
        side = sides(own)
        assert side.min() >= max(longer / 2, 12) - 0.01 and side.max() <= 2 * longer + 0.01
        # Most of them are no positives: it is negatives that they are for.
        assert (bx.iou(own, face[None]) < 0.3).mean() > 0.5


def test_squares_around_a_face_are_those_of_the_paper() -> None:
    squares = sq.around(np.random.default_rng(3), FACES, 500)
    for face, own in zip(FACES, squares.reshape(3, 500, 4), strict=True):
        extent = face[2:] - face[:2]
        side = sides(own)
        assert side.min() >= 0.8 * extent.min() - 0.01 and side.max() <= 1.25 * extent.max() + 0.01
        assert side.min() < 0.85 * extent.min() and side.max() > 1.2 * extent.max()
        moved = (own[:, :2] + own[:, 2:] - face[:2] - face[2:]) / 2
        assert (np.abs(moved) <= 0.2 * extent + 0.01).all()
        assert moved.mean(axis=0) == pytest.approx(np.zeros(2), abs=float(0.03 * extent.max()))


def test_without_faces_there_is_nothing_to_be_near_to() -> None:
    rng = np.random.default_rng(4)
    none = np.zeros((0, 4), np.float32)
    assert sq.near(rng, none, 5, 12).shape == (0, 4) and sq.around(rng, none, 5).shape == (0, 4)


def test_equal_generators_give_equal_squares() -> None:
    def drawn(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.concatenate(
            [sq.anywhere(rng, 5, 90, 90, 12), sq.near(rng, FACES, 3, 12), sq.around(rng, FACES, 3)]
        )

    np.testing.assert_array_equal(drawn(5), drawn(5))
    assert not np.array_equal(drawn(5), drawn(6))
