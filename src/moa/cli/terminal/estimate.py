"""The estimate of a question, before it is asked."""

from __future__ import annotations

from collections.abc import Iterator

from ...costs.forecast import Forecast
from ...estimates.likely import Quote
from .escape import printable
from .footer import cost


def estimate_lines(quote: Quote, most: Forecast) -> Iterator[str]:
    """Yield a line or two. Without past runs they show `most`, the upper bound."""
    if not quote.known:
        unknown = f" (unknown: {', '.join(most.unknown)})" if most.unknown else ""
        yield printable(f"{quote.model}: no past runs; upper bound:")
        yield printable(f"  {most.calls} call{'s' * (most.calls != 1)}, {cost(most.cost)}{unknown}")
        return
    yield printable(f"{quote.model}: about {estimated(quote)}")
    yield (
        f"  from {quote.runs} past run{'s' * (quote.runs != 1)}" if quote.runs else "  from past calls of its models"
    )
    if quote.unknown:
        yield printable(
            f"  without past calls of {', '.join(quote.unknown)}, whose answers are assumed to have a typical length"
        )


def estimated(quote: Quote) -> str:
    """Return calls, tokens, cost and time."""
    parts = [
        f"{quote.calls} call{'s' * (quote.calls != 1)}",
        f"{quote.input_tokens:,} tokens in, {quote.output_tokens:,} out",
        cost(quote.cost),
    ]
    if quote.seconds is not None:
        parts.append(f"{quote.seconds:.1f} s")
    if quote.at_most is not None:
        parts.append(f"95th percentile {quote.at_most:.1f} s")
    return ", ".join(parts)
