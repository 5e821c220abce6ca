"""Runs in numbers, for OpenTelemetry: tokens, seconds, dollars, retries and losses of every call."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider

from ..events import SpanEnd, SpanStart
from . import attributes as names
from .attributes import Values

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))
"""The buckets that the conventions ask for."""


class Measures:
    """The instruments, by operation, model and role. OpenTelemetry keeps no more than 2,000 series of each, should
    clients name ever new models."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("moa")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a call.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "How long a call or a mixture took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "How long the first words of a call took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._cost = meter.create_counter("moa.cost", "{USD}", "What calls have cost, where that is known.")
        self._retries = meter.create_counter("moa.retries", "{retry}", "Calls begun again.")
        self._lost = meter.create_counter("moa.lost", "{proposal}", "Proposals that did not arrive.")

    def ended(self, start: SpanStart, end: SpanEnd, first: float | None, holds: bool) -> None:
        """A call is over."""
        does = names.operation(start, holds)
        if does is None:
            return
        labels: Values = {names.OPERATION: does, "moa.role": start.role, **names.called(start)}
        self._duration.record(end.time - start.time, labels if end.error is None else {**labels, **names.FAILED})
        if holds:
            return
        if first is not None:
            self._first.record(first - start.time, labels)
        if end.usage:
            self._tokens.record(end.usage.input_tokens, {**labels, "gen_ai.token.type": "input"})
            self._tokens.record(end.usage.output_tokens, {**labels, "gen_ai.token.type": "output"})
            self._cost.add(end.usage.cost or 0.0, labels)

    def retried(self, start: SpanStart) -> None:
        """A call is begun again."""
        self._retries.add(1, names.called(start))

    def lost(self, start: SpanStart) -> None:
        """A proposal did not arrive."""
        self._lost.add(1, names.called(start))
