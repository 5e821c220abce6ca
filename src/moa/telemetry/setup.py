"""Telemetry as `[telemetry]` in moa.toml and the usual environment variables set it up.

OpenTelemetry is imported only if telemetry is enabled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.schema import TelemetryTable

if TYPE_CHECKING:
    from . import Telemetry

Warn = Callable[[str], None]

DEFAULT = "http://localhost:4318"


@dataclass(frozen=True)
class Endpoints:
    """The URLs of traces and metrics; `None` if they are not sent."""

    traces: str | None
    metrics: str | None


def endpoints(table: TelemetryTable, environment: Mapping[str, str]) -> Endpoints | None:
    """Return where telemetry is sent, or `None` if it is disabled.

    The environment enables it by naming an endpoint or an exporter, as in the specification of OpenTelemetry. An
    endpoint in `moa.toml` takes precedence.
    """
    if not table.enabled or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    base = table.endpoint or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None

    def endpoint(signal: str, enabled: bool) -> str | None:
        exporter = environment.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
        own = None if table.endpoint else environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        if exporter == "none" or not (enabled or own or exporter):
            return None
        return own or f"{(base or DEFAULT).rstrip('/')}/v1/{signal}"

    urls = Endpoints(endpoint("traces", base is not None), endpoint("metrics", base is not None and table.metrics))
    return urls if urls.traces or urls.metrics else None


def unsupported(environment: Mapping[str, str]) -> str | None:
    """Return what is wrong with the environment, or `None`."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        if environment.get(name, "").strip().lower() not in ("", "none", "otlp"):
            return f"{name}: must be otlp or none, got {environment[name]!r}"
    for name in ("", "_TRACES", "_METRICS"):
        name = f"OTEL_EXPORTER_OTLP{name}_PROTOCOL"
        if environment.get(name, "").strip() not in ("", "http/protobuf"):
            return f"{name}: must be http/protobuf (usually port 4318), got {environment[name]!r}"
    return None


@contextmanager
def start_telemetry(table: TelemetryTable, warn: Warn) -> Iterator[Telemetry | None]:
    """Yield the event sink that sends telemetry, or `None`. Problems are passed to `warn` in one line.

    At the end, buffered telemetry is sent.
    """
    with ExitStack() as stack:
        yield _start(table, warn, stack)


def _start(table: TelemetryTable, warn: Warn, stack: ExitStack) -> Telemetry | None:
    urls = endpoints(table, os.environ)
    if urls is None:
        return None
    problem = unsupported(os.environ)
    if problem is None:
        try:
            from .otlp import otlp_telemetry
        except ModuleNotFoundError as error:
            problem = f'{error.name} is missing: pip install "mixture-of-agents[otel]"'
        else:
            sink = otlp_telemetry(urls.traces, urls.metrics, warn, content=table.content, propagate=table.propagate)
            return stack.enter_context(sink)
    warn(f"no telemetry is sent: {problem}")
    return None
