"""Runs as OpenTelemetry traces and metrics; needs `pip install "mixture-of-agents[otel]"`."""

from .exporter import Telemetry
from .ids import RunIds

__all__ = ["RunIds", "Telemetry"]
