"""Line and bar charts as SVG that takes its colours from the page, so that it is as legible in the dark.

The files beside the report are drawn by `mtcnn.evaluation.plots`; these are for the page alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mtcnn.report.html import key

WIDTH, HEIGHT = 360, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 36
MOST_POINTS = 200


@dataclass(frozen=True)
class Line:
    """A named line; points that are not finite are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def points(self) -> list[tuple[float, float]]:
        """The finite points, at most MOST_POINTS of them evenly spread, the ends included."""
        found = [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        if len(found) <= MOST_POINTS:
            return found
        last = len(found) - 1
        return [found[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


@dataclass(frozen=True)
class Axis:
    """One axis: its range and where its ticks are, in data units."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where `value` lies, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)


def linear(low: float, high: float, ticks: int = 5, whole: bool = False) -> Axis:
    """An axis over [low, high], widened to about `ticks` round steps; `whole`: the range as it is, whole ticks."""
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    rough = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    if whole:
        step = max(round(step), 1)
        first = math.ceil(low / step)
        return Axis(low, high, tuple(i * step for i in range(first, math.floor(high / step) + 1)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, tuple(i * step for i in range(first, last + 1)))


def logarithmic(low: float, high: float) -> Axis:
    """An axis over powers of ten around [low, high]; both above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    return Axis(low, max(high, low * 10), tuple(10.0**i for i in range(first, last + 1)), True)


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    x: Axis,
    y: Axis,
    *,
    ramp: bool = False,
    kept: float | None = None,
) -> str:
    """A figure of lines over the range of two axes; "" where no line has a point.

    `ramp`: the lines are steps of one quantity, in shades of one colour; `kept`: an x to mark. A line's label may
    hold its newest value: it stands in the legend.
    """
    drawn = [(line, line.points()) for line in lines]
    drawn = [(line, points) for line, points in drawn if points]
    if not drawn:
        return ""
    kinds = [f"{'o' if ramp else 'k'}{i % 4 + 1}" for i in range(len(drawn))]
    body = [_frame(x, y, x_label)]
    if kept is not None:
        at = _x(x, kept)
        body.append(f'<line class="kept" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for kind, (_, points) in zip(kinds, drawn, strict=True):
        places = [(_x(x, a), _y(y, b)) for a, b in points]
        path = " ".join(f"{a},{b}" for a, b in places)
        dots = ""
        if len(points) <= 30:
            dots = "".join(
                f'<circle cx="{a}" cy="{b}" r="2.6"><title>{number(v)} at {number(u)}</title></circle>'
                for (a, b), (u, v) in zip(places, points, strict=True)
            )
        body.append(f'<g class="{kind}"><polyline points="{path}"/>{dots}</g>')
    legend = key((kind, line.label) for kind, (line, _) in zip(kinds, drawn, strict=True))
    return _figure(title, legend, body)


def bar_chart(
    title: str, groups: Sequence[tuple[str, str]], bars: Sequence[tuple[str, Sequence[float]]]
) -> str:
    """Bars of shares (0..1) in groups: `groups` are (name, second line), `bars` (label, a value for each group)."""
    if not groups or not bars:
        return ""
    y = linear(0, 1)
    plot = WIDTH - LEFT - RIGHT
    slot = plot / len(groups)
    width = slot * 0.78 / len(bars)
    body = [_frame(None, y, "")]
    for index, (label, values) in enumerate(bars):
        rects = []
        for group, value in enumerate(values):
            if math.isfinite(value):
                left, top = LEFT + slot * (group + 0.11) + width * index, _y(y, value)
                tall = HEIGHT - BOTTOM - top
                rects.append(
                    f'<rect x="{left + 0.5:.1f}" y="{top}" width="{width - 1:.1f}" height="{tall:.1f}" rx="1.5">'
                    f"<title>{escape(label)}, {escape(groups[group][0])}: {value:.1%}</title></rect>"
                )
        body.append(f'<g class="k{index % 4 + 1}">{"".join(rects)}</g>')
    for group, (name, second) in enumerate(groups):
        at = f"{LEFT + slot * (group + 0.5):.1f}"
        body.append(f'<text x="{at}" y="{HEIGHT - 21}" text-anchor="middle">{escape(name)}</text>')
        body.append(
            f'<text x="{at}" y="{HEIGHT - 6}" text-anchor="middle" opacity=".75">{escape(second)}</text>'
        )
    return _figure(title, key((f"k{i % 4 + 1}", label) for i, (label, _) in enumerate(bars)), body)


def number(value: float) -> str:
    """A tick or value in few digits: 0.05, 3.2, 1,000."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _figure(title: str, legend: str, body: Sequence[str]) -> str:
    label = escape(title)
    return (
        f'<figure class="chart"><figcaption>{label}</figcaption>{legend}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(body)}</svg></figure>'
    )


def _frame(x: Axis | None, y: Axis, x_label: str) -> str:
    parts = []
    for tick in y.ticks:
        at = _y(y, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{number(tick)}</text>')
    bottom = HEIGHT - BOTTOM
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    for tick in x.ticks if x else ():
        if x and x.low <= tick <= x.high * (1 + 1e-9):
            parts.append(
                f'<text x="{_x(x, tick)}" y="{bottom + 14}" text-anchor="middle">{number(tick)}</text>'
            )
    if x_label:
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    return "".join(parts)


def _x(axis: Axis, value: float) -> float:
    return round(LEFT + _within(axis.share(value)) * (WIDTH - LEFT - RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - _within(axis.share(value)) * (HEIGHT - TOP - BOTTOM), 1)


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
