"""Two runs side by side: answers word by word, calls, cost and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from ...runs.compare import compare_calls
from ...store.reader import StoredRun
from ...text.diff import Change
from ...trace.tree import Trace
from .escape import printable
from .footer import cost

_MARKS = {"same": ("", ""), "gone": ("[-", "-]"), "new": ("{+", "+}")}
_STYLES = {"same": "", "gone": "red", "new": "green"}


def diff_text(changes: Iterator[tuple[Change, str]]) -> Text:
    """Return two texts as one, with [-removed-] and {+added+} words."""
    line = Text()
    for change, text in changes:
        before, after = _MARKS[change]
        words = printable(text).rstrip() if before else printable(text)
        line.append(f"{before}{words}{after}", _STYLES[change]).append(printable(text)[len(words) :])
    return line


def figures(runs: Sequence[tuple[StoredRun, Trace]]) -> list[tuple[str, ...]]:
    """Return a row per statistic, with its value in each of the runs."""
    columns = [_figures(run, trace) for run, trace in runs]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    calls = compare_calls([trace for _, trace in runs])
    return [*rows, *((f"{call.role} {call.model}", *map(str, call.counts)) for call in calls)]


def _figures(run: StoredRun, trace: Trace) -> dict[str, str]:
    usage = trace.root.usage if trace.root else None
    return {
        "mixture": run.model,
        "state": run.state,
        "time": f"{trace.time:.1f} s",
        "first word": "" if trace.first_word is None else f"{trace.first_word:.1f} s",
        "cost": cost(usage.cost) if usage else "",
        "tokens in": f"{usage.input_tokens:,}" if usage else "",
        "tokens out": f"{usage.output_tokens:,}" if usage else "",
        "failed": str(len(trace.lost)),
        "calls": str(len(trace.calls)),
    }
