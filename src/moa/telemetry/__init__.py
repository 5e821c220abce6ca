"""OpenTelemetry traces and metrics of runs; needs `pip install "mixture-of-agents[otel]"`.

OpenTelemetry is imported with `Telemetry` or `RunIds`, so that `telemetry.setup` can be imported without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import Telemetry
    from .ids import RunIds

__all__ = ["RunIds", "Telemetry"]


def __getattr__(name: str) -> Any:
    if name == "Telemetry":
        from .exporter import Telemetry

        return Telemetry
    if name == "RunIds":
        from .ids import RunIds

        return RunIds
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
