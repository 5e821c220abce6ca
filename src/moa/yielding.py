"""A model that reads ahead only where nobody else wants its machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .model import Around, Span, warm
from .types import Request, Response, Warmed


@dataclass(eq=False)
class Traffic:
    """The calls under way at one address, which may answer `places` at once. Reading ahead takes a place that is free,
    and gives it up when a call comes that needs it."""

    places: int = 1
    calls: int = 0
    _reading: set[asyncio.Task[Warmed | None]] = field(default_factory=set)

    @property
    def free(self) -> bool:
        """Whether one more may be read ahead."""
        return not self._reading and self.calls < self.places

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call, from its beginning to its end."""
        self.calls += 1
        if self.calls + len(self._reading) > self.places:
            for reading in self._reading:
                reading.get_loop().call_soon_threadsafe(reading.cancel)
        try:
            yield
        finally:
            self.calls -= 1

    async def read(self, reading: asyncio.Task[Warmed | None]) -> Warmed | None:
        """What was read ahead; `None` if it had to be given up."""
        self._reading.add(reading)
        try:
            await asyncio.wait({reading})
        finally:
            self._reading.discard(reading)
            reading.cancel()
            await asyncio.wait({reading})
        return None if reading.cancelled() else reading.result()


@dataclass(frozen=True)
class Yielding(Around):
    """A model at an address that others use too."""

    traffic: Traffic

    async def generate(self, request: Request, span: Span) -> Response:
        with self.traffic.call():
            return await self.model.generate(request, span)

    async def warm(self, request: Request) -> Warmed | None:
        if not self.traffic.free:
            return None
        return await self.traffic.read(asyncio.create_task(warm(self.model, request)))
