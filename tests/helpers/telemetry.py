"""Telemetry in memory for inspection, and a collector that receives it over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moa.telemetry import RunIds, Telemetry


class InMemoryTelemetry(Telemetry):
    """Telemetry in memory, passed as `emit`; `spans` and `metrics` are what was exported."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        traces = TracerProvider(id_generator=RunIds())
        traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        super().__init__(traces, MeterProvider([self._reader]), **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The ended spans, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    @property
    def open(self) -> int:
        """The number of open spans."""
        return len(self._open)

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def measured(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the sums of a metric by the values of its attributes, in the order of the attributes' names."""
        exported = self._reader.get_metrics_data()
        found: dict[tuple[str, ...], float] = {}
        for scope in (scope for one in exported.resource_metrics for scope in one.scope_metrics) if exported else ():
            for metric in scope.metrics:
                for point in metric.data.data_points if metric.name == name else ():
                    labels = tuple(str(value) for _, value in sorted((point.attributes or {}).items()))
                    found[labels] = getattr(point, "sum", None) or getattr(point, "value", 0.0)
        return found

    def tree(self) -> list[str]:
        """Return the spans as an indented list, each below its parent."""
        ids = {span.context.span_id for span in self.spans if span.context}

        def below(parent: int | None, depth: int) -> Iterator[str]:
            for span in self.spans:
                assert span.context
                above = span.parent.span_id if span.parent and span.parent.span_id in ids else None
                if above == parent:
                    yield "  " * depth + span.name
                    yield from below(span.context.span_id, depth + 1)

        return list(below(None, 0))


class Collector:
    """Receives OTLP over HTTP: `with Collector() as collector`, at `collector.url`."""

    def __init__(self, status: int = 200) -> None:
        taken: list[tuple[str, bytes]] = []
        self.taken = taken
        self.headers: list[dict[str, str]] = []
        kept = self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append(dict(self.headers))
                taken.append((self.path, body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self) -> list[Span]:
        """Return the received spans."""
        found: list[Span] = []
        for path, body in self.taken:
            if path == "/v1/traces":
                exported = ExportTraceServiceRequest.FromString(body)
                found += [span for one in exported.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found

    @property
    def metrics(self) -> set[str]:
        """Return the names of the received metrics."""
        exported = [ExportMetricsServiceRequest.FromString(body) for path, body in self.taken if path == "/v1/metrics"]
        every = (one for request in exported for one in request.resource_metrics)
        return {metric.name for one in every for scope in one.scope_metrics for metric in scope.metrics}
