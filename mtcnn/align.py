"""Faces turned, scaled and cut so that their five points lie where recognition models were trained to see them.

The template is ArcFace's (Deng et al. 2019) for 112x112 pixels; the transform is the similarity (turn, scale, shift)
of least squares, as Umeyama's without reflections.
"""

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray
from mtcnn.errors import ImageError
from mtcnn.image import Octaves, Pixels

SIDE = 112
TEMPLATE: FloatArray = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""(5, 2) left eye, right eye, nose, left and right corner of the mouth, on the grid where whole numbers are the
middles of pixels."""


def crop_aligned(rgb: Pixels, landmarks: FloatArray, size: int = SIDE) -> Pixels:
    """Faces (N, size, size, 3) of an image (H, W, 3) by their points (N, 5, 2); black beyond the border.

    Raises ImageError for points that are unknown (NaN) or all the same.
    """
    faces = np.zeros((len(landmarks), size, size, 3), np.uint8)
    octaves = Octaves(rgb)
    # Landmarks are on the grid of boxes, where the middle of the first pixel is at 0.5.
    target = (TEMPLATE + 0.5) * (size / SIDE)
    for number, points in enumerate(landmarks):
        faces[number] = octaves.warp(similarity(points, target), size)
    return faces


def similarity(points: FloatArray, target: FloatArray) -> npt.NDArray[np.float64]:
    """The matrix (2, 3) that turns, scales and shifts `points` (K, 2) nearest to `target` (K, 2) in least squares."""
    # In complex numbers a similarity is z -> a z + b: one division solves it.
    z, w = (np.asarray(p, np.float64) @ [1, 1j] for p in (points, target))
    centred = z - z.mean()
    spread = float(np.vdot(centred, centred).real)
    if not np.isfinite(spread) or spread == 0:
        raise ImageError("a face without five known points that lie apart cannot be aligned")
    a = np.vdot(centred, w - w.mean()) / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
