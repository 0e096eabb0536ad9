"""Measure a detector on a source: average precision and what explains it, WIDER protocol, landmarks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtcnn.errors import UserError
from mtcnn.evaluation.average_precision import Curve, Labelled, curve, match
from mtcnn.evaluation.cascade import SIZE_NAMES, CascadeTable, Tracer, size_bins
from mtcnn.evaluation.collect import SourceResult, detect_source
from mtcnn.evaluation.examples import Example, worst
from mtcnn.evaluation.landmarks import LandmarkErrors, Pairing, error_lines, landmark_errors
from mtcnn.evaluation.wider import WiderCurve, evaluate_wider, official_name, read_ground_truth

IOUS = (0.4, 0.5, 0.6, 0.7)
CURVE_POINTS = 200
FALSE_POSITIVES = (10, 30, 100, 300, 1000)

Done = Callable[[int], object]


@dataclass(frozen=True)
class Evaluation:
    """A detector measured on a source; every labelled box counts that is not marked ignore."""

    source: str
    digest: str
    images: int
    faces: int
    skipped: tuple[str, ...]
    iou: float
    curves: tuple[Curve, ...]
    """By rising IoU."""
    faces_by_size: tuple[int, ...]
    """Faces in the order of SIZE_NAMES."""
    recall_by_size: tuple[float, ...]
    """Share found at `iou` by any detection; NaN without a face of that size."""
    cascade: CascadeTable | None
    landmarks: LandmarkErrors | None
    """None where the source or the detector has no points."""
    misses: tuple[Example, ...]
    """Worst first: never found, the largest first; then found, the lowest score first."""
    alarms: tuple[Example, ...]
    """Detections that are no labelled face, highest score first."""
    seconds: float

    @property
    def curve(self) -> Curve:
        """The curve at `iou`."""
        return next(c for c in self.curves if c.iou == self.iou)

    @property
    def ap(self) -> dict[float, float]:
        """Average precision by IoU: .4 .5 .6 .7 and `iou`."""
        return {c.iou: c.ap for c in self.curves}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON: curves have at most 200 points, None is undefined."""
        thin = self.curve.thinned(CURVE_POINTS)
        result = _plain(
            {
                "protocol": "ap",
                **_head(self.source, self.digest, self.images, self.skipped, self.seconds),
                "faces": self.faces,
                "iou": self.iou,
                "ap": self.curve.ap,
                "ap_by_iou": {f"{threshold:g}": ap for threshold, ap in self.ap.items()},
                "recall_at_false_positives": {str(n): self.curve.recall_at(n) for n in FALSE_POSITIVES},
                "scores": thin.scores,
                "precision": thin.precision,
                "recall": thin.recall,
                "false_positives": thin.false_positives,
                "sizes": SIZE_NAMES,
                "faces_by_size": self.faces_by_size,
                "recall_by_size": self.recall_by_size,
                "cascade": [asdict(row) for row in self.cascade.stages] if self.cascade else None,
                "landmarks": self.landmarks.summary() if self.landmarks else None,
                "misses": [asdict(example) for example in self.misses],
                "alarms": [asdict(example) for example in self.alarms],
            }
        )
        return dict(result)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def lines(self) -> list[str]:
        """The result as lines for a terminal."""
        by_iou = ", ".join(f"AP@{c.iou:g} {c.ap:.4f}" for c in self.curves)
        table = self.cascade.lines() if self.cascade else []
        points = error_lines(self.landmarks) if self.landmarks else []
        return [f"{self.images} images, {self.faces} faces: {by_iou}", *table, *points]


@dataclass(frozen=True)
class WiderEvaluation:
    """A detector measured by the WIDER FACE protocol: easy, medium, hard."""

    source: str
    digest: str
    images: int
    of_images: int
    """Images in the official lists; fewer evaluated means the figures are of a part of the set."""
    skipped: tuple[str, ...]
    curves: tuple[WiderCurve, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON: every 5th of the 1,000 points, None is undefined."""
        settings = {
            c.setting: {
                "ap": c.ap,
                "faces": c.faces,
                "precision": c.precision[4::5],
                "recall": c.recall[4::5],
            }
            for c in self.curves
        }
        head = _head(self.source, self.digest, self.images, self.skipped, self.seconds)
        return dict(_plain({"protocol": "wider", **head, "of_images": self.of_images, "settings": settings}))

    def lines(self) -> list[str]:
        """The result as lines for a terminal."""
        part = "" if self.images == self.of_images else f" (of {self.of_images}: a part of the set)"
        scores = ", ".join(f"{c.setting} {c.ap:.4f} ({c.faces} faces)" for c in self.curves)
        return [f"{self.images} images{part}: AP {scores}"]


@dataclass(frozen=True)
class LandmarkEvaluation:
    """A detector's points measured on a source."""

    source: str
    digest: str
    images: int
    skipped: tuple[str, ...]
    errors: LandmarkErrors
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON; None is undefined."""
        head = _head(self.source, self.digest, self.images, self.skipped, self.seconds)
        return dict(_plain({"protocol": "landmarks", **head, **self.errors.summary()}))

    def lines(self) -> list[str]:
        """The result as lines for a terminal."""
        return error_lines(self.errors)


def evaluate(
    detector: Tracer,
    source_url: str,
    iou: float = 0.5,
    limit: int | None = None,
    width: int | None = None,
    done: Done | None = None,
) -> Evaluation:
    """Average precision at `iou` (and at .4 .5 .6 .7), the cascade's table, points, and the worst mistakes.

    Every image is traced, so the detector's `trace` must end in what it detects. `limit` takes the first
    images only; sources are shuffled when packed, so they are a fair sample. `width` brings every image to that many
    pixels first. `done` is called with the number
    of images since its last call. Errors as in `detect_source`.
    """
    found = detect_source(detector, source_url, limit=limit, width=width, cascade=True, done=done)
    images = [image.labelled for image in found.images]
    curves = tuple(curve(images, threshold) for threshold in sorted({*IOUS, iou}))
    faces_by_size, recall_by_size = _by_size(images, iou)
    misses, alarms = worst(found.images, iou)
    return Evaluation(
        source=source_url,
        digest=found.digest,
        images=len(images),
        faces=curves[0].faces,
        skipped=found.skipped,
        iou=iou,
        curves=curves,
        faces_by_size=faces_by_size,
        recall_by_size=recall_by_size,
        cascade=found.cascade,
        landmarks=_landmarks(found, "matched"),
        misses=misses,
        alarms=alarms,
        seconds=found.seconds,
    )


def evaluate_wider_source(
    detector: Tracer,
    source_url: str,
    ground_truth: str | Path,
    limit: int | None = None,
    width: int | None = None,
    done: Done | None = None,
) -> WiderEvaluation:
    """The WIDER FACE protocol on a source packed from its validation images.

    `ground_truth` is the folder of the official `wider_{easy,medium,hard}_val.mat`. Raises UserError when it
    is not, or when the source holds an image that is not of the set. Otherwise as `evaluate`.
    """
    truth = read_ground_truth(ground_truth)
    found = detect_source(detector, source_url, limit=limit, width=width, done=done)
    detections = {official_name(i.name): (i.labelled.boxes, i.labelled.scores) for i in found.images}
    curves = evaluate_wider(truth, detections)
    return WiderEvaluation(
        source_url, found.digest, len(detections), len(truth), found.skipped, curves, found.seconds
    )  # fmt: skip


def evaluate_landmarks(
    detector: Tracer,
    source_url: str,
    limit: int | None = None,
    width: int | None = None,
    done: Done | None = None,
) -> LandmarkEvaluation:
    """Landmark error on a source with points; each face is paired with the detection that overlaps it most.

    Raises UserError when the source has no face with five points.
    """
    found = detect_source(detector, source_url, limit=limit, width=width, done=done)
    errors = _landmarks(found, "nearest")
    if errors is None:
        raise UserError(
            f"{source_url}: no face with five labelled points, or a detector without any; nothing to measure"
        )
    return LandmarkEvaluation(
        source_url, found.digest, len(found.images), found.skipped, errors, found.seconds
    )


def _landmarks(found: SourceResult, pairing: Pairing) -> LandmarkErrors | None:
    rows = [(i.labelled, i.points, i.labelled_points) for i in found.images]
    if not any(np.isfinite(points).any() for _, points, _ in rows):
        return None
    return landmark_errors(rows, pairing)


def _by_size(images: Sequence[Labelled], threshold: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    faces, hits = np.zeros(len(SIZE_NAMES), np.int64), np.zeros(len(SIZE_NAMES), np.int64)
    for image in images:
        bins, fate = size_bins(image.truth), match(image, threshold)
        faces += np.bincount(bins[~image.ignore], minlength=len(SIZE_NAMES))
        hits += np.bincount(bins[fate[fate >= 0]], minlength=len(SIZE_NAMES))
    recall = np.divide(hits, faces, out=np.full(len(faces), np.nan), where=faces > 0)
    return tuple(faces.tolist()), tuple(recall.tolist())


def _head(source: str, digest: str, images: int, skipped: tuple[str, ...], seconds: float) -> dict[str, Any]:
    return {"source": source, "digest": digest, "images": images, "skipped": skipped, "seconds": seconds}


def _plain(value: Any) -> Any:
    """`value` with arrays and tuples as lists and NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
