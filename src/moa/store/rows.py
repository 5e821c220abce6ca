"""Stored runs as rows of a list, and as JSON."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .. import notes
from ..errors import RequestError
from ..trace.tree import Trace
from ..trace.views import call_json, response_of
from .reader import State, StoredRun
from .writer import question

if TYPE_CHECKING:
    from ..json_types import ListedRunJSON

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def moment(since: str) -> float:
    """Return a moment as Unix time: a time ago ("30m", "2h", "7d", "1w"), or a date in local time.

    Raises `RequestError`.
    """
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", since):
        return time.time() - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(since).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(f"{since!r} is no time: say 30m, 2h, 7d, or a date such as 2026-11-20") from None


def when(started: float) -> str:
    """Return a moment in local time, to the second."""
    return datetime.fromtimestamp(started).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def row(trace: Trace, state: State, error: str | None, owner: str | None) -> StoredRun:
    """Return a run that is not read from a store as a row of a list."""
    assert trace.root
    start = trace.root.start
    rerun = next(iter(trace.root.notes_of(notes.Rerun)), None)
    run = StoredRun(
        start.run,
        start.started_at or 0.0,
        start.model,
        state,
        question(start.request) if start.request else None,
        rerun.of if rerun else None,
        error,
        first_word=trace.first_word,
        owner=owner,
    )
    if state == "running":
        return run
    calls, lost = len(trace.calls), len(trace.lost)
    return replace(run, seconds=trace.time, calls=calls, lost=lost, usage=trace.root.usage)


def listed(run: StoredRun) -> ListedRunJSON:
    """Return a run as an entry of a list."""
    usage = run.usage
    return {
        "id": run.id,
        "started": when_exactly(run.started),
        "model": run.model,
        "state": run.state,
        "question": run.question,
        "parent": run.parent,
        "error": run.error,
        "seconds": run.seconds,
        "first_word": run.first_word,
        "calls": run.calls,
        "lost": run.lost,
        "owner": run.owner,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost": usage.cost if usage else None,
    }


def whole(run: StoredRun, trace: Trace) -> dict[str, Any]:
    """Return a run as one JSON object: the summary of its trace, its state, and the tree of its calls."""
    assert trace.root
    request = trace.root.start.request
    return {
        **trace.summary(response_of(trace.root)),
        "state": run.state,
        "started": when_exactly(run.started),
        "question": request.question if request else None,
        **({"parent": run.parent} if run.parent else {}),
        **({"error": trace.root.error} if trace.root.error else {}),
        "tree": call_json(trace.root),
    }


def when_exactly(started: float) -> str:
    """Return a moment in ISO 8601 with its offset from UTC."""
    return datetime.fromtimestamp(started).astimezone().isoformat(timespec="milliseconds")
