"""The OpenTelemetry metrics of calls: tokens, seconds, dollars, retries and losses."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider

from ..events import SpanEnd, SpanStart
from . import attributes as names
from .attributes import Values

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))
"""The bucket boundaries of the conventions."""


class Metrics:
    """The instruments, by operation, model and role.

    OpenTelemetry keeps at most 2,000 series of each, even if clients name ever new models.
    """

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
            "The duration of a call or a mixture.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "The time to the first token of a call.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._cost = meter.create_counter("moa.cost", "{USD}", "The cost of calls, as far as it is known.")
        self._retries = meter.create_counter("moa.retries", "{retry}", "Retries of calls.")
        self._lost = meter.create_counter("moa.lost", "{proposal}", "Proposals that failed.")

    def ended(self, start: SpanStart, end: SpanEnd, first_chunk: float | None, has_calls: bool) -> None:
        """Record the end of a call."""
        does = names.operation(start, has_calls)
        if does is None:
            return
        labels: Values = {names.OPERATION: does, "moa.role": start.role, **names.of_model(start)}
        self._duration.record(end.time - start.time, labels if end.error is None else {**labels, **names.FAILED})
        if has_calls:
            return
        if first_chunk is not None:
            self._first.record(first_chunk - start.time, labels)
        if end.usage:
            self._tokens.record(end.usage.input_tokens, {**labels, "gen_ai.token.type": "input"})
            self._tokens.record(end.usage.output_tokens, {**labels, "gen_ai.token.type": "output"})
            self._cost.add(end.usage.cost or 0.0, labels)

    def retried(self, start: SpanStart) -> None:
        """Record a retry."""
        self._retries.add(1, names.of_model(start))

    def lost(self, start: SpanStart) -> None:
        """Record a lost proposal."""
        self._lost.add(1, names.of_model(start))
