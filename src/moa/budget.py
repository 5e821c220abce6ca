"""What one request may use, in dollars, tokens and seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from .errors import ConfigError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one request may use: US dollars, tokens read and written by all its calls, seconds in all.

    `None` is no limit. Later layers are skipped first, then proposers are left out, those declared last before the
    others; seconds are shared among the layers still to come, so that the aggregator has time too. A budget that one
    proposal and the answer do not fit is refused before anything is paid.
    """

    dollars: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not value > 0:
                raise ConfigError(f"a budget of {value} {one.name} buys nothing; it must be more than 0")

    def within(self, other: Budget | None) -> Budget:
        """What both allow."""
        if other is None:
            return self
        return Budget(
            _least(self.dollars, other.dollars),
            _least(self.tokens, other.tokens),
            _least(self.seconds, other.seconds),
        )


def _least(*values: Number | None) -> Number | None:
    return min((value for value in values if value is not None), default=None)
