"""Limits concurrent calls, and decides which waiting call goes next.

Calls that end a run go before calls that begin one. On a host that holds one model at a time, calls to the loaded model
go before calls to another one. Waiting calls are never starved.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .. import notes
from ..events import Role
from ..model import WrapperModel, prewarm
from ..span import Span
from ..types import PrewarmResult, Request, Response

MAX_PASSED = 16
"""How many later calls may pass a waiting one."""


class Waiting(Protocol):
    """A waiting call. `passed` counts the later calls that went before it."""

    passed: int


W = TypeVar("W", bound=Waiting)


def next_of(line: Sequence[W], rank: Callable[[W], Any], fits: Callable[[W], bool]) -> W | None:
    """Return the call to make next, of those that wait in order of arrival, or `None`.

    It is the first by `rank` that fits. A call that was passed `MAX_PASSED` times is next: until it fits, none goes.
    """
    overdue = next((call for call in line if call.passed >= MAX_PASSED), None)
    candidates: Iterable[W] = sorted(line, key=rank) if overdue is None else (overdue,)
    chosen = next((call for call in candidates if fits(call)), None)
    if chosen is not None:
        for call in line[: line.index(chosen)]:
            call.passed += 1
    return chosen


def begins(role: Role) -> bool:
    """Return whether a call begins the work of a run rather than ending it. Such calls can wait."""
    return role == "proposer"


@dataclass(eq=False)
class _Turn:
    model: str
    begins: bool
    future: asyncio.Future[None] | None = None
    passed: int = 0
    come: bool = False

    def call(self) -> bool:
        """Wake the waiting call. Return whether it still waits."""
        self.come = True
        if self.future is None:
            return True
        with suppress(RuntimeError):  # its loop was closed
            self.future.get_loop().call_soon_threadsafe(_grant, self.future)
            return True
        return False


class Limiter:
    """At most `max_concurrency` calls at the same time (`None`: any number), with `one_model` all to one model.

    Calls go in order of arrival, but proposers let others pass, and with `one_model` calls to another model wait until
    no call to the loaded one waits: loading a model takes longer than many an answer. Each call lets at most
    `MAX_PASSED` others pass. All models that share a limiter count together, over threads and event loops.
    """

    def __init__(self, max_concurrency: int | None = None, *, one_model: bool = False) -> None:
        self.max_concurrency = max_concurrency
        self.one_model = one_model
        self._inside = 0
        self._model: str | None = None
        self._line: list[_Turn] = []
        self._lent: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def try_acquire(self, model: str = "", role: Role = "root") -> bool:
        """Take a slot if one is free now."""
        with self._lock:
            turn = self._join(_Turn(model, begins(role)))
            if not turn.come:
                self._line.remove(turn)
            return turn.come

    async def acquire(self, model: str = "", role: Role = "root") -> None:
        """Take a slot when it is this call's turn."""
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
            if turn.come:  # the slot was granted at the moment of leaving
                self.release()
            raise

    def lend(self, model: str, give_way: Callable[[], object]) -> bool:
        """Take a slot that no call waits for, to be released soon after `give_way` is called.

        Without a limit there is one such slot, because it is unknown how far calls slow each other down.
        """
        with self._lock:
            loaded = not self.one_model or self._model in (None, model)
            if self._line or self._inside >= (self.max_concurrency or 1) or not loaded:
                return False
            self._enter(model)
            self._lent.append(give_way)
            return True

    def release(self, lent: Callable[[], object] | None = None) -> None:
        """Pass the slot on to the next call. `lent` is the callback that was given to `lend`, for a lent slot."""
        with self._lock:
            self._inside -= 1
            if lent in self._lent:
                self._lent.remove(lent)
            self._admit()

    @property
    def _free(self) -> bool:
        return self.max_concurrency is None or self._inside < self.max_concurrency

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
        if self._inside > (self.max_concurrency or 1):
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
    """A model behind a limiter, for a provider with a limit or a host that answers few calls at a time."""

    limiter: Limiter

    async def generate(self, request: Request, span: Span) -> Response:
        if not self.limiter.try_acquire(self.name, span.role):
            since = span.run.now()
            span.note(notes.Queued())
            await self.limiter.acquire(self.name, span.role)
            span.note(notes.Dequeued(span.run.now() - since))
        try:
            return await self.inner.generate(request, span)
        finally:
            self.limiter.release()

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Have the model read the beginning of a prompt in a slot that no call waits for, until one does."""
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
