"""Runs as OpenTelemetry traces and metrics; needs `pip install "mixture-of-agents[otel]"`."""

from .ids import RunIds
from .telemetry import Telemetry

__all__ = ["RunIds", "Telemetry"]
