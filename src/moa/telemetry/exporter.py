"""Turns the events of runs into OpenTelemetry spans and metrics: a span for each call, retries as span events."""

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
from .metrics import Metrics

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable with which instrumentations of models record messages."""


@dataclass(eq=False)
class _Call:
    """A call, or a layer, in progress."""

    start: SpanStart
    span: trace.Span
    run: str
    run_started: int  # in nanoseconds of Unix time
    parent: _Call | None
    children: dict[str, _Call] = field(default_factory=dict)  # those in progress
    has_calls: bool = False  # whether there are, or were, calls below it
    first_chunk: float | None = None
    retries: int = 0
    queued: float = 0.0
    sent: Sequence[Mapping[str, Any]] | None = None

    def at(self, time: float) -> int:
        """Return a time of the run in nanoseconds of Unix time."""
        return self.run_started + int(time * 1e9)


class Telemetry:
    """An event sink that reports runs to OpenTelemetry. Pass it to `generate` or `stream` as `emit`.

    Several runs may be in progress at once. Spans go to `traces` and measurements to `meters`, by default the global
    providers. A run becomes a child of the current span. With a provider whose `id_generator` is `RunIds`, the trace
    and its spans have the ids of the run and its calls; the attribute `moa.run.id` is set in any case. Messages are
    recorded only with `content`, by default `$OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`. With `propagate`,
    each call over HTTP carries the `traceparent` of its span.
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
        self._metrics = Metrics(meters or metrics.get_meter_provider())
        self._content = captures_content() if content is None else content
        self._propagate = propagate
        self._w3c = TraceContextTextMapPropagator()
        self._open: dict[str, _Call] = {}

    def __call__(self, event: Event) -> None:
        """Add an event. Events of runs whose first event was not added are ignored."""
        call = self._open.get(event.span)
        if isinstance(event, TextDelta):
            if call and call.first_chunk is None:
                call.first_chunk = event.time
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
        """Return the trace context to send with the call of this span."""
        carrier: dict[str, str] = {}
        if self._propagate and (call := self._open.get(span)):
            self._w3c.inject(carrier, set_span_in_context(call.span))
        return carrier

    @contextmanager
    def within(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Make runs that start in this context part of the trace of these HTTP headers (in lower case)."""
        token = context.attach(self._w3c.extract(headers))
        try:
            yield
        finally:
            context.detach(token)

    def close(self) -> None:
        """End the spans of runs that have not ended."""
        for call in list(self._open.values()):
            if call.parent is None:
                self._cut_off(call, call.start.time)

    def _begin(self, start: SpanStart) -> None:
        parent = self._open[start.parent] if start.parent else None
        if parent and not parent.has_calls:
            parent.has_calls = True
            parent.span.update_name(names.name(parent.start, has_calls=True))
            parent.span.set_attributes(names.of_parent(parent.start))
        run_started = parent.run_started if parent else int((start.started_at or 0.0) * 1e9)
        run = parent.run if parent else start.run
        with self._ids.of(run, start.span) if self._ids else nullcontext():
            span = self._tracer.start_span(
                names.name(start, has_calls=False),
                set_span_in_context(parent.span) if parent else None,
                SpanKind.INTERNAL if names.is_local(start) else SpanKind.CLIENT,
                names.at_start(start, run),
                start_time=run_started + int(start.time * 1e9),
            )
        self._open[start.span] = call = _Call(start, span, run, run_started, parent)
        if parent:
            parent.children[start.span] = call

    def _note(self, call: _Call, note: Note) -> None:
        match note.data:
            case notes.Retry():
                call.first_chunk, call.retries = None, call.retries + 1
                self._metrics.retried(call.start)
            case notes.Dequeued(seconds=seconds):
                call.queued += seconds
            case notes.Cached() | notes.Replayed():
                call.span.set_attribute(names.CACHED, True)
            case notes.RequestRewritten(messages=messages):
                call.sent = messages
        values = names.of_note(note, self._content)
        if values is not None and call.span.is_recording():
            call.span.add_event(f"moa.{note.kind}", values, call.at(note.time))

    def _end(self, call: _Call, end: SpanEnd) -> None:
        for child in list(call.children.values()):
            self._cut_off(child, end.time)
        del self._open[end.span]
        if call.parent:
            del call.parent.children[end.span]
        self._metrics.ended(call.start, end, call.first_chunk, call.has_calls)
        lost = end.error is not None and call.parent is not None and call.parent.start.role == "layer"
        if lost:
            self._metrics.lost(call.start)
        if call.span.is_recording():
            call.span.set_attributes(self._end_attributes(call, end, lost))
            if end.error is not None:
                call.span.set_status(Status(StatusCode.ERROR, end.error))
        call.span.end(call.at(end.time))

    def _end_attributes(self, call: _Call, end: SpanEnd, lost: bool) -> names.Values:
        values = names.at_end(end, call.has_calls)
        if call.first_chunk is not None and not call.has_calls:
            values[names.FIRST_CHUNK] = call.first_chunk - call.start.time
        if call.retries:
            values[names.RETRIES] = call.retries
        if call.queued:
            values[names.QUEUED] = call.queued
        if lost:
            values[names.LOST] = True
        if self._content:
            values |= names.content(call.start, call.sent, end, call.has_calls)
        return values

    def _cut_off(self, call: _Call, time: float) -> None:
        self._end(call, SpanEnd(call.start.span, max(time, call.start.time), "cut off"))


def captures_content() -> bool:
    """Return whether the environment asks for the content of messages."""
    return os.environ.get(CONTENT, "").strip().lower() in ("true", "1", "span_only", "span_and_event")
