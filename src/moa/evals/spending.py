"""What an evaluation may spend: no question is begun that would likely go beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import ConfigError


class SpendingLimit:
    """Dollars that may be spent (`limit`; `None`: any number), and what is `paid` already.

    A question is reckoned at the most that one to its model has cost so far; while nobody knows, it is asked alone.
    """

    def __init__(self, limit: float | None, paid: float = 0.0) -> None:
        self.limit = limit
        self.paid = paid
        self.empty = False
        """Whether something was not begun as it would have gone beyond the limit."""
        self._most: dict[str, float] = {}
        self._open = 0
        self._promised = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def question(self, model: str) -> AsyncIterator[bool]:
        """Use around a question to a model, which begins as soon as the limit allows; false when it never will."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.empty or self._fits(model) or not self._open)
            self.empty = self.empty or not self._fits(model)
            begun = not self.empty
            likely = self._most.get(model, 0.0) if begun else 0.0
            self._open += begun
            self._promised += likely
        try:
            yield begun
        finally:
            self._open -= begun
            self._promised -= likely
            async with self._changed:
                self._changed.notify_all()

    def pay(self, model: str, dollars: float | None) -> None:
        """Count what a question cost. Raises `ConfigError` where there is a limit and nobody knows."""
        if dollars is None and self.limit is not None:
            words = f"the price of {model} is not known, so nothing can be kept within {self.limit} dollars"
            raise ConfigError(f"{words}; give its price in moa.toml")
        self.paid += dollars or 0.0
        self._most[model] = max(self._most.get(model, 0.0), dollars or 0.0)

    def _fits(self, model: str) -> bool:
        if self.limit is None:
            return True
        known = self._most.get(model)
        if known is None:
            return not self._open and self.paid < self.limit
        return self.paid + self._promised + known <= self.limit
