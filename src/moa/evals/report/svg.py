"""Plots as SVG: intervals, bars, lines, a scatter plot and a radar plot.

A plot is part of an HTML page, whose styles it uses (svg.css); `standalone` makes it a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from ..stats.bootstrap import Estimate

COLOURS = ("#3b7dd8", "#e07b39", "#2f9e77", "#b455a0", "#c9a227", "#6f6ad8")
"""Distinguishable on white and on black, and with most kinds of colour blindness."""

WIDTH = 720
ROW = 30
LOG_FROM = 20
"""The ratio of the largest to the smallest x from which the axis is logarithmic."""
LETTER = 7.2
"""The approximate width of a letter of a label."""
LONGEST = 60
"""The most letters of a label in a scatter plot."""

Series = Mapping[str, Mapping[str, Estimate]]
"""By the name of a series, its values by category."""


@dataclass(frozen=True, slots=True)
class Row:
    """A value with an optional interval."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A point with an optional interval. `front` says that no other is better and cheaper; `named` shows its label."""

    label: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    front: bool = False
    named: bool = True


def interval_plot(rows: Sequence[Row], unit: str, zero: float | None = None) -> str:
    """Draw one line per row: a dot for the value, a bar for the interval. `zero` marks no difference."""
    left = min(300.0, max(len(row.label) for row in rows) * LETTER + 16)
    ends = [end for row in rows for end in (row.value, row.low, row.high, zero) if end is not None]
    ticks = _ticks(min(ends), max(ends))
    right = WIDTH - 120.0
    scale = _Scale(ticks[0], ticks[-1], left, right)
    height = len(rows) * ROW + 34
    parts = [_line(scale(tick), 4, scale(tick), height - 30, "grid") for tick in ticks]
    parts += [_text(scale(tick), height - 12, f"{tick:g}", "middle", "small") for tick in ticks]
    if zero is not None:
        parts.append(_line(scale(zero), 0, scale(zero), height - 30, "zero"))
    for index, row in enumerate(rows):
        y = index * ROW + 18
        parts.append(_text(left - 12, y + 4, _shortened(row.label, int((left - 16) / LETTER)), "end"))
        if row.low is not None and row.high is not None:
            parts.append(_line(scale(row.low), y, scale(row.high), y, "whisker"))
        parts.append(f'<circle class="mark" cx="{scale(row.value):.1f}" cy="{y}" r="5"/>')
        parts.append(_text(right + 14, y + 4, f"{row.value:+.1f}" if zero == 0 else f"{row.value:.1f}{unit}", "start"))
    return _svg(height, parts, "; ".join(f"{row.label}: {_described(row)}" for row in rows))


def bar_plot(series: Series, axis: str, value: str) -> str:
    """Draw a group of bars per category, one for each series, with intervals."""
    plot = _CategoryPlot(series, zero=True)
    parts = plot.frame(axis, value)
    width = 0.8 * plot.step / len(series)
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for category, estimate in values.items():
            x = plot.x(category) + (number - (len(series) - 1) / 2) * width
            top, bottom = sorted((plot.up(estimate.value), plot.up(0)))
            size = f'width="{0.9 * width:.1f}" height="{bottom - top:.1f}"'
            parts.append(f'<rect x="{x - 0.45 * width:.1f}" y="{top:.1f}" {size} fill="{colour}"/>')
            parts.append(_line(x, plot.up(estimate.low), x, plot.up(estimate.high), "error"))
        parts += plot.legend(number, name, colour)
    return _svg(plot.height, parts, plot.description)


def line_plot(series: Series, axis: str, value: str) -> str:
    """Draw a line per series through the categories, with intervals."""
    plot = _CategoryPlot(series)
    parts = plot.frame(axis, value)
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        shift = (number - (len(series) - 1) / 2) * min(8.0, 0.5 * plot.step / len(series))
        points = [(plot.x(category) + shift, plot.up(estimate.value)) for category, estimate in values.items()]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), estimate in zip(points, values.values(), strict=True):
            ends = f'y1="{plot.up(estimate.low):.1f}" x2="{x:.1f}" y2="{plot.up(estimate.high):.1f}"'
            parts.append(f'<line x1="{x:.1f}" {ends} stroke="{colour}" stroke-opacity="0.6"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts += plot.legend(number, name, colour)
    return _svg(plot.height, parts, plot.description)


def scatter_plot(points: Sequence[Point], x_axis: str, y_axis: str) -> str:
    """Draw values against a price, with a line through the front. Prices far apart have a logarithmic axis."""
    height, left, right, top, bottom = 356, 56.0, WIDTH - 24.0, 34.0, 306.0
    prices = [point.x for point in points]
    logarithmic = min(prices) > 0 and max(prices) / min(prices) > LOG_FROM
    xs = _powers(min(prices), max(prices)) if logarithmic else _ticks(0, max(prices))
    ends = [end for point in points for end in (point.y, point.low, point.high) if end is not None]
    ys = _ticks(min(ends), max(ends))
    across, up = _Scale(xs[0], xs[-1], left, right, logarithmic), _Scale(ys[0], ys[-1], bottom, top)
    parts = _grid(ys, up, left, right)
    parts += [_text(across(tick), bottom + 18, f"{tick:g}", "middle", "small") for tick in xs]
    parts.append(_text((left + right) / 2, height - 8, x_axis, "middle"))
    parts.append(_text(left - 40, 12, y_axis, "start", "small"))
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    if len(front) > 1:
        path = " ".join(f"{across(point.x):.1f},{up(point.y):.1f}" for point in front)
        parts.append(f'<polyline class="front" points="{path}"/>')
    taken: list[_Box] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        x, y = across(point.x), up(point.y)
        if point.low is not None and point.high is not None:
            parts.append(_line(x, up(point.low), x, up(point.high), "whisker thin"))
        parts.append(f'<circle class="{"mark" if point.front else "mark off"}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        if point.named:
            label = _shortened(point.label, LONGEST)
            box = _free_box(x, y, len(label) * LETTER, left, right, taken)
            taken.append(box)
            at, anchor = (box[2], "end") if box[0] < x else (box[0], "start")
            parts.append(_text(at, box[3] - 2, label, anchor))
    return _svg(height, parts, "; ".join(f"{point.label}: {point.y:.1f} at {point.x:g}" for point in points))


def radar_plot(lines: Mapping[str, Mapping[str, float]], best: int) -> str:
    """Draw the values of each name around a circle, from the integer below the lowest to `best`."""
    keys = list(dict.fromkeys(key for values in lines.values() for key in values))
    inner = math.ceil(min(value for values in lines.values() for value in values.values())) - 1
    circle = _Circle(len(keys), inner, best)
    rings = ([circle(ray, ring) for ray in range(len(keys))] for ring in range(inner, best + 1))
    parts = [_polygon(ring, "none", "grid") for ring in rings]
    for ring in range(inner + 1, best + 1):
        x, y = circle(0, ring)
        parts.append(_text(x + 5, y + 14, str(ring), "start", "small"))
    parts += [_text(*circle.label(ray), key, circle.anchor(ray)) for ray, key in enumerate(keys)]
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [circle(ray, values[key]) for ray, key in enumerate(keys) if key in values]
        parts.append(_polygon(points, colour))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(f'<circle cx="14" cy="{20 * number + 16}" r="5" fill="{colour}"/>')
        parts.append(_text(26, 20 * number + 20, name, "start"))
    texts = (f"{name}: {', '.join(f'{key} {value:.2f}' for key, value in of.items())}" for name, of in lines.items())
    return _svg(2 * circle.radius + 120, parts, "; ".join(texts))


def standalone(svg: str) -> str:
    """Return a plot as the content of an .svg file, with its styles."""
    width, height = svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split(" ")
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
    head, body = svg.replace("<svg", opening, 1).split(">", 1)
    return f"{head}><style>{style()}</style>{body}\n"


def style() -> str:
    """Return the styles of plots."""
    return files("moa.evals.report").joinpath("svg.css").read_text("utf-8")


_Box = tuple[float, float, float, float]
"""The left, top, right and bottom of a label."""


def _free_box(x: float, y: float, width: float, left: float, right: float, taken: Sequence[_Box]) -> _Box:
    """Return where the label of a point does not cover others, if there is such a place near it."""
    at = x + 9 if x + 9 + width < right else max(left, min(x - 9, right) - width)
    boxes = [(at, y + shift - 12, at + width, y + shift + 2) for shift in (-7, 16, -22, 31)]
    return next((box for box in boxes if not any(_overlap(box, other) for other in taken)), boxes[0])


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


class _CategoryPlot:
    """The frame of a plot of series over categories: axes, labels and a legend above."""

    left, right = 56.0, WIDTH - 16.0
    columns = 3  # of the legend

    def __init__(self, series: Series, zero: bool = False) -> None:
        self._categories = list(dict.fromkeys(category for values in series.values() for category in values))
        ends = [end for values in series.values() for one in values.values() for end in (one.value, one.low, one.high)]
        self._ticks = _ticks(min([*ends, *([0.0] if zero else [])]), max(ends))
        top = 34.0 + 20 * math.ceil(len(series) / self.columns)
        self._bottom = top + 272
        self.height = self._bottom + 50
        self.step = (self.right - self.left) / len(self._categories)
        self.up = _Scale(self._ticks[0], self._ticks[-1], self._bottom, top)
        texts = (
            f"{name}: {', '.join(f'{category} {one.value:.1f}' for category, one in values.items())}"
            for name, values in series.items()
        )
        self.description = "; ".join(texts)
        self._top = top

    def x(self, category: str) -> float:
        return self.left + (self._categories.index(category) + 0.5) * self.step

    def frame(self, axis: str, value: str) -> list[str]:
        parts = _grid(self._ticks, self.up, self.left, self.right)
        parts.append(_text(self.left - 40, self._top - 16, value, "start", "small"))
        parts.append(_text((self.left + self.right) / 2, self.height - 8, axis, "middle"))
        letters = int(self.step / LETTER)
        for category in self._categories:
            parts.append(_text(self.x(category), self._bottom + 18, _shortened(category, letters), "middle", "small"))
        return parts

    def legend(self, number: int, name: str, colour: str) -> list[str]:
        column, row = number % self.columns, number // self.columns
        wide = (self.right - self.left) / self.columns
        x, y = self.left + column * wide, 16.0 + 20 * row
        label = _text(x + 16, y, _shortened(name, int((wide - 24) / LETTER)), "start")
        return [f'<circle cx="{x + 6:.1f}" cy="{y - 4:.1f}" r="5" fill="{colour}"/>', label]


@dataclass(frozen=True, slots=True)
class _Circle:
    """Positions on the rays of a radar plot. The first ray points up, the others follow clockwise."""

    rays: int
    inner: float
    outer: float
    radius: float = 190.0

    def __call__(self, ray: int, value: float) -> tuple[float, float]:
        return self._at(ray, self.radius * (value - self.inner) / (self.outer - self.inner))

    def label(self, ray: int) -> tuple[float, float]:
        x, y = self._at(ray, self.radius + 14)
        return x, y + 4

    def anchor(self, ray: int) -> str:
        side = math.sin(2 * math.pi * ray / self.rays)
        return "middle" if abs(side) < 0.1 else "start" if side > 0 else "end"

    def _at(self, ray: int, distance: float) -> tuple[float, float]:
        angle = 2 * math.pi * ray / self.rays
        return WIDTH / 2 + distance * math.sin(angle), self.radius + 60 - distance * math.cos(angle)


def _polygon(points: Sequence[tuple[float, float]], colour: str, kind: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if kind:
        return f'<polygon class="{kind}" points="{path}" fill="{colour}"/>'
    return f'<polygon points="{path}" fill="{colour}" fill-opacity="0.08" stroke="{colour}" stroke-width="2"/>'


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        ends = (value, self.low, self.high)
        at, low, high = map(math.log10, ends) if self.logarithmic else ends
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def _grid(ticks: Sequence[float], up: _Scale, left: float, right: float) -> list[str]:
    lines = [_line(left, up(tick), right, up(tick), "grid") for tick in ticks]
    return lines + [_text(left - 8, up(tick) + 4, f"{tick:g}", "end", "small") for tick in ticks]


def _powers(low: float, high: float) -> list[float]:
    """Return the powers of ten around a range."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers around a range."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(times for times in (1, 2, 2.5, 5, 10) if span / (step * times) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _shortened(label: str, letters: int) -> str:
    return label if len(label) <= letters else f"{label[: max(1, letters - 1)]}…"


def _described(row: Row) -> str:
    interval = "" if row.low is None or row.high is None else f", from {row.low:.1f} to {row.high:.1f}"
    return f"{row.value:.1f}{interval}"


def _svg(height: float, parts: Sequence[str], description: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(description, quote=True)}">'
    return "".join((head, *parts, "</svg>"))
