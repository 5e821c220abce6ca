"""Counts the calls of each model as runs are written, so that statistics of 100,000 runs are read from few rows.

A call of a run belongs to a series: one day, one mixture, one role, one model. A series holds the sums of its calls and
the distribution of their times, in slots that grow by a twentieth each. Removed runs are subtracted.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson

from .. import notes
from ..trace.tree import Node, Trace
from .encoding import events
from .texts import stored_texts, whole

ROLES = ("root", "proposer", "aggregator", "judge")
"""Of which calls figures are kept. The root stands for the whole run."""

GROWTH = math.log(1.05)

UNTRACED = "traced IS NULL AND state = 'answered' AND question IS NOT NULL"
"""Which runs may yet be asked where their answers came from."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one call, or sums of several.

    `lost` calls gave no answer, `cached` ones were answered from the cache, the others were `made`. Only for those,
    `request_tokens` is the length of their requests, estimated from the text. `unpriced` is the number of calls of
    unknown cost, `shared` of those whose `share` of the answer was traced.
    """

    calls: int = 0
    lost: int = 0
    cached: int = 0
    made: int = 0
    retries: int = 0
    request_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    share: float = 0.0
    shared: int = 0


COLUMNS = tuple(field.name for field in fields(Counts))

Over = tuple[int, float, str | None, Trace]
"""A run that is over: its number in the store, when it began (Unix time), whose it is, and what happened."""

_values = attrgetter(*COLUMNS)

_MARKS = ", ".join("?" * (5 + len(COLUMNS)))

_SERIES = f"""
    INSERT INTO series (day, owner, mixture, role, model, {", ".join(COLUMNS)}) VALUES ({_MARKS})
    ON CONFLICT (day, owner, mixture, role, model) DO UPDATE
    SET {", ".join(f"{name} = {name} + excluded.{name}" for name in COLUMNS)} RETURNING number
"""  # noqa: S608

_CALL = f"""
    INSERT INTO calls (run, span, series, seconds, first_word, {", ".join(COLUMNS)}) VALUES ({_MARKS})
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Called:
    """One call: its model, role and mixture. Times are slots, `None` unless the call was made (and streamed)."""

    span: str
    mixture: str
    role: str
    model: str
    counts: Counts
    seconds: int | None = None
    first_word: int | None = None


def slot(seconds: float) -> int:
    """Return the slot of a time."""
    return round(math.log(min(max(0.001, seconds), 1e9)) / GROWTH)


def seconds(slot: int) -> float:
    """Return the time that a slot stands for."""
    return math.exp(slot * GROWTH)


def day(moment: float) -> str:
    """Return the local date of a moment, or "" for one outside the calendar."""
    try:
        return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return ""


def called(trace: Trace) -> list[Called]:
    """Return the calls of a finished run, the whole run first. A fallback that answered counts as its model."""
    assert trace.root
    root = trace.root
    return [_called(root, root.start.model, trace.first_word), *_below(root, root.start.model)]


def _below(node: Node, mixture: str) -> Iterator[Called]:
    for child in node.children:
        spare = child.start.role == node.start.role and not _mixes(node)
        if child.start.role in ROLES and not spare:
            yield _called(child, mixture, child.first_word)
        yield from _below(child, child.start.model if _mixes(child) else mixture)


def _called(node: Node, mixture: str, first_word: float | None) -> Called:
    leaves = [one for one in node.walk() if one.is_call]
    lost = node.error is not None and node.error != "cancelled"
    cached = not lost and any(
        isinstance(note.data, notes.Cached | notes.Replayed) for one in leaves for note in one.notes
    )
    made = not (lost or cached or node.error or node.end is None)
    usage, start = node.usage, node.start
    counts = Counts(
        1,
        lost,
        cached,
        made,
        len(node.notes_of(notes.Retry)),
        start.request.size if made and start.request else 0,
        usage.input_tokens if usage else 0,
        usage.output_tokens if usage else 0,
        (usage.cost or 0.0) if usage else 0.0,
        usage is not None and usage.cost is None,
    )
    took = slot(node.end.time - start.time) if made and node.end else None
    first_slot = slot(first_word - start.time) if made and first_word is not None else None
    return Called(start.span, mixture, start.role, start.model, counts, took, first_slot)


def _mixes(node: Node) -> bool:
    return any(child.start.role == "layer" for child in node.children)


def fill(db: sqlite3.Connection) -> None:
    """Count the runs of a store that has not counted them."""
    ended = "SELECT number, started, owner FROM runs WHERE state IN ('answered', 'failed', 'stopped')"
    for number, started, owner in db.execute(ended).fetchall():
        chunks = db.execute("SELECT body FROM chunks WHERE run = ? ORDER BY number", (number,)).fetchall()
        trace = Trace()
        for event in events([one for (body,) in chunks for one in orjson.loads(body)], whole(stored_texts(db, number))):
            trace.add(event)
        put(db, [(number, started, owner, trace)])


def put(db: sqlite3.Connection, over: Iterable[Over]) -> None:
    """Count finished runs."""
    series: dict[tuple[str, str, str, str, str], list[tuple[int, Called]]] = {}
    for run, started, owner, trace in over:
        on = day(started)
        for call in called(trace):
            key = (on, owner or "", call.mixture, call.role, call.model)
            series.setdefault(key, []).append((run, call))
    for key, calls in series.items():
        counts = [_values(call.counts) for _, call in calls]
        sums = map(sum, zip(*counts, strict=True))
        (number,) = db.execute(_SERIES, (*key, *sums)).fetchone()
        rows = zip(calls, counts, strict=True)
        db.executemany(_CALL, [(run, c.span, number, c.seconds, c.first_word, *count) for (run, c), count in rows])
        for measure in ("seconds", "first_word"):
            slots = Counter(getattr(call, measure) for _, call in calls)
            _spread(db, number, measure, slots, 1)


def remove(db: sqlite3.Connection, run: int) -> None:
    """Subtract a run."""
    names = ("series", "seconds", "first_word", *COLUMNS)
    for row in db.execute(f"SELECT {', '.join(names)} FROM calls WHERE run = ?", (run,)).fetchall():  # noqa: S608
        series, took, first_slot, *counts = row
        _add(db, series, dict(zip(COLUMNS, counts, strict=True)), {"seconds": took, "first_word": first_slot}, -1)
    db.execute("DELETE FROM calls WHERE run = ?", (run,))


def clear(db: sqlite3.Connection) -> None:
    """Delete empty series."""
    db.execute("DELETE FROM series WHERE calls = 0")


def share(db: sqlite3.Connection, run: int, shares: Mapping[str, float]) -> None:
    """Store which share of a run's answer came from these calls, by span."""
    db.execute("UPDATE runs SET traced = 1 WHERE number = ?", (run,))
    for span, part in shares.items():
        made = db.execute(
            "UPDATE calls SET share = ?, shared = 1 WHERE run = ? AND span = ? AND NOT shared", (part, run, span)
        )
        if made.rowcount:
            (series,) = db.execute("SELECT series FROM calls WHERE run = ? AND span = ?", (run, span)).fetchone()
            _add(db, series, {"share": part, "shared": 1}, {}, 1)


def _add(
    db: sqlite3.Connection, series: int, counts: Mapping[str, Any], times: Mapping[str, int | None], sign: int
) -> None:
    sums = ", ".join(f"{name} = {name} + ?" for name in counts)
    db.execute(f"UPDATE series SET {sums} WHERE number = ?", (*(sign * one for one in counts.values()), series))  # noqa: S608
    for measure, place in times.items():
        _spread(db, series, measure, {place: 1}, sign)
    if sign < 0:
        db.execute("DELETE FROM spreads WHERE series = ? AND calls = 0", (series,))


def _spread(db: sqlite3.Connection, series: int, measure: str, slots: Mapping[int | None, int], sign: int) -> None:
    db.executemany(
        "INSERT INTO spreads (series, measure, slot, calls) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        [(series, measure, slot, sign * calls) for slot, calls in slots.items() if slot is not None],
    )
