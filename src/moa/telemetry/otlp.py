"""Sends telemetry by OTLP over HTTP, in batches, from threads of its own."""

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

Warn = Callable[[str], None]

SHUTDOWN_TIMEOUT = 2.0
"""Seconds for which an unreachable endpoint is retried at the end."""

TIMEOUT = 5.0
"""Seconds for a response, unless the environment sets another timeout."""


@contextmanager
def otlp_telemetry(
    traces_url: str | None, metrics_url: str | None, warn: Warn, *, content: bool | None, propagate: bool
) -> Iterator[Telemetry]:
    """Yield telemetry for these URLs. A failing one is passed to `warn` once, until it works again."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # failures are reported once, by _Reporting
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else TIMEOUT
    resource = _resource()
    with ExitStack() as stack:
        traces: Any = NoOpTracerProvider()
        meters: Any = NoOpMeterProvider()
        if metrics_url:
            metric_exporter = _Metrics(metrics_url, timeout=timeout)
            metric_exporter.warn = warn
            meters = MeterProvider([PeriodicExportingMetricReader(metric_exporter)], resource, shutdown_on_exit=False)
            stack.enter_context(_closed(meters.shutdown, metric_exporter.shutdown))
        if traces_url:
            span_exporter = _Spans(traces_url, timeout=timeout)
            span_exporter.warn = warn
            traces = TracerProvider(resource=resource, id_generator=RunIds(), shutdown_on_exit=False)
            traces.add_span_processor(BatchSpanProcessor(span_exporter))
            stack.enter_context(_closed(traces.shutdown, span_exporter.shutdown))
        telemetry = Telemetry(traces, meters, content=content, propagate=propagate)
        stack.callback(telemetry.close)
        yield telemetry


class _Reporting:
    """A mixin for exporters that reports when they begin to fail."""

    warn: Warn
    _failing = False

    def export(self, *data: Any, **options: Any) -> Any:
        result = super().export(*data, **options)  # type: ignore[misc]
        failing = result.name != "SUCCESS"
        if failing and not self._failing:
            self.warn(f"telemetry is not sent: {self._endpoint} does not accept it")  # type: ignore[attr-defined]
        self._failing = failing
        return result


class _Spans(_Reporting, OTLPSpanExporter):
    """The exporter of traces."""


class _Metrics(_Reporting, OTLPMetricExporter):
    """The exporter of metrics."""


def _resource() -> Resource:
    """Return the resource of `$OTEL_SERVICE_NAME` and `$OTEL_RESOURCE_ATTRIBUTES`, by default named "moa"."""
    own = {"service.name": "moa", "service.version": version("mixture-of-agents")}
    detected = OTELResourceDetector().detect().attributes
    return Resource.create({key: value for key, value in own.items() if key not in detected})


@contextmanager
def _closed(shutdown: Callable[[], None], give_up: Callable[[], None]) -> Iterator[None]:
    """Flush at the end, for at most `SHUTDOWN_TIMEOUT` seconds if the endpoint is unreachable."""
    try:
        yield
    finally:
        timer = threading.Timer(SHUTDOWN_TIMEOUT, give_up)
        timer.daemon = True
        timer.start()
        shutdown()
        timer.cancel()
