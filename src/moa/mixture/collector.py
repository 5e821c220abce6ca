"""Collects the proposals of one layer: calls its proposers side by side, and decides how long to wait for them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Literal, Protocol

from .. import notes
from ..errors import ConfigError, LayerError, Lost, MoaError
from ..model import Model
from ..prompts.prompt import Prompt
from ..span import CallSpec, Span, TextListener
from ..types import Request, Response, Usage
from ..waker import Waker
from .adaptive_timeout import AdaptiveTimeout
from .references import ask_with_references

Order = Literal["declared", "arrival", "shuffled"]
"""The order of the references. The seed and the question decide how they are shuffled, so that it is reproducible."""


class ProposalObserver(Protocol):
    """Follows the proposals of a layer while they are written. `index` is the proposer's position, from 0."""

    def text_listener(self, index: int) -> TextListener | None:
        """Return the callback for the text of a proposal as it streams, or `None` if it is not needed."""
        ...

    def on_done(self, index: int, response: Response) -> None:
        """Called when a proposal is complete."""
        ...

    def on_failed(self, index: int) -> None:
        """Called when there will be no proposal, whether its call failed or was cancelled."""
        ...

    def order(self, indexes: Sequence[int]) -> list[int]:
        """Return these indexes, given in order of arrival, in the order of the references, if the layer sets none."""
        ...


class LayerSettings(Protocol):
    """The values of a `Layer`."""

    @property
    def proposers(self) -> Sequence[Model]: ...

    @property
    def quorum(self) -> int: ...

    @property
    def timeout(self) -> float | AdaptiveTimeout | None: ...

    @property
    def grace(self) -> float | None: ...

    @property
    def order(self) -> Order | None: ...

    @property
    def prompt(self) -> Prompt: ...


class ProposalCollector:
    """Calls the proposers of one layer side by side until there are enough proposals or the time is over.

    `number` is the layer's number in its mixture, `span` the mixture's span. At `closes_at`, in seconds since the run
    began, the layer ends with what it has, even below its quorum.
    """

    def __init__(
        self,
        layer: LayerSettings,
        number: int,
        request: Request,
        references: Sequence[Response],
        span: Span,
        closes_at: float | None = None,
        observer: ProposalObserver | None = None,
    ) -> None:
        self._layer = layer
        self._number = number
        self._request = request
        self._references = references
        self._observer = observer
        self._closes_at = closes_at
        self._adaptive = layer.timeout if isinstance(layer.timeout, AdaptiveTimeout) else None
        # the layer's own deadline; that of a budget, or of a layer around it, may be earlier
        self._deadline = span.run.now() + layer.timeout if isinstance(layer.timeout, (int, float)) else None
        self._span = span
        self._done: dict[int, Response] = {}  # in order of arrival
        self._failed: dict[int, Exception | str] = {}
        self._pending = set(range(len(layer.proposers)))
        self._calls: list[asyncio.Task[None]] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._quorum_at: float | None = None
        self._waker = Waker()

    async def collect(self) -> tuple[Response, ...]:
        """Return the proposals. Raises `LayerError` if they are fewer than the quorum."""
        try:
            return await self._collect()
        finally:
            # Their tracebacks lead back here: without this only the garbage collector would free the run.
            self._calls, self._failed = [], {}

    async def _collect(self) -> tuple[Response, ...]:
        deadline = _earliest(self._deadline, self._closes_at)
        with self._span.section("layer", f"layer {self._number}", layer=self._number, deadline=deadline) as self._span:
            reason = None
            self._start()
            try:
                while (reason := self._stop_reason()) is None:
                    await self._waker.wait(self._seconds_left())
                    self._raise_bugs()
                    if self._quorum_at is None and len(self._done) >= self._layer.quorum:
                        self._quorum_at = self._span.run.now()
            finally:
                await self._stop(reason or "cancelled")
            self._note_failures()
            self._check_quorum()
        return tuple(self._done[index] for index in self._ordered())

    def _start(self) -> None:
        self._calls = [asyncio.create_task(self._call(index)) for index in sorted(self._pending)]
        if self._adaptive:
            timeouts = [self._adaptive.seconds(model.name) for model in self._layer.proposers]
            call_later = asyncio.get_running_loop().call_later
            self._timers = [call_later(timeout, self._expire, n, timeout) for n, timeout in enumerate(timeouts)]
        self._span.run.wakers.add(self._waker)

    async def _call(self, index: int) -> None:
        model, prompt, began = self._layer.proposers[index], self._layer.prompt, self._span.run.now()
        try:
            listener = self._observer.text_listener(index) if self._observer else None
            spec = CallSpec("proposer", self._number, index, listener=listener)
            response = await ask_with_references(model, prompt, self._request, self._references, self._span, spec)
        except (MoaError, TimeoutError) as error:  # any other exception is a bug, not a failed proposal
            self._failed[index] = error
        else:
            self._done[index] = response
            if self._adaptive and response.usage != Usage(cost=0.0):  # a cached answer says nothing about latency
                self._adaptive.latencies.add(model.name, self._span.run.now() - began)
        finally:
            self._end(index)
            if self._observer and index in self._done:
                self._observer.on_done(index, self._done[index])
            elif self._observer:
                self._observer.on_failed(index)

    def _end(self, index: int) -> None:
        self._pending.discard(index)
        self._waker.wake()

    def _expire(self, index: int, timeout: float) -> None:
        """Cancel a call at its adaptive timeout."""
        call = self._calls[index]
        if call.done():
            return
        message = f"no answer within {timeout:.1f} s (adaptive timeout from past latencies)"
        self._failed[index] = message
        if self._adaptive:  # a model that has become slower must be able to raise its own timeout
            self._adaptive.latencies.add(self._layer.proposers[index].name, timeout)
        call.cancel(message)
        self._end(index)  # a call that has not started yet does not end itself

    def _stop_reason(self) -> str | None:
        """Return why to stop waiting, as the error of the calls still pending, or `None` to wait on."""
        if not self._pending:
            return "all calls have ended"
        layer, remaining, grace_left = self._layer, self._span.remaining, self._grace_left()
        if remaining is not None and remaining <= 0:
            own = self._span.deadline == self._deadline
            return f"no answer within {layer.timeout:g} s" if own else "no answer before the deadline"
        if grace_left is not None and grace_left <= 0:
            return f"no answer within {layer.grace:g} s after the quorum of {layer.quorum}"
        if self._span.run.finishing and self._done:
            return "cancelled: the run is to finish early"
        possible = len(layer.proposers) - len(self._failed)
        if possible < layer.quorum:
            return f"cancelled: the quorum of {layer.quorum} is out of reach, as only {possible} can answer"
        return None

    def _seconds_left(self) -> float | None:
        return _earliest(self._span.remaining, self._grace_left())

    def _grace_left(self) -> float | None:
        if self._layer.grace is None or self._quorum_at is None:
            return None
        return self._quorum_at + self._layer.grace - self._span.run.now()

    def _raise_bugs(self) -> None:
        for call in self._calls:
            if call.done() and not call.cancelled():
                call.result()

    async def _stop(self, reason: str) -> None:
        """Cancel the pending calls and wait until they have ended."""
        self._span.run.wakers.discard(self._waker)
        for timer in self._timers:
            timer.cancel()
        pending = set(self._pending)
        for index in pending:
            self._calls[index].cancel(reason)
        if not all(call.done() for call in self._calls):  # otherwise there is no need for another turn of the loop
            await asyncio.gather(*self._calls, return_exceptions=True)
        for index in range(len(self._calls)):
            if index not in self._done and index not in self._failed:
                self._failed[index] = reason if index in pending else "cancelled"

    def _note_failures(self) -> None:
        for index, error in sorted(self._failed.items()):
            self._span.note(notes.ProposalLost(self._layer.proposers[index].name, index, _message(error)))

    def _check_quorum(self) -> None:
        """Raise `LayerError` below the quorum. At the end of the time and of the run, one proposal is enough."""
        in_time = self._closes_at is None or self._span.run.now() < self._closes_at
        quorum = self._layer.quorum if in_time and not self._span.run.finishing else 1
        if len(self._done) >= quorum:
            return
        names = [model.name for model in self._layer.proposers]
        lost = [Lost(names[index], self._number, _message(error)) for index, error in sorted(self._failed.items())]
        misconfigured = all(isinstance(error, ConfigError) for error in self._failed.values())
        raise LayerError(
            f"layer {self._number}: {len(self._done)} of {len(names)} proposers answered, {self._layer.quorum} needed",
            lost=lost,
            exit_code=2 if misconfigured else 1,
        )

    def _ordered(self) -> list[int]:
        """Return the indexes of the proposals in the order of the references."""
        if self._observer and self._layer.order in (None, "arrival"):
            return self._observer.order(list(self._done))
        if self._layer.order == "arrival":
            return list(self._done)
        indexes = sorted(self._done)
        if self._layer.order == "shuffled":
            seed = f"{self._request.seed}/{self._number}/{self._request.question}"
            random.Random(seed).shuffle(indexes)  # noqa: S311
        return indexes


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _message(error: Exception | str) -> str:
    return str(error) or type(error).__name__
