"""The verdict on a mixture: stored in the results folder, and shown in a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...paths import write_atomically
from ..results_folder import ResultsFolder
from ..stats.comparison import Worth
from .html import table
from .summary import Tone, Verdict
from .svg import Row, interval_plot

WORTH = "worth.json"

TONES: Mapping[str, Tone] = {"worth it": "good", "not worth it": "bad", "not shown": "open"}


def store_worth(folder: ResultsFolder, mixture: str, worth: Worth) -> None:
    """Store the verdict in the results folder."""
    with write_atomically(folder.path / WORTH) as file:
        file.write(json.dumps({"mixture": mixture, **asdict(worth)}, ensure_ascii=False, indent=2) + "\n")


def stored_worth(folder: ResultsFolder) -> Mapping[str, Any] | None:
    """Return the stored verdict as JSON, or `None`."""
    path = folder.path / WORTH
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else None


def verdict(worth: Mapping[str, Any]) -> Verdict:
    """Return the sentence at the start of a report."""
    return f"{worth['mixture']} is {worth['sentence']}.", TONES[worth["verdict"]]


def comparison_section(worth: Mapping[str, Any]) -> str:
    """Return a plot and a table of the mixture's gains over its rivals."""
    rows, cells = [], []
    controlled = any(comparison["controlled"] for comparison in worth["comparisons"])
    for comparison in worth["comparisons"]:
        gain = comparison["controlled"] or comparison["gain"]
        rows.append(Row(comparison["rival"], gain["value"], gain["low"], gain["high"]))
        counts = f"{comparison['wins']} / {comparison['ties']} / {comparison['losses']}"
        gains = [_points(comparison["gain"]), *([_points(comparison["controlled"])] if controlled else [])]
        ratios = (_ratio(comparison["cost_ratio"]), _ratio(comparison["seconds_ratio"]))
        each = comparison["cost_per_win"]
        cells.append((comparison["rival"], counts, *gains, *ratios, "–" if each is None else f"{each:.2g}"))
    header = ["against", "won / tied / lost", "gain", *(["equal length"] if controlled else [])]
    header += ["cost", "time", "$ per win"]
    note = (
        "A gain of one point is one more prompt won, net, out of a hundred. Intervals have a confidence of "
        f"{worth['confidence']:.0%}. The verdict rests on the plotted gains. $ per win is the cost of one more prompt "
        "won. The first line is the best member, with an allowance for the luck of choosing it."
    )
    body = table(header, cells, numbers=range(1, len(header)))
    return f'{interval_plot(rows, "", zero=0)}{body}<p class="note">{note}</p>'


def _points(gain: Mapping[str, float]) -> str:
    return f"{gain['value']:+.1f} ({gain['low']:+.1f} .. {gain['high']:+.1f})"


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1f}x"
