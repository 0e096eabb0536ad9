"""The table at the end of a run: what was mined and trained, and how good the cascade is."""

from collections.abc import Mapping, Sequence

from mtcnn.nets import STAGES
from mtcnn.report.table import HEAD, row
from mtcnn.run_log import RunLog


def summary(log: RunLog, results: Mapping[str, Sequence[str]]) -> str:
    """The table as text, from the newest records of a run and the lines of each test source's result."""
    rows = [row(log, stage) for stage in STAGES]
    lines = ["", *_table([HEAD, *rows])]
    for name, found in results.items():
        lines += ["", f"{name}:", *(f"  {line}" for line in found)]
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
