"""Plots of figures with their intervals, as SVG that takes the colours of the page it stands in, and as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..stats.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3b7dd8", "#e07b39", "#2f9e77", "#b455a0", "#c9a227", "#6f6ad8")
"""Told apart on white and on black, and by most who do not see all colours."""

INK = "#010203"
"""What text and axes are drawn with, and is replaced by the colour of the page's text."""

Series = Mapping[str, Mapping[str, Estimate]]
"""For each series, what stands at each place."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point with its name. `front` says that it is on the front, which is drawn as a line."""

    name: str
    x: float
    y: Estimate
    front: bool = False


def bars(series: Series, axis: str, value: str) -> Figure:
    """Bars side by side at each place, one for each series."""
    figure, axes = _begun(axis, value)
    places = _places(series)
    width = 0.8 / len(series)
    for number, (name, found) in enumerate(series.items()):
        at = [places.index(place) + (number - (len(series) - 1) / 2) * width for place in found]
        axes.bar(at, [one.value for one in found.values()], width * 0.9, color=_colour(number), label=name)
        axes.errorbar(at, **_errors(list(found.values())), fmt="none", ecolor=INK, capsize=3, linewidth=1)
    axes.set_xticks(range(len(places)), places)
    return _ended(figure, axes)


def lines(series: Series, axis: str, value: str) -> Figure:
    """A line for each series through the places."""
    figure, axes = _begun(axis, value)
    places = _places(series)
    for number, (name, found) in enumerate(series.items()):
        at = [places.index(place) + 0.04 * number for place in found]
        style: dict[str, Any] = {"color": _colour(number), "marker": "osD^vP"[number % 6], "capsize": 3, "label": name}
        axes.errorbar(at, **_errors(list(found.values())), **style)
    axes.set_xticks(range(len(places)), places)
    return _ended(figure, axes)


def points(found: Sequence[Point], axis: str, value: str) -> Figure:
    """Points, with a line through those on the front and their names, one for each place."""
    figure, axes = _begun(axis, value)
    front = sorted((one for one in found if one.front), key=lambda one: one.x)
    axes.plot([one.x for one in front], [one.y.value for one in front], color=_colour(0), linewidth=1, zorder=1)
    for colour, chosen in ((_colour(0), front), ("#8a8f98", [one for one in found if not one.front])):
        if chosen:
            at = [one.x for one in chosen]
            axes.errorbar(at, **_errors([one.y for one in chosen]), fmt="o", color=colour, capsize=2, elinewidth=0.8)
    axes.set_xlim(left=0)
    names = {(one.x, one.y.value): one.name for one in reversed(front)}
    middle = max((one.x for one in found), default=0.0) / 2
    for place, name in names.items():  # above and to the left of a front there is nothing
        side, aside = ("right", -6) if place[0] > middle else ("left", 6)
        axes.annotate(name, place, (aside, 5), textcoords="offset points", ha=side, fontsize=8, color=INK)
    return _ended(figure, axes)


def svg(figure: Figure) -> str:
    """The plot for a page: text stays text, and ink is the page's. The same plot is always the same bytes."""
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "moa", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = written.getvalue()
    return drawn[drawn.index("<svg") :].replace(INK, "currentColor")


def png(figure: Figure) -> bytes:
    """The plot on white."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return written.getvalue()


def _begun(axis: str, value: str) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError('plots need matplotlib; install it with: pip install "mixture-of-agents[eval]"') from None
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(axis, color=INK)
    axes.set_ylabel(value, color=INK)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.grid(axis="y", color="#8a8f98", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _ended(figure: Figure, axes: Axes) -> Figure:
    if shown := axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside upper center", ncols=min(3, len(shown)), frameon=False, labelcolor=INK)
    return figure


def _errors(found: Sequence[Estimate]) -> dict[str, Any]:
    below, above = [one.value - one.low for one in found], [one.high - one.value for one in found]
    return {"y": [one.value for one in found], "yerr": [below, above]}


def _places(series: Series) -> list[str]:
    """All places, in the order in which they first come."""
    return list(dict.fromkeys(place for found in series.values() for place in found))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
