"""What was found by trying candidates, as a table, as plots, as a page: what tuning and experiments have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..report.flags import flags
from ..report.html import Section, items, page
from ..report.plots import Point, png, points, svg
from ..results_folder import Folder
from .candidate import Candidate
from .tune import Measured, front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = Mapping[Candidate, Measured]


def cells(measured: Measured) -> tuple[str, str, str, str]:
    """Score, interval, cost and seconds, in words."""
    interval = f"{measured.score.low:.1f}..{measured.score.high:.1f}"
    cost = "unknown" if measured.cost is None else f"${measured.cost:.6f}"
    return f"{measured.score.value:.1f}", interval, cost, f"{measured.seconds:.2f}"


def prices(results: Results) -> dict[str, Figure]:
    """Score against what a question takes: seconds, and dollars where they tell anything."""
    axes = {"seconds": [one.seconds for one in results.values()]}
    if costs := [one.cost for one in results.values() if one.cost]:
        axes = {"cost": costs, **axes} if len(costs) == len(results) else axes
    titles = {"cost": "US dollars a question", "seconds": "seconds a question"}

    def drawn(axis: str) -> Figure:
        placed = list(zip(results.items(), axes[axis], strict=True))
        best = front({one: replace(made, cost=None, seconds=x) for (one, made), x in placed})
        return points([Point(one.name, x, made.score, one in best) for (one, made), x in placed], titles[axis], "score")

    return {axis: drawn(axis) for axis in axes}


def write(
    folder: Folder,
    name: str,
    title: str,
    said: tuple[str, str],
    sections: Sequence[Section],
    plots: Mapping[str, Figure],
    tried: Iterable[Candidate],
) -> list[Path]:
    """Write a page with the plots and the sections into the results folder, and each plot as SVG and PNG; where to.

    `said` is what it comes to, and its tone. A plot's name is said after the page's, but for one of the same name. What
    the guards find of the candidates that were tried comes last.
    """
    members = {one.name: [model for model, _ in one.proposers] + [one.aggregator or ""] for one in tried}
    careful = Section("To be careful with", items([flag.evidence for flag in flags(folder, members)]))
    shown = [Section("" if plot == name else f"Score and {plot}", svg(figure)) for plot, figure in plots.items()]
    written = [folder.path / f"{name}.html"]
    written[0].write_text(page(title, *said, [*shown, *sections, careful]), "utf-8", newline="\n")
    for plot, figure in plots.items():
        stem = folder.path / (name if plot == name else f"{name}-{plot}")
        written += [stem.with_suffix(".svg"), stem.with_suffix(".png")]
        written[-2].write_text(svg(figure), "utf-8", newline="\n")
        written[-1].write_bytes(png(figure))
    return written
