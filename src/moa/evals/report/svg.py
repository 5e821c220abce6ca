"""Plots as plain SVG for a page without scripts: values with their intervals, value against price, values in a circle.

Their colours are the page's: text is `currentColor`, marks are of the classes `mark`, `whisker`, `zero` and `grid`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .plots import COLOURS

WIDTH = 720
ROW = 30
FAR = 20
"""How many times the least price the most has to be for a logarithmic axis."""
LETTER = 7.2
"""About how wide a letter of a label is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A value with its interval, where there is one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """A value against a price; `front` says that nothing is better and cheaper."""

    label: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    front: bool = False


def intervals(rows: Sequence[Row], unit: str, zero: float | None = None) -> str:
    """A line a row: a dot for the value, a bar for its interval; `zero` is where there is no difference."""
    left = min(300.0, max(len(row.label) for row in rows) * LETTER + 16)
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    ticks = _ticks(min([*ends, *([] if zero is None else [zero])]), max([*ends, *([] if zero is None else [zero])]))
    right = WIDTH - 120.0
    scale = _Scale(ticks[0], ticks[-1], left, right)
    height = len(rows) * ROW + 34
    parts = [_line(scale(tick), 4, scale(tick), height - 30, "grid") for tick in ticks]
    parts += [_text(scale(tick), height - 12, f"{tick:g}", "middle", "small") for tick in ticks]
    if zero is not None:
        parts.append(_line(scale(zero), 0, scale(zero), height - 30, "zero"))
    for place, row in enumerate(rows):
        y = place * ROW + 18
        parts.append(_text(left - 12, y + 4, _shortened(row.label, left), "end"))
        if row.low is not None and row.high is not None:
            parts.append(_line(scale(row.low), y, scale(row.high), y, "whisker"))
        parts.append(f'<circle class="mark" cx="{scale(row.value):.1f}" cy="{y}" r="5"/>')
        parts.append(_text(right + 14, y + 4, f"{row.value:+.1f}" if zero == 0 else f"{row.value:.1f}{unit}", "start"))
    return _svg(height, parts, "; ".join(f"{row.label}: {_spoken(row)}" for row in rows))


def scattered(spots: Sequence[Spot], x_axis: str, y_axis: str) -> str:
    """Values against a price, with a line through those that nothing beats at their price.

    Prices that are far apart are on a logarithmic axis.
    """
    height, left, right, top, bottom = 356, 56.0, WIDTH - 24.0, 34.0, 306.0
    prices = [spot.x for spot in spots]
    far = min(prices) > 0 and max(prices) / min(prices) > FAR
    xs = _powers(min(prices), max(prices)) if far else _ticks(0, max(prices))
    ends = [end for spot in spots for end in (spot.y, spot.low, spot.high) if end is not None]
    ys = _ticks(min(ends), max(ends))
    across, up = _Scale(xs[0], xs[-1], left, right, far), _Scale(ys[0], ys[-1], bottom, top)
    parts = [_line(left, up(tick), right, up(tick), "grid") for tick in ys]
    parts += [_text(left - 8, up(tick) + 4, f"{tick:g}", "end", "small") for tick in ys]
    parts += [_text(across(tick), bottom + 18, f"{tick:g}", "middle", "small") for tick in xs]
    parts.append(_text((left + right) / 2, height - 8, x_axis, "middle"))
    parts.append(_text(left - 40, 12, y_axis, "start", "small"))
    front = sorted((spot for spot in spots if spot.front), key=lambda spot: spot.x)
    if len(front) > 1:
        path = " ".join(f"{across(spot.x):.1f},{up(spot.y):.1f}" for spot in front)
        parts.append(f'<polyline class="front" points="{path}"/>')
    taken: list[_Box] = []
    for spot in sorted(spots, key=lambda spot: (spot.x, -spot.y)):
        x, y = across(spot.x), up(spot.y)
        if spot.low is not None and spot.high is not None:
            parts.append(_line(x, up(spot.low), x, up(spot.high), "whisker thin"))
        parts.append(f'<circle class="{"mark" if spot.front else "mark off"}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        width = len(spot.label) * LETTER
        places = [(x + 9 if x + 9 + width < right else x - 9 - width, y + beside) for beside in (-7, 16, -22, 31)]
        boxes = [(at, down - 12, at + width, down + 2) for at, down in places]
        free = next((place for place, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)), 0)
        taken.append(boxes[free])
        parts.append(_text(*places[free], spot.label, "start"))
    return _svg(height, parts, "; ".join(f"{spot.label}: {spot.y:.1f} at {spot.x:g}" for spot in spots))


_Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a label."""


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def radar(lines: Mapping[str, Mapping[str, float]], most: int) -> str:
    """For each name its values around a circle, from the whole number below their least to `most`."""
    keys = list(dict.fromkeys(key for found in lines.values() for key in found))
    inner = math.ceil(min(value for found in lines.values() for value in found.values())) - 1
    circle = _Circle(len(keys), inner, most)
    rings = ([circle(place, ring) for place in range(len(keys))] for ring in range(inner, most + 1))
    parts = [_polygon(ring, "none", "grid") for ring in rings]
    for ring in range(inner + 1, most + 1):
        x, y = circle(0, ring)
        parts.append(_text(x + 5, y + 14, str(ring), "start", "small"))
    parts += [_text(*circle.label(place), key, circle.anchor(place)) for place, key in enumerate(keys)]
    for number, (name, found) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [circle(place, found[key]) for place, key in enumerate(keys) if key in found]
        parts.append(_polygon(points, colour))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(f'<circle cx="14" cy="{20 * number + 16}" r="5" fill="{colour}"/>')
        parts.append(_text(26, 20 * number + 20, name, "start"))
    told = (f"{name}: {', '.join(f'{key} {one:.2f}' for key, one in found.items())}" for name, found in lines.items())
    return _svg(2 * circle.radius + 120, parts, "; ".join(told))


@dataclass(frozen=True, slots=True)
class _Circle:
    """Where a value is on the ray of its place; the first ray points up, the others follow clockwise."""

    places: int
    inner: float
    outer: float
    radius: float = 190.0

    def __call__(self, place: int, value: float) -> tuple[float, float]:
        return self._at(place, self.radius * (value - self.inner) / (self.outer - self.inner))

    def label(self, place: int) -> tuple[float, float]:
        x, y = self._at(place, self.radius + 14)
        return x, y + 4

    def anchor(self, place: int) -> str:
        side = math.sin(2 * math.pi * place / self.places)
        return "middle" if abs(side) < 0.1 else "start" if side > 0 else "end"

    def _at(self, place: int, far: float) -> tuple[float, float]:
        angle = 2 * math.pi * place / self.places
        return WIDTH / 2 + far * math.sin(angle), self.radius + 60 - far * math.cos(angle)


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


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten from below the least to above the most."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the least to above the most."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(times for times in (1, 2, 2.5, 5, 10) if span / (step * times) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _shortened(label: str, left: float) -> str:
    most = int((left - 16) / LETTER)
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _spoken(row: Row) -> str:
    between = "" if row.low is None or row.high is None else f", from {row.low:.1f} to {row.high:.1f}"
    return f"{row.value:.1f}{between}"


def _svg(height: float, parts: Sequence[str], spoken: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(spoken, quote=True)}">'
    return "".join((head, *parts, "</svg>"))
