"""The ids of runs and calls as those of traces and spans, so that a run has one name everywhere.

A run's id is 128 bits, a call's 64, in hexadecimal digits, exactly as a trace's and a span's are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator


class RunIds(IdGenerator):
    """Give it to a `TracerProvider` as its `id_generator`. Spans of others get random ids."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._next = threading.local()

    @contextmanager
    def of(self, run: str, span: str) -> Iterator[None]:
        """The span that is started within is this one of this run."""
        self._next.ids = run, span
        try:
            yield
        finally:
            self._next.ids = None

    def generate_trace_id(self) -> int:
        ids = getattr(self._next, "ids", None)
        return int(ids[0], 16) if ids else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        ids = getattr(self._next, "ids", None)
        return int(ids[1], 16) if ids else self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """The last 56 bits of a run's id are, which is what this means."""
        return True
