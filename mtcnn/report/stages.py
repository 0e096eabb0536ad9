"""The part of the report about one stage: what was mined, how training went, crops and hard negatives to look at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtcnn.detector import Detector
from mtcnn.errors import UserError
from mtcnn.nets import SIZES
from mtcnn.report.charts import Line, line_chart, linear, number
from mtcnn.report.crops import hardest, negative_sheet, sample, sheet
from mtcnn.report.html import card, cards, heading, note
from mtcnn.report.table import epochs
from mtcnn.run_log import RunLog
from mtcnn.shards import CLASSES, read_manifest
from mtcnn.store import Store
from mtcnn.words import count, duration, size

TITLES = {"pnet": "P-Net", "rnet": "R-Net", "onet": "O-Net"}
CROPS = 36
HARDEST = 36
SHEETS = {
    "pos": "Positives: the box to regress",
    "part": "Parts: a box, no class",
    "neg": "Negatives",
    "landmark": "Landmark crops: the five points",
}
PANELS = (
    (
        "Classification loss",
        (("training, its hardest crops", "train/class_loss"), ("held out", "held_out/class_loss")),
    ),
    ("Box loss", (("training", "train/box_loss"), ("held out", "held_out/box_loss"))),
    ("Landmark loss", (("training", "train/landmark_loss"), ("held out", "held_out/landmark_loss"))),
    (
        "Held-out accuracy",
        (
            ("positives", "held_out/positive_accuracy"),
            ("negatives", "held_out/negative_accuracy"),
            ("negatives, at 97 % of positives", "held_out/negative_accuracy_at_97"),
        ),
    ),
    (
        "Held-out box IoU",
        (("before regression", "held_out/box_iou_before"), ("after", "held_out/box_iou_after")),
    ),
    ("Held-out landmark error, in eye distances", (("mean", "held_out/landmark_error"),)),
    ("Learning rate at the end of the epoch", (("rate", "learning_rate"),)),
)
"""Charts of a stage: title, then (label, field of an epoch's record)."""


def stage_part(stage: str, log: RunLog, crops: Store | None, detector: Detector) -> str:
    """HTML about a stage; "" where the run has nothing of it."""
    mined, records = log.last("mine", stage), epochs(log, stage)
    pictures = "" if crops is None else or_why(lambda: _pictures(stage, crops, detector))
    body = _facts(mined, records, log.last("threshold", stage)) + _curves(records) + pictures
    if not body:
        return ""
    side = SIZES[stage]
    return note(f"Looks at {side}×{side} pixels.") + body


def or_why(make: Callable[[], str]) -> str:
    """What `make` returns; where what it reads is gone or damaged, a line that says so: a report is made anyway."""
    try:
        return make()
    except UserError as error:
        return note(f"Not shown: {error}")


def _facts(mined: Mapping[str, Any], records: Sequence[Mapping[str, Any]], passed: Mapping[str, Any]) -> str:
    items = []
    if mined:
        images = max(mined["images"], 1)
        total = sum(mined.get(name, 0) for name in CLASSES)
        items.append(
            card(count(total), "crops mined", f"{size(mined['bytes'])} from {count(mined['images'])} images")
        )
        if mined["proposals"]:
            items.append(
                card(
                    f"{100 * mined['hit'] / max(mined['faces'], 1):.1f} %",
                    "of the faces reach this stage",
                    f"{mined['proposals'] / images:.0f} proposals an image",
                )
            )
    if records:
        seconds = sum(record["seconds"] for record in records)
        rate = records[-1]["samples_per_second"]
        number_of = "1 epoch," if len(records) == 1 else f"{len(records)} epochs,"
        items.append(card(duration(seconds), "training", f"{number_of} {count(rate)} crops/s"))
    if passed:
        items.append(
            card(
                f"{passed['threshold']:.3f}",
                "mining threshold",
                f"passes {100 * passed['recall']:.1f} % of held-out faces",
            )
        )
    return cards(items)


def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    at = [float(record["epoch"]) for record in records]
    x = linear(min(at[0], 1.0), at[-1] if at[-1] > 1 else 2.0, whole=True)
    # The later of two equal epochs is the one that training keeps.
    kept = min(records, key=lambda record: (record["held_out/loss"], -record["epoch"]))["epoch"]
    charts = []
    for title, fields in PANELS:
        values = [(label, [float(r.get(field, float("nan"))) for r in records]) for label, field in fields]
        lines = [Line(f"{label} {number(ys[-1])}", at, ys) for label, ys in values]
        drawn = [y for line in lines for _, y in line.points()]
        if any(drawn):
            charts.append(line_chart(title, lines, "epoch", x, linear(min(drawn), max(drawn), 4), kept=kept))
    why = note(
        f"Dotted: epoch {kept}, whose weights were kept (lowest held-out loss). Legends give the last epoch's value."
    )
    return heading("Training") + f'<div class="charts">{"".join(charts)}</div>' + why


def _pictures(stage: str, store: Store, detector: Detector) -> str:
    manifest = read_manifest(store)
    parts = []
    for cls, title in SHEETS.items():
        found = sample(store, manifest, cls, CROPS)
        if found:
            total = manifest.count(cls, "train") + manifest.count(cls, "val")
            parts.append(f"<div>{heading(f'{title} ({count(total)})')}{sheet(found)}</div>")
    net = next((net for net in detector.nets if net.architecture.stage == stage), None)
    worst = hardest(store, manifest, net, detector.device, HARDEST) if net is not None else []
    if worst:
        text = note("Scored by the finished net; ○ training never saw it. Look for faces without a label.")
        parts.append(f"<div>{heading('Hardest negatives')}{negative_sheet(worst)}{text}</div>")
    return f'<div class="sheets">{"".join(parts)}</div>'
