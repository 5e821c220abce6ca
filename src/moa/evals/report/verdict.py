"""The verdict on a mixture, kept beside the results, and how a report shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...paths import write_atomically
from ..results_folder import Folder
from ..stats.bootstrap import Worth
from . import svg as charts
from .html import table
from .leading import Verdict

WORTH = "worth.json"

TONES = {"worth it": "good", "not worth it": "bad", "not shown": "open"}


def keep(folder: Folder, mixture: str, told: Worth) -> None:
    """Keep the verdict beside the results."""
    with write_atomically(folder.path / WORTH) as file:
        file.write(json.dumps({"mixture": mixture, **asdict(told)}, ensure_ascii=False, indent=2) + "\n")


def kept(folder: Folder) -> Mapping[str, Any] | None:
    """The verdict that is kept beside the results, as JSON, or `None`."""
    path = folder.path / WORTH
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else None


def verdict(worth: Mapping[str, Any]) -> Verdict:
    """The sentence a page begins with."""
    return f"{worth['mixture']} is {worth['sentence']}.", TONES[worth["verdict"]]


def compared(worth: Mapping[str, Any]) -> str:
    """What the mixture wins over each of its rivals, drawn and as a table."""
    rows, cells = [], []
    controlled = any(one["controlled"] for one in worth["comparisons"])
    for one in worth["comparisons"]:
        gain = one["controlled"] or one["gain"]
        rows.append(charts.Row(one["rival"], gain["value"], gain["low"], gain["high"]))
        counted = f"{one['wins']} / {one['ties']} / {one['losses']}"
        gains = [_points(one["gain"]), *([_points(one["controlled"])] if controlled else [])]
        ratios = (_times(one["cost_ratio"]), _times(one["seconds_ratio"]))
        each = one["cost_per_win"]
        cells.append((one["rival"], counted, *gains, *ratios, "–" if each is None else f"{each:.2g}"))
    header = ["against", "won / tied / lost", "gain", *(["equal length"] if controlled else [])]
    header += ["cost", "time", "$ a win"]
    note = (
        f"A gain of one point is one more prompt won, net, of a hundred; intervals at {worth['confidence']:.0%}. "
        "The bars are what the verdict rests on; $ a win is what one more prompt won costs. "
        "The first line is the best member, luck in choosing it allowed for."
    )
    told = table(header, cells, numbers=range(1, len(header)))
    return f'{charts.intervals(rows, "", zero=0)}{told}<p class="note">{note}</p>'


def _points(gain: Mapping[str, float]) -> str:
    return f"{gain['value']:+.1f} ({gain['low']:+.1f} .. {gain['high']:+.1f})"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1f}x"
