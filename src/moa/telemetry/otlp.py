"""Telemetry sent away: by OTLP over HTTP, in batches, from threads of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider

from .exporter import Telemetry
from .ids import RunIds

Tell = Callable[[str], None]

PATIENCE = 2.0
"""Seconds in which, at the end, a place that cannot be reached is tried again."""
TIMEOUT = 5.0
"""Seconds a place may take to answer, where the environment does not say."""


@contextmanager
def sending(
    to_traces: str | None, to_metrics: str | None, tell: Tell, *, content: bool | None, propagate: bool
) -> Iterator[Telemetry]:
    """Telemetry for these addresses. One that does not take it is told, once until it does again."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # what is not taken is told once, by us
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else TIMEOUT
    resource = _resource()
    with ExitStack() as closing:
        traces: Any = NoOpTracerProvider()
        meters: Any = NoOpMeterProvider()
        if to_metrics:
            measured = _Metrics(to_metrics, timeout=timeout)
            measured.tell = tell
            meters = MeterProvider([PeriodicExportingMetricReader(measured)], resource, shutdown_on_exit=False)
            closing.enter_context(_closed(meters.shutdown, measured.shutdown))
        if to_traces:
            spans = _Spans(to_traces, timeout=timeout)
            spans.tell = tell
            traces = TracerProvider(resource=resource, id_generator=RunIds(), shutdown_on_exit=False)
            traces.add_span_processor(BatchSpanProcessor(spans))
            closing.enter_context(_closed(traces.shutdown, spans.shutdown))
        telemetry = Telemetry(traces, meters, content=content, propagate=propagate)
        closing.callback(telemetry.close)
        yield telemetry


class _Told:
    """An exporter that says when it fails."""

    tell: Tell
    _failing = False

    def export(self, *data: Any, **options: Any) -> Any:
        result = super().export(*data, **options)  # type: ignore[misc]
        failing = result.name != "SUCCESS"
        if failing and not self._failing:
            self.tell(f"telemetry is not sent: {self._endpoint} does not take it")  # type: ignore[attr-defined]
        self._failing = failing
        return result


class _Spans(_Told, OTLPSpanExporter):
    """The exporter of traces."""


class _Metrics(_Told, OTLPMetricExporter):
    """The exporter of metrics."""


def _resource() -> Resource:
    """Who sends: as `$OTEL_SERVICE_NAME` and `$OTEL_RESOURCE_ATTRIBUTES` say, else "moa"."""
    own = {"service.name": "moa", "service.version": version("mixture-of-agents")}
    said = OTELResourceDetector().detect().attributes
    return Resource.create({key: value for key, value in own.items() if key not in said})


@contextmanager
def _closed(shutdown: Callable[[], None], give_up: Callable[[], None]) -> Iterator[None]:
    """Send the rest at the end; a place that cannot be reached by then is given up after a while."""
    try:
        yield
    finally:
        timer = threading.Timer(PATIENCE, give_up)
        timer.daemon = True
        timer.start()
        shutdown()
        timer.cancel()
