"""Whose call goes next, where calls have to wait for one another.

What ends a run goes before what begins one, and on a machine that holds one model at a time, what its model can answer
goes before what needs another one. Nobody is passed over for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..events import Role
from ..model import WrapperModel, prewarm
from ..span import Span
from ..types import PrewarmResult, Request, Response

PATIENCE = 16
"""How many calls may go before one that was there first."""


class Waiting(Protocol):
    """A call in line; `passed` is how many that came later have gone before it."""

    passed: int


W = TypeVar("W", bound=Waiting)


def next_of(line: Sequence[W], rank: Callable[[W], Any], fits: Callable[[W], bool]) -> W | None:
    """Whose turn it is, of those in line in order of arrival; `None` when nobody's.

    It is the first by `rank` that fits. Who has been passed over `PATIENCE` times waits for nobody any more: until it
    fits, nobody goes.
    """
    overdue = next((one for one in line if one.passed >= PATIENCE), None)
    candidates: Iterable[W] = sorted(line, key=rank) if overdue is None else (overdue,)
    chosen = next((one for one in candidates if fits(one)), None)
    if chosen is not None:
        for one in line[: line.index(chosen)]:
            one.passed += 1
    return chosen


def begins(role: Role) -> bool:
    """Whether a call begins the work of a run rather than ending it: it can wait for those that do."""
    return role == "proposer"


@dataclass(eq=False)
class _Turn:
    model: str
    begins: bool
    future: asyncio.Future[None] | None = None
    passed: int = 0
    come: bool = False

    def call(self) -> bool:
        """Tell whoever waits; False if nobody is there any more."""
        self.come = True
        if self.future is None:
            return True
        with suppress(RuntimeError):  # its loop was closed over it
            self.future.get_loop().call_soon_threadsafe(_grant, self.future)
            return True
        return False


class Limiter:
    """At most `at_once` calls at the same time (`None`: any number), and with `one_model` all of them to one model.

    First come first served, but proposers let others pass, and with `one_model` calls to another model than the one
    asked last wait until nobody wants that one: changing models takes longer than many an answer. Each call lets at
    most `PATIENCE` others pass. Counted over every model that shares it, whichever thread and event loop they are
    asked from.
    """

    def __init__(self, at_once: int | None = None, *, one_model: bool = False) -> None:
        self.at_once = at_once
        self.one_model = one_model
        self._inside = 0
        self._model: str | None = None
        self._line: list[_Turn] = []
        self._lent: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def try_acquire(self, model: str = "", role: Role = "root") -> bool:
        """Take a place if there is one now."""
        with self._lock:
            turn = self._join(_Turn(model, begins(role)))
            if not turn.come:
                self._line.remove(turn)
            return turn.come

    async def acquire(self, model: str = "", role: Role = "root") -> None:
        """Take a place as soon as it is this call's turn."""
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            turn = self._join(_Turn(model, begins(role), future))
            if turn.come:
                return
            self._reclaim()
        try:
            await future
        except asyncio.CancelledError:
            with self._lock:
                if not turn.come:
                    self._line.remove(turn)
            if turn.come:  # the place came at the moment of leaving
                self.release()
            raise

    def lend(self, model: str, give_way: Callable[[], object]) -> bool:
        """Take a place that no call wants, to be released as soon as possible once `give_way` is called.

        Where any number of calls may run, nobody knows what they take from each other: then there is one such place.
        """
        with self._lock:
            loaded = not self.one_model or self._model in (None, model)
            if self._line or self._inside >= (self.at_once or 1) or not loaded:
                return False
            self._enter(model)
            self._lent.append(give_way)
            return True

    def release(self, lent: Callable[[], object] | None = None) -> None:
        """Give the place to whose turn it is. `lent` is what `lend` was given, where it was lent."""
        with self._lock:
            self._inside -= 1
            if lent in self._lent:
                self._lent.remove(lent)
            self._admit()

    @property
    def _free(self) -> bool:
        return self.at_once is None or self._inside < self.at_once

    def _join(self, turn: _Turn) -> _Turn:
        self._line.append(turn)
        self._admit()
        return turn

    def _admit(self) -> None:
        while self._line and self._free and (turn := next_of(self._line, self._rank, self._fits)):
            self._line.remove(turn)
            if turn.call():
                self._enter(turn.model)

    def _enter(self, model: str) -> None:
        self._inside += 1
        self._model = model
        if self._inside > (self.at_once or 1):
            self._reclaim()

    def _reclaim(self) -> None:
        for give_way in self._lent:
            give_way()
        self._lent.clear()

    def _rank(self, turn: _Turn) -> tuple[bool, bool]:
        return (self.one_model and turn.model != self._model, turn.begins)

    def _fits(self, turn: _Turn) -> bool:
        return not self.one_model or not self._inside or turn.model == self._model


def _grant(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


@dataclass(frozen=True)
class Limited(WrapperModel):
    """Waits its turn: for a provider with a limit, or a machine that answers a few calls at a time."""

    limiter: Limiter

    async def generate(self, request: Request, span: Span) -> Response:
        if not self.limiter.try_acquire(self.name, span.role):
            asked = span.run.now()
            span.note("queued")
            await self.limiter.acquire(self.name, span.role)
            span.note("queued", seconds=span.run.now() - asked)
        try:
            return await self.inner.generate(request, span)
        finally:
            self.limiter.release()

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Have the model read ahead in a place that no call wants, until one wants it."""
        loop = asyncio.get_running_loop()

        def give_way() -> None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(lambda: reading.cancel())

        if not self.limiter.lend(self.name, give_way):
            return None
        reading = asyncio.create_task(prewarm(self.inner, request))
        reading.add_done_callback(lambda _: self.limiter.release(give_way))
        try:
            await asyncio.wait([reading])
        finally:
            reading.cancel()
        return None if reading.cancelled() else reading.result()
