"""A run's records as rows, one a stage: the table of the chain, for the terminal and for the report."""

from typing import Any

from mtcnn.run_log import RunLog
from mtcnn.shards import CLASSES

HEAD = [
    "stage", *CLASSES, "mined in", "trained in", "samples/s", "pos acc", "neg acc", "box IoU", "points", "threshold",
    "recall",
]  # fmt: skip


def epochs(log: RunLog, stage: str) -> list[dict[str, Any]]:
    """The records of a stage's newest training, one an epoch in order: one that was repeated counts once."""
    digest = log.last("train", stage).get("digest")
    found = [r for r in log.records if r["phase"] == "train" and r["stage"] == stage]
    newest = {r["epoch"]: r for r in found if r.get("digest") == digest}
    return [newest[epoch] for epoch in sorted(newest)]


def row(log: RunLog, stage: str) -> list[str]:
    """A stage's row of the table, in the order of HEAD; "-" for what the run does not have."""
    mined, trained, passed = log.last("mine", stage), log.last("train", stage), log.last("threshold", stage)
    seconds = [r["seconds"] for r in epochs(log, stage)]
    before, after = trained.get("held_out/box_iou_before"), trained.get("held_out/box_iou_after")
    return [
        stage,
        *(_count(mined.get(name)) for name in CLASSES),
        _seconds(mined.get("seconds")),
        _seconds(sum(seconds) if seconds else None),
        _count(trained.get("samples_per_second")),
        _share(trained.get("held_out/positive_accuracy")),
        _share(trained.get("held_out/negative_accuracy")),
        "-" if before is None or after is None else f"{before:.3f} → {after:.3f}",
        _share(trained.get("held_out/landmark_error")),
        "-" if not passed else f"{passed['threshold']:.3f}",
        _share(passed.get("recall")),
    ]


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
