"""Random squares that crops are tried on: anywhere, close to a face, and around a face (Zhang et al. 2016; DFace)."""

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray

Doubles = npt.NDArray[np.float64]


def _squares(centre: Doubles, side: Doubles) -> FloatArray:
    half = (side / 2)[..., None]
    return np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4).astype(np.float32)


def anywhere(rng: np.random.Generator, count: int, width: int, height: int, smallest: float) -> FloatArray:
    """`count` squares (N, 4) inside an image, sides log-uniform from `smallest` to its shorter side.

    Logarithmic since a pyramid looks at far more small windows than large ones.
    """
    largest = float(min(width, height))
    if largest < smallest:
        return np.zeros((0, 4), np.float32)
    side = np.exp(rng.uniform(np.log(smallest), np.log(largest), count))
    corner = rng.random((count, 2)) * (np.array([width, height]) - side[:, None])
    return _squares(corner + side[:, None] / 2, side)


def near(rng: np.random.Generator, faces: FloatArray, count: int, smallest: float) -> FloatArray:
    """`count` squares for each of faces (F, 4) that touch it, half to twice its size: (F * count, 4)."""
    centre, longer = _centre_and_longer_side(faces)
    side = np.maximum(longer[:, None] * 2 ** rng.uniform(-1, 1, (len(faces), count)), smallest)
    reach = (side + longer[:, None]) / 2
    offset = rng.uniform(-1, 1, (len(faces), count, 2)) * reach[..., None]
    return _squares(centre[:, None] + offset, side)


def around(rng: np.random.Generator, faces: FloatArray, count: int) -> FloatArray:
    """`count` squares around each of faces (F, 4): side 0.8 x shorter to 1.25 x longer side, centre moved by 0.2 sides.

    Returns (F * count, 4), face after face.
    """
    centre, longer = _centre_and_longer_side(faces)
    extent = faces[:, 2:] - faces[:, :2]
    side = rng.uniform(0.8 * extent.min(axis=1)[:, None], 1.25 * longer[:, None], (len(faces), count))
    offset = rng.uniform(-0.2, 0.2, (len(faces), count, 2)) * extent[:, None]
    return _squares(centre[:, None] + offset, side)


def _centre_and_longer_side(faces: FloatArray) -> tuple[Doubles, Doubles]:
    corners = faces.astype(np.float64)
    return (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]).max(axis=1)
