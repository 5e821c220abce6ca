"""A fold of the events of runs: every call a span, with its retries inside; every figure a measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import notes
from ..events import Event, Note, SpanEnd, SpanStart, TextDelta
from . import attributes as names
from .ids import RunIds
from .metrics import Measures

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable by which instrumentations of models are told to record what was said."""


@dataclass(eq=False)
class _Call:
    """A call, or a layer, that goes on."""

    start: SpanStart
    span: trace.Span
    run: str
    began: int  # the run's beginning, in nanoseconds of Unix time
    above: _Call | None
    below: dict[str, _Call] = field(default_factory=dict)  # what still goes on below it
    holds: bool = False  # whether there are, or were, calls below it
    first: float | None = None
    retries: int = 0
    queued: float = 0.0
    sent: Sequence[Mapping[str, Any]] | None = None

    def at(self, time: float) -> int:
        """A moment of the run in nanoseconds of Unix time."""
        return self.began + int(time * 1e9)


class Telemetry:
    """Give it to `generate` or `stream` as `emit`; any number of runs may go on at the same time.

    Spans go to `traces` and measurements to `meters`, by default the global providers; a run becomes a child of the
    span that is current where it is asked. With a provider whose ids are `RunIds`, a trace and its spans have the ids
    of the run and its calls; every span says the run's as `moa.run.id` too. What is asked and answered is recorded only
    with `content`, or where that is not said and `$OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is true. With
    `propagate`, each call over HTTP carries the `traceparent` of its span.
    """

    def __init__(
        self,
        traces: trace.TracerProvider | None = None,
        meters: metrics.MeterProvider | None = None,
        *,
        content: bool | None = None,
        propagate: bool = True,
    ) -> None:
        traces = traces or trace.get_tracer_provider()
        self._tracer = traces.get_tracer("moa")
        ids = getattr(traces, "id_generator", None)
        self._ids = ids if isinstance(ids, RunIds) else None
        self._measures = Measures(meters or metrics.get_meter_provider())
        self._content = captured() if content is None else content
        self._propagate = propagate
        self._w3c = TraceContextTextMapPropagator()
        self._open: dict[str, _Call] = {}

    def __call__(self, event: Event) -> None:
        """Take in an event. What belongs to a run that was not given from its first event on is left out."""
        call = self._open.get(event.span)
        if isinstance(event, TextDelta):
            if call and call.first is None:
                call.first = event.time
        elif isinstance(event, SpanStart):
            if event.parent is None or event.parent in self._open:
                self._begin(event)
        elif call is None:
            return
        elif isinstance(event, Note):
            self._note(call, event)
        else:
            self._end(call, event)

    def headers(self, span: str) -> Mapping[str, str]:
        """What goes along with the call of this span: where it stands in its trace."""
        carrier: dict[str, str] = {}
        if self._propagate and (call := self._open.get(span)):
            self._w3c.inject(carrier, set_span_in_context(call.span))
        return carrier

    @contextmanager
    def within(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Runs that are asked within are part of the trace that these HTTP headers (in lower case) speak of."""
        token = context.attach(self._w3c.extract(headers))
        try:
            yield
        finally:
            context.detach(token)

    def close(self) -> None:
        """End the spans of runs that never came to their end."""
        for call in list(self._open.values()):
            if call.above is None:
                self._cut_off(call, call.start.time)

    def _begin(self, start: SpanStart) -> None:
        above = self._open[start.parent] if start.parent else None
        if above and not above.holds:
            above.holds = True
            above.span.update_name(names.name(above.start, holds=True))
            above.span.set_attributes(names.holding(above.start))
        began = above.began if above else int((start.started_at or 0.0) * 1e9)
        run = above.run if above else start.run
        with self._ids.of(run, start.span) if self._ids else nullcontext():
            span = self._tracer.start_span(
                names.name(start, holds=False),
                set_span_in_context(above.span) if above else None,
                SpanKind.INTERNAL if names.within(start) else SpanKind.CLIENT,
                names.begun(start, run),
                start_time=began + int(start.time * 1e9),
            )
        self._open[start.span] = call = _Call(start, span, run, began, above)
        if above:
            above.below[start.span] = call

    def _note(self, call: _Call, note: Note) -> None:
        match note.data:
            case notes.Retry():
                call.first, call.retries = None, call.retries + 1
                self._measures.retried(call.start)
            case notes.Dequeued(seconds=seconds):
                call.queued += seconds
            case notes.Cached() | notes.Replayed():
                call.span.set_attribute(names.CACHED, True)
            case notes.RequestRewritten(messages=messages):
                call.sent = messages
        values = names.noted(note, self._content)
        if values is not None and call.span.is_recording():
            call.span.add_event(f"moa.{note.kind}", values, call.at(note.time))

    def _end(self, call: _Call, end: SpanEnd) -> None:
        for one in list(call.below.values()):
            self._cut_off(one, end.time)
        del self._open[end.span]
        if call.above:
            del call.above.below[end.span]
        self._measures.ended(call.start, end, call.first, call.holds)
        lost = end.error is not None and call.above is not None and call.above.start.role == "layer"
        if lost:
            self._measures.lost(call.start)
        if call.span.is_recording():
            call.span.set_attributes(self._told(call, end, lost))
            if end.error is not None:
                call.span.set_status(Status(StatusCode.ERROR, end.error))
        call.span.end(call.at(end.time))

    def _told(self, call: _Call, end: SpanEnd, lost: bool) -> names.Values:
        values = names.ended(end, call.holds)
        if call.first is not None and not call.holds:
            values[names.FIRST_CHUNK] = call.first - call.start.time
        if call.retries:
            values[names.RETRIES] = call.retries
        if call.queued:
            values[names.QUEUED] = call.queued
        if lost:
            values[names.LOST] = True
        if self._content:
            values |= names.said(call.start, call.sent, end, call.holds)
        return values

    def _cut_off(self, call: _Call, time: float) -> None:
        self._end(call, SpanEnd(call.start.span, max(time, call.start.time), "cut off"))


def captured() -> bool:
    """Whether the environment asks for what was said."""
    return os.environ.get(CONTENT, "").strip().lower() in ("true", "1", "span_only", "span_and_event")
