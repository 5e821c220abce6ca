"""A model as a report speaks of it: its figures, what it answered, what a question to it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..sample import Metric, Scored

Mean = Literal["cost", "input_tokens", "output_tokens", "calls", "sequential_tokens", "seconds"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A model of an evaluation. Its first figure is the headline."""

    name: str
    figures: Sequence[Metric]
    scored: Sequence[Scored]

    @property
    def headline(self) -> Metric:
        return self.figures[0]

    def mean(self, of: Mean) -> float | None:
        """A mean per sample; `None` where it is not known of each."""
        bills = [one.answer.bill for one in self.scored if one.answer.error is None]
        in_usage = of in ("cost", "input_tokens", "output_tokens")
        found = [getattr(bill.usage if in_usage else bill, of) for bill in bills]
        return None if not found or None in found else sum(found) / len(found)

    @property
    def tokens(self) -> float:
        """Tokens read and written, a mean per sample."""
        return (self.mean("input_tokens") or 0.0) + (self.mean("output_tokens") or 0.0)


def value(figure: Metric) -> str:
    """A figure's value with its unit."""
    return " ".join(part for part in (number(figure.value), figure.unit) if part)


def interval(figure: Metric) -> str:
    """A figure's interval, or nothing."""
    return "" if figure.low is None or figure.high is None else f"{number(figure.low)} .. {number(figure.high)}"


def between(figure: Metric) -> str:
    """A figure's interval in brackets, or nothing."""
    return f" ({interval(figure)})" if interval(figure) else ""


def number(value: float | None) -> str:
    """As many digits as tell something."""
    return "–" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def count(value: float | None) -> str:
    """A mean of counts."""
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
