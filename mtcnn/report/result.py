"""The parts of the report about the finished cascade: the figures at the top, its filter stage by stage, its curves."""

from collections.abc import Mapping

import numpy as np

from mtcnn.detector import Detector
from mtcnn.evaluation import Evaluation
from mtcnn.evaluation.cascade import SIZE_NAMES
from mtcnn.evaluation.landmarks import FAILURE
from mtcnn.report.charts import Line, bar_chart, line_chart, linear, logarithmic
from mtcnn.report.html import card, cards, heading, key, note, table
from mtcnn.report.pictures import close_ups, operating_score, pictures
from mtcnn.report.stages import TITLES, or_why
from mtcnn.words import count

FEWEST_FALSE = 0.5
"""Where no false positives at all are drawn on the logarithmic axis."""


def headline(evaluations: Mapping[str, Evaluation]) -> str:
    """The figures that matter, a row for each test source."""
    if not evaluations:
        return note("The cascade was not measured: no source has use: test.")
    return "".join(_row(name, evaluation) for name, evaluation in evaluations.items())


def _row(name: str, evaluation: Evaluation) -> str:
    others = " · ".join(
        f"{ap:.3f} at IoU {iou:g}" for iou, ap in evaluation.ap.items() if iou != evaluation.iou
    )
    images = f"{count(evaluation.images)} images, {count(evaluation.faces)} faces"
    items = [card(f"{evaluation.curve.ap:.3f}", f"AP@{evaluation.iou:g} on {name}", others, lead=True)]
    score = operating_score(evaluation)
    curve = evaluation.curve
    at = int(np.searchsorted(-curve.scores, -score, side="right")) - 1
    if at >= 0:
        balance = f"at score {score:.2f}, where they balance best"
        items.append(card(f"{100 * curve.recall[at]:.1f} %", "of the faces found", balance))
        items.append(card(f"{100 * curve.precision[at]:.1f} %", "of the detections right", images))
    if evaluation.landmarks is not None and len(evaluation.landmarks.by_eyes):
        median = float(np.median(evaluation.landmarks.by_eyes))
        under = float((evaluation.landmarks.by_eyes < FAILURE).mean())
        detail = f"of the eyes' distance; {100 * under:.0f} % of faces under {100 * FAILURE:.0f} %"
        items.append(card(f"{100 * median:.1f} %", "point error (median)", detail))
    if evaluation.cascade is not None and evaluation.cascade.stages:
        spent = sum(stage.milliseconds for stage in evaluation.cascade.stages)
        items.append(card(f"{spent:.0f} ms", "an image", "all three nets, one image at a time"))
    return cards(items)


def measured(evaluations: Mapping[str, Evaluation]) -> str:
    """The cascade as a filter and its curves, for each test source; "" without any."""
    parts = []
    for name, evaluation in evaluations.items():
        parts.append(heading(name) + _cascade(evaluation) + _charts(evaluation))
        if evaluation.skipped:
            parts.append(note(f"Left out, unreadable: {', '.join(evaluation.skipped)}"))
    return "".join(parts)


def looked_at(evaluations: Mapping[str, Evaluation], detector: Detector) -> str:
    """Pictures with detections, then the worst misses and false alarms; "" without a test source."""
    return "".join(
        or_why(lambda name=name, e=evaluation: _pictures(name, e, detector))  # type: ignore[misc]
        for name, evaluation in evaluations.items()
    )


def _cascade(evaluation: Evaluation) -> str:
    if evaluation.cascade is None:
        return ""
    head = ["after", "boxes an image", "recall", "ms an image", *(f"{name} px" for name in SIZE_NAMES)]
    rows = [
        [
            TITLES.get(row.stage, row.stage),
            f"{row.proposals:,.1f}",
            _share(row.recall),
            f"{row.milliseconds:.1f}",
            *(_share(value) for value in row.recall_by_size),
        ]
        for row in evaluation.cascade.stages
    ]
    faces = ["faces", "", count(evaluation.cascade.faces), "", *map(count, evaluation.cascade.faces_by_size)]
    text = "Recall: faces that a box left covers with an IoU of 0.5 or more. Sizes: square root of the face's area."
    return table(head, [*rows, faces], text)


def _charts(evaluation: Evaluation) -> str:
    unit = linear(0, 1)
    precision = [
        Line(f"IoU {c.iou:g}: AP {c.ap:.3f}", c.recall.tolist(), c.precision.tolist())
        for c in evaluation.curves
    ]
    most = max((float(c.false_positives[-1]) for c in evaluation.curves if len(c.scores)), default=1.0)
    alarms = [
        Line(f"IoU {c.iou:g}", np.maximum(c.false_positives, FEWEST_FALSE).tolist(), c.recall.tolist())
        for c in evaluation.curves
    ]
    groups = list(zip((f"{n}" for n in SIZE_NAMES), map(count, evaluation.faces_by_size), strict=True))
    stages = evaluation.cascade.stages if evaluation.cascade else ()
    bars = [(f"after {TITLES.get(row.stage, row.stage)}", row.recall_by_size) for row in stages]
    charts = [
        line_chart("Precision over recall", precision, "recall", unit, unit, ramp=True),
        line_chart("Recall over false positives (ROC)", alarms, "false positives on the whole set",
                   logarithmic(FEWEST_FALSE, max(most, 10.0)), unit, ramp=True),
        bar_chart("Recall by face size (px; number of faces)", groups, bars or [("found", evaluation.recall_by_size)]),
    ]  # fmt: skip
    return f'<div class="charts">{"".join(charts)}</div>'


def _pictures(name: str, evaluation: Evaluation, detector: Detector) -> str:
    score = operating_score(evaluation)
    meaning = key(
        [
            ("found", "found (in close-ups: labelled)"),
            ("missed", "missed"),
            ("false", "false alarm"),
            ("ignored", "ignored"),
        ]
    )
    parts = [heading(f"{name}: the first pictures, detections with a score of {score:.2f} or more"), meaning]
    parts.append(pictures(evaluation, detector, score))
    missed = [example for example in evaluation.misses if example.score < score]
    for title, examples, kind in (
        ("worst misses, never found and large first", missed, "missed"),
        (f"worst false alarms at IoU {evaluation.iou:g}, highest score first", evaluation.alarms, "false"),
    ):
        if examples:
            parts.append(heading(f"{name}: {title}") + close_ups(evaluation.source, examples, kind))
    return "".join(parts)


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"
