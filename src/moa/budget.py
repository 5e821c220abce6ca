"""Limits of one request, in US dollars, tokens and seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from .errors import ConfigError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one request may use: US dollars, tokens read and written by all its calls, seconds in all.

    `None` is no limit. Later layers are skipped first, then proposers are left out, the last ones first. Seconds are
    shared among the remaining layers and the aggregator. A budget that is too small for one proposal and the answer is
    refused before anything is paid.
    """

    dollars: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"budget.{limit.name}: must be greater than 0, got {value}", setting=f"budget.{limit.name}"
                )

    def within(self, other: Budget | None) -> Budget:
        """Return the budget that keeps within both."""
        if other is None:
            return self
        return Budget(
            _least(self.dollars, other.dollars),
            _least(self.tokens, other.tokens),
            _least(self.seconds, other.seconds),
        )


def _least(*values: Number | None) -> Number | None:
    return min((value for value in values if value is not None), default=None)
