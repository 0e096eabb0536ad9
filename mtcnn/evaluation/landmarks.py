"""Five-point error: mean distance of predicted from labelled points, over eye distance or box size."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray, area, iou
from mtcnn.evaluation.average_precision import Labelled, match

POINTS = ("left eye", "right eye", "nose", "left mouth", "right mouth")
MATCH_IOU = 0.5
FAILURE = 0.1

Pairing = Literal["matched", "nearest"]


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors of the faces whose five points are labelled, as fractions of the normalising length."""

    faces: int
    """Faces with five labelled points that are not ignored."""
    unmatched: int
    """Those of them without a detection; they are in no error below."""
    by_eyes: FloatArray
    """(M,) per face: mean distance over the five points / distance of the labelled eyes."""
    by_box: FloatArray
    """(M,) per face: the same over the square root of the labelled box's area."""
    per_point: FloatArray
    """(5,) mean over faces of each point's distance / eye distance, in the order of POINTS."""

    def summary(self) -> dict[str, float | list[float] | None]:
        """Counts, mean, median, share of faces under 10 %, as plain numbers; None where none was paired."""
        known = len(self.by_eyes) > 0
        return {
            "faces": self.faces,
            "matched": len(self.by_eyes),
            "unmatched": self.unmatched,
            "nme_eyes_mean": float(self.by_eyes.mean()) if known else None,
            "nme_eyes_median": float(np.median(self.by_eyes)) if known else None,
            "share_under_10_percent": float((self.by_eyes < FAILURE).mean()) if known else None,
            "nme_box_mean": float(self.by_box.mean()) if known else None,
            "nme_box_median": float(np.median(self.by_box)) if known else None,
            "nme_eyes_per_point": [float(value) for value in self.per_point] if known else None,
        }


def point_errors(predicted: FloatArray, labelled: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distances (M, 5) in pixels between points (M, 5, 2), and the labelled eyes' distance (M,) in pixels."""
    distance = np.linalg.norm(predicted - labelled, axis=2)
    return distance, np.linalg.norm(labelled[:, 0] - labelled[:, 1], axis=1)


def landmark_errors(
    images: Iterable[tuple[Labelled, FloatArray, FloatArray]], pairing: Pairing = "matched"
) -> LandmarkErrors | None:
    """Errors over images given as (boxes and truth, predicted points (D, 5, 2), labelled points (F, 5, 2)).

    `matched` pairs as average precision does, at IoU >= 0.5; `nearest` takes for each face the detection that
    overlaps it most, for sources whose boxes follow another convention than the detector's. A face counts
    when all five points are labelled (no NaN) and its eyes are apart. None when there is no such face.
    """
    faces = unmatched = 0
    distances: list[FloatArray] = []
    eyes: list[FloatArray] = []
    sides: list[FloatArray] = []
    for image, predicted, labelled in images:
        apart = np.linalg.norm(labelled[:, 0] - labelled[:, 1], axis=1) > 0
        known = np.flatnonzero(np.isfinite(labelled).all(axis=(1, 2)) & apart & ~image.ignore)
        if len(known) == 0:
            continue
        chosen = _detection_of(image, known, pairing)
        paired = known[chosen >= 0]
        faces += len(known)
        unmatched += len(known) - len(paired)
        distance, eye = point_errors(predicted[chosen[chosen >= 0]], labelled[paired])
        distances.append(distance)
        eyes.append(eye)
        sides.append(np.sqrt(area(image.truth[paired])))
    if faces == 0:
        return None
    return _errors(faces, unmatched, np.concatenate(distances), np.concatenate(eyes), np.concatenate(sides))


def _detection_of(image: Labelled, known: npt.NDArray[np.int64], pairing: Pairing) -> npt.NDArray[np.int64]:
    """For each of the faces `known` (K,) the index of its detection, -1 for none."""
    chosen = np.full(len(image.truth), -1, np.int64)
    if len(image.boxes) == 0:
        return chosen[known]
    if pairing == "matched":
        fate = match(image, MATCH_IOU)
        chosen[fate[fate >= 0]] = np.flatnonzero(fate >= 0)
        return chosen[known]
    overlap = iou(image.boxes, image.truth[known])
    best = overlap.argmax(axis=0)
    return np.where(overlap[best, np.arange(len(known))] > 0, best, -1)


def _errors(
    faces: int, unmatched: int, distance: FloatArray, eye: FloatArray, side: FloatArray
) -> LandmarkErrors:
    mean = distance.mean(axis=1)
    per_point = (distance / eye[:, None]).mean(axis=0) if len(eye) else np.full(5, np.nan, np.float32)
    return LandmarkErrors(faces, unmatched, mean / eye, mean / np.maximum(side, 1e-6), per_point)


def error_lines(errors: LandmarkErrors) -> list[str]:
    """The errors as lines for a log or a terminal."""
    row = errors.summary()
    if row["nme_eyes_mean"] is None:
        return [f"landmarks: none of {errors.faces} faces was found"]
    return [
        f"landmarks: {row['matched']} of {errors.faces} faces paired, {errors.unmatched} without a detection",
        f"  error / eye distance: mean {row['nme_eyes_mean']:.4f}, median {row['nme_eyes_median']:.4f}, "
        f"{row['share_under_10_percent']:.1%} under 10 %",
        f"  error / box size:     mean {row['nme_box_mean']:.4f}, median {row['nme_box_median']:.4f}",
    ]
