"""Prices of tokens in US dollars: from the configuration, or else from the `genai-prices` tables.

An unknown price is `None`, never 0.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

from ..types import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. Without `cached`, cached input costs as much as other input."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """Return the cost of these tokens."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        cached_price = self.input if self.cached is None else self.cached
        return (fresh * self.input + cached * cached_price + usage.output_tokens * self.output) / 1e6


FREE = Price(0, 0)
"""The price of a model on your own machine."""


@cache
def prepare() -> None:
    """Load the public price tables in the background: they take half a second."""
    threading.Thread(target=__import__, args=("genai_prices",), daemon=True).start()


def cost(usage: Usage, model: str, provider: str | None, price: Price | None) -> float | None:
    """Return the cost of tokens at `price`, or else at the public price of the model. `None` if unknown."""
    if price is not None:
        return price.cost(usage)
    if provider is None:
        return None
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=min(usage.cached_tokens, usage.input_tokens) or None,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(tokens, model, provider_id=provider).total_price)
    except LookupError:
        return None
