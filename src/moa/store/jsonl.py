"""Runs as JSON lines: each event as `events.to_json` gives it, run after run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..errors import StoreError
from ..events import VERSION, Event, SpanEnd, SpanStart, from_json


def runs_of(lines: Iterable[bytes]) -> Iterator[list[Event]]:
    """The runs that these lines are, each with all its events. Raises `StoreError` with the number of a wrong line."""
    runs: dict[str, list[Event]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = from_json(line)
        except ValueError:
            raise StoreError(
                f"line {number} is no event of a run; moa runs export and moa ask --jsonl print such"
            ) from None
        if isinstance(event, SpanStart) and event.parent is None:
            if (event.version or 1) > VERSION:
                raise StoreError(
                    f"line {number}: the run was stored by a newer moa (version {event.version}; not {VERSION})"
                )
            runs[event.span] = []
        elif isinstance(event, SpanStart) and event.parent in runs:
            runs[event.span] = runs[event.parent]
        if event.span not in runs:
            raise StoreError(f"line {number} belongs to no run that has begun before it")
        run = runs[event.span]
        run.append(event)
        if isinstance(event, SpanEnd) and run[0].span == event.span:
            yield run
            runs = {span: one for span, one in runs.items() if one is not run}
    yield from {id(run): run for run in runs.values()}.values()


def taken(lines: Iterable[bytes], there: Callable[[str], bool], put: Callable[[Event], None]) -> tuple[int, int]:
    """Put the runs of these lines where they are not there yet; how many were put, and how many were there."""
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
