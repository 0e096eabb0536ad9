"""What a detector finds in one image."""

from typing import NamedTuple

import numpy as np

from mtcnn.boxes import FloatArray


class Faces(NamedTuple):
    """Faces of one image: boxes (N, 4) and landmarks (N, 5, 2) in pixels, scores (N,), best first; all float32.

    Landmarks are left eye, right eye, nose, left and right corner of the mouth as seen in the image; NaN where
    the last net has no head for them.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray


def without_landmarks(boxes: FloatArray, scores: FloatArray) -> Faces:
    """Boxes (N, 4) and scores (N,) of which the points are not known."""
    return Faces(boxes, scores, np.full((len(boxes), 5, 2), np.nan, np.float32))


def no_faces() -> Faces:
    """What is found where there is nothing."""
    return without_landmarks(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def moved(faces: Faces, pixels: float) -> Faces:
    """The same faces so many pixels further right and down."""
    step = np.float32(pixels)
    return Faces(faces.boxes + step, faces.scores, faces.landmarks + step)
