"""What a question is likely to take, said before it is asked."""

from __future__ import annotations

from collections.abc import Iterator

from ...costs.forecast import Forecast
from ...estimates.likely import Quote
from .escape import printable
from .footer import cost


def quoted(quote: Quote, most: Forecast) -> Iterator[str]:
    """A line or two; where no past call is known, the most that it can cost, which is `most`, stands for it."""
    if not quote.known:
        unknown = f" (nobody knows {', '.join(most.unknown)})" if most.unknown else ""
        yield printable(f"{quote.model}: no call of it is stored yet, so all that is known is the most it can take:")
        yield printable(f"  {most.calls} call{'s' * (most.calls != 1)}, {cost(most.cost)}{unknown}")
        return
    yield printable(f"{quote.model}: about {estimated(quote)}")
    yield (
        f"  from {quote.runs} run{'s' * (quote.runs != 1)} of it" if quote.runs else "  from other calls of its models"
    )
    if quote.unknown:
        yield printable(f"  assuming the length of answers of {', '.join(quote.unknown)}, of which no call is stored")


def estimated(quote: Quote) -> str:
    """The figures."""
    parts = [
        f"{quote.calls} call{'s' * (quote.calls != 1)}",
        f"{quote.input_tokens:,} tokens in, {quote.output_tokens:,} out",
        cost(quote.cost),
    ]
    if quote.seconds is not None:
        parts.append(f"{quote.seconds:.1f} s")
    if quote.at_most is not None:
        parts.append(f"95 of 100 within {quote.at_most:.1f} s")
    return ", ".join(parts)
