"""Imports runs from JSON lines: each event as `events.to_json` gives it, run after run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..errors import StoreError
from ..events import VERSION, Event, SpanEnd, SpanStart, from_record


def runs_of(lines: Iterable[bytes]) -> Iterator[list[Event]]:
    """Yield the runs in these lines, each with all its events. Raises `StoreError` with the number of a wrong line."""
    runs: dict[str, _Run] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record: dict[str, Any] = orjson.loads(line)
            start = record["type"] == "span_start"
            begins = start and record.get("parent") is None
            run = _Run(record.get("version") or 1) if begins else runs.get(record["parent" if start else "span"])
            if run and run.version > VERSION:
                raise StoreError(
                    f"line {number}: the run was stored by a newer moa (version {run.version}; not {VERSION})"
                )
            event = from_record(record, run.version if run else VERSION)
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"line {number} is no event of a run; moa runs export and moa ask --jsonl print such"
            ) from None
        if run is None:
            raise StoreError(f"line {number} belongs to no run that has begun before it")
        runs[event.span] = run
        run.events.append(event)
        if isinstance(event, SpanEnd) and run.events[0].span == event.span:
            yield run.events
            runs = {span: one for span, one in runs.items() if one is not run}
    yield from {id(run): run.events for run in runs.values()}.values()


@dataclass
class _Run:
    """A run whose lines are still being read, and the version of its events."""

    version: int
    events: list[Event] = field(default_factory=list)


def taken(lines: Iterable[bytes], there: Callable[[str], bool], put: Callable[[Event], None]) -> tuple[int, int]:
    """Store the runs of these lines. Return how many were new and how many were stored already."""
    put_in = known = 0
    for run in runs_of(lines):
        start = run[0]
        assert isinstance(start, SpanStart)
        if there(start.run):
            known += 1
            continue
        put_in += 1
        for event in run:
            put(event)
    return put_in, known
