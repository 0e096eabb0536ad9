"""Evaluation as plots, SVG or PNG: precision over recall, recall over false positives, recall by size,
landmark errors."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mtcnn.evaluation.average_precision import Doubles
from mtcnn.evaluation.cascade import SIZE_NAMES, CascadeTable
from mtcnn.evaluation.landmarks import FAILURE
from mtcnn.evaluation.run import Evaluation, LandmarkEvaluation, WiderEvaluation

Format = Literal["svg", "png"]
POINTS = 1000
LARGEST_ERROR = 0.3
"""Where the plot of landmark errors ends."""


def precision_recall(evaluation: Evaluation | WiderEvaluation, form: Format = "svg") -> bytes:
    """Precision over recall: a line for each IoU, or for easy, medium and hard; the legend has the AP."""
    figure, axes = _canvas("recall", "precision")
    for label, x, y in _lines(evaluation):
        axes.plot(x, y, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.legend(loc="lower left", frameon=False)
    return _bytes(figure, form)


def recall_false_positives(evaluation: Evaluation, form: Format = "svg") -> bytes:
    """Recall over the total of false positives (FDDB's discrete curve, logarithmic): a line for each IoU."""
    figure, axes = _canvas("false positives on the whole set (none: drawn at 0.5)", "recall")
    for curve in evaluation.curves:
        thin = curve.thinned(POINTS)
        axes.plot(np.maximum(thin.false_positives, 0.5), thin.recall, label=f"IoU {curve.iou:g}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.01)
    axes.legend(loc="lower right", frameon=False)
    return _bytes(figure, form)


def recall_by_size(evaluation: Evaluation, form: Format = "svg") -> bytes:
    """Bars of recall by face size: one a stage where the cascade was traced, else for the detections."""
    figure, axes = _canvas("face size in pixels (square root of the area) and number of faces", "recall")
    rows = _size_rows(evaluation.cascade, evaluation.recall_by_size)
    position = np.arange(len(SIZE_NAMES))
    width = 0.8 / len(rows)
    for number, (label, values) in enumerate(rows):
        axes.bar(position - 0.4 + width * (number + 0.5), np.nan_to_num(values), width, label=label)
    labels = [f"{name}\n{count}" for name, count in zip(SIZE_NAMES, evaluation.faces_by_size, strict=True)]
    axes.set_xticks(position, labels)
    axes.set_ylim(0, 1.01)
    axes.legend(loc="lower right")
    return _bytes(figure, form)


def landmark_errors(evaluation: LandmarkEvaluation, form: Format = "svg") -> bytes:
    """Share of faces over the error they are within; a face that was not found is within none."""
    errors = evaluation.errors
    figure, axes = _canvas("mean error of the five points", f"share of {errors.faces} faces")
    share = np.arange(1, len(errors.by_eyes) + 1) / errors.faces
    for label, values in (("of the eye distance", errors.by_eyes), ("of the box's size", errors.by_box)):
        axes.step([0, *np.sort(values)], [0, *share], where="post", label=label)
    axes.axvline(FAILURE, color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, LARGEST_ERROR)
    axes.set_ylim(0, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="lower right", frameon=False)
    return _bytes(figure, form)


def _lines(evaluation: Evaluation | WiderEvaluation) -> list[tuple[str, Doubles, Doubles]]:
    if isinstance(evaluation, WiderEvaluation):
        return [(f"{c.setting} {c.ap:.3f}", c.recall, c.precision) for c in evaluation.curves]
    thin = [curve.thinned(POINTS) for curve in evaluation.curves]
    return [(f"AP@{c.iou:g} {c.ap:.3f}", c.recall, c.precision) for c in thin]


def _size_rows(
    cascade: CascadeTable | None, detections: Sequence[float]
) -> list[tuple[str, Sequence[float]]]:
    if cascade is None or not cascade.stages:
        return [("detections", detections)]
    return [(row.stage, row.recall_by_size) for row in cascade.stages]


def _canvas(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _bytes(figure: Figure, form: Format) -> bytes:
    out = io.BytesIO()
    # Without a date the same evaluation gives the same picture.
    metadata: Mapping[str, None] = {"Date": None} if form == "svg" else {}
    figure.savefig(out, format=form, dpi=120, metadata=dict(metadata))
    return out.getvalue()
