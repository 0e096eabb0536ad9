"""What a benchmark found: rows of figure, limit and ratio, as a table and as JSON, and the machine they came from."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mtcnn.backend import usable_cpus
from mtcnn.bench.measure import Rounds

HEAD = ("figure", "", "unit", "limit", "ratio", "CPU ratio", "goal", "spread", "limit is")


@dataclass(frozen=True)
class Row:
    """One figure and what it is held against."""

    name: str
    unit: str
    figure: float
    limit: float | None = None
    ratio: float | None = None
    """Figure by limit, the median over rounds."""
    cpu_ratio: float | None = None
    """The same per second of CPU: of use where one thread is measured and cores are shared."""
    spread: float | None = None
    """Range of the ratio over the rounds, as a share of its median."""
    goal: float | None = None
    at_most: bool = False
    """Whether the ratio should be below the goal instead of above it."""
    rounds: int = 1
    limit_is: str = ""
    """The limit in words."""

    @property
    def met(self) -> bool | None:
        """Whether the ratio meets its goal; None where it has none."""
        if self.ratio is None or self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


@dataclass
class Report:
    """What one path found."""

    path: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader has to know: settings, and what could not be measured here."""
    tables: list[list[list[str]]] = field(default_factory=list)
    """Tables beside the rows, each with a line of headings."""

    def lines(self) -> list[str]:
        """The report as text."""
        cells = [list(HEAD), *map(_cells, self.rows)]
        texts = [_table(cells) if self.rows else [], *map(_table, self.tables), self.notes]
        return [line for text in texts if text for line in [*text, ""]]

    def to_dict(self, machine: dict[str, Any]) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [asdict(row) | {"met": row.met} for row in self.rows]
        return {
            "path": self.path,
            "machine": machine,
            "rows": rows,
            "tables": self.tables,
            "notes": self.notes,
        }


def compared(
    rounds: Rounds, side: str, other: str, name: str, unit: str, limit_is: str, goal: float | None = None,
    scale: float = 1.0, one_process: bool = True,
) -> Row:  # fmt: skip
    """The row of `side` against `other`; `scale` turns their common unit of work into `unit`."""
    return Row(
        name,
        unit,
        rounds.rate(side) * scale,
        rounds.rate(other) * scale,
        rounds.ratio(side, other),
        rounds.cpu_ratio(side, other) if one_process else None,
        rounds.spread(side, other),
        goal,
        rounds=rounds.count,
        limit_is=limit_is,
    )


def machine() -> dict[str, Any]:
    """Where this runs, and how busy it is before the measurement adds to that."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {
        "cpu": _cpu(),
        "cores": usable_cpus(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "gpu": gpu,
    }


def machine_line(found: dict[str, Any]) -> str:
    """The machine in one line."""
    gpu = f", {found['gpu']}" if found["gpu"] else ""
    busy = "" if found["load"] < 0.5 else " (others are using it)"
    return (
        f"{found['cpu']}, {found['cores']} cores{gpu}, torch {found['torch']}, "
        f"load {found['load']:.1f} at the start{busy}"
    )


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cells(row: Row) -> list[str]:
    goal = "" if row.goal is None else f"{'≤' if row.at_most else '≥'} {row.goal:g}"
    met = {None: "", True: " ✓", False: " ✗"}[row.met]
    spread = "" if row.spread is None else f"{100 * row.spread:.0f} % of {row.rounds}"
    return [
        row.name, number(row.figure), row.unit, _maybe(row.limit), _ratio(row.ratio), _ratio(row.cpu_ratio),
        goal + met, spread, row.limit_is,
    ]  # fmt: skip


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _maybe(value: float | None) -> str:
    return "" if value is None else number(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    rows = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [rows[0], "-" * len(rows[0]), *rows[1:]]
