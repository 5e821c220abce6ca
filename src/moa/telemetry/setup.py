"""Whether runs are told to OpenTelemetry, and where to: `[telemetry]` in moa.toml, and its usual environment.

Nothing of OpenTelemetry is loaded to find that out.
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

Tell = Callable[[str], None]

DEFAULT = "http://localhost:4318"


@dataclass(frozen=True)
class Places:
    """Where traces and metrics go, as whole addresses; `None`: nowhere."""

    traces: str | None
    metrics: str | None


def places(table: TelemetryTable, environment: Mapping[str, str]) -> Places | None:
    """Where telemetry is to go, or `None` where there is to be none.

    The environment turns it on by naming an endpoint or an exporter, as the specification of OpenTelemetry says; an
    endpoint in `moa.toml` goes before one in the environment.
    """
    if not table.enabled or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    base = table.endpoint or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None

    def place(signal: str, asked: bool) -> str | None:
        exporter = environment.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()
        own = None if table.endpoint else environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        if exporter == "none" or not (asked or own or exporter):
            return None
        return own or f"{(base or DEFAULT).rstrip('/')}/v1/{signal}"

    found = Places(place("traces", base is not None), place("metrics", base is not None and table.metrics))
    return found if found.traces or found.metrics else None


def unfit(environment: Mapping[str, str]) -> str | None:
    """What of the environment cannot be done, or `None`."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        if environment.get(name, "").strip().lower() not in ("", "none", "otlp"):
            return f"{name}={environment[name]} is not known here; say otlp or none"
    for name in ("", "_TRACES", "_METRICS"):
        name = f"OTEL_EXPORTER_OTLP{name}_PROTOCOL"
        if environment.get(name, "").strip() not in ("", "http/protobuf"):
            return f"{name}={environment[name]} is not spoken here; say http/protobuf, usually at port 4318"
    return None


@contextmanager
def observed(table: TelemetryTable, tell: Tell) -> Iterator[Telemetry | None]:
    """What tells runs to OpenTelemetry, or `None`. What is wrong is told in one line, and stops nothing.

    At the end, what there is still to be sent is sent.
    """
    with ExitStack() as closing:
        yield _begun(table, tell, closing)


def _begun(table: TelemetryTable, tell: Tell, closing: ExitStack) -> Telemetry | None:
    found = places(table, os.environ)
    if found is None:
        return None
    problem = unfit(os.environ)
    if problem is None:
        try:
            from .otlp import sending
        except ModuleNotFoundError as error:
            problem = f'{error.name} is missing: pip install "mixture-of-agents[otel]"'
        else:
            told = sending(found.traces, found.metrics, tell, content=table.content, propagate=table.propagate)
            return closing.enter_context(told)
    tell(f"no telemetry is sent: {problem}")
    return None
