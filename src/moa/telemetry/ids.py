"""Uses the ids of runs and calls as ids of OpenTelemetry's traces and spans.

Both have the same form: 128 bits for a run or trace, 64 bits for a call or span, in hexadecimal digits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator


class RunIds(IdGenerator):
    """An `id_generator` for a `TracerProvider`. Spans of other instrumentations get random ids."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._next = threading.local()

    @contextmanager
    def of(self, run: str, span: str) -> Iterator[None]:
        """Use these ids for the span that is started within the context."""
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
        """Return True: the last 56 bits of a run's id are random."""
        return True
