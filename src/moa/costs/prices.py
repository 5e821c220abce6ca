"""What tokens cost, in US dollars: from the configuration where it says, else from the `genai-prices` tables.

A price that nobody knows is `None`, never 0.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

from ..types import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. Cached input costs as much as other input unless `cached` says otherwise."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        cached_price = self.input if self.cached is None else self.cached
        return (fresh * self.input + cached * cached_price + usage.output_tokens * self.output) / 1e6


FREE = Price(0, 0)
"""A model on a machine of your own."""


@cache
def prepare() -> None:
    """Read the public price tables in the background, half a second of work, while an upstream is thinking."""
    threading.Thread(target=__import__, args=("genai_prices",), daemon=True).start()


def cost(usage: Usage, model: str, provider: str | None, price: Price | None) -> float | None:
    """What the tokens cost at `price`, or at the public price of this provider's model, or `None` when unknown."""
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
