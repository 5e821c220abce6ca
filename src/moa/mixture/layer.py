"""Models that answer the same request side by side, and how long they are waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import ConfigError, LayerError, Lost, MoaError
from ..model import Model
from ..prompts.prompt import AGGREGATE, Prompt
from ..span import CallSpec, Span, TextListener
from ..types import Request, Response, Usage
from ..waker import Waker
from .adaptive_timeout import AdaptiveTimeout
from .references import read

Order = Literal["declared", "arrival", "shuffled"]
"""The order in which proposals are handed on. Shuffled is decided by the seed and the question, so it repeats."""


class ProposalObserver(Protocol):
    """Follows the proposals of a layer while they are made. Each is known by its place among the proposers, from 0."""

    def hear(self, place: int) -> TextListener | None:
        """What is to be told the words of this proposal; `None` if nobody wants them one by one."""
        ...

    def arrived(self, place: int, response: Response) -> None: ...

    def lost(self, place: int) -> None: ...

    def ordered(self, places: Sequence[int]) -> list[int]:
        """These places, given in order of arrival, as they are to be handed on where no other order is asked for."""
        ...


@dataclass(frozen=True)
class Layer:
    """Models that answer the same request side by side.

    `deadline` is how long the layer waits, in seconds, or `AdaptiveTimeout` to learn that for each model; `quorum` how
    many proposals it must have by then; `grace` how long it waits for the others once it has them. Their `order` is as
    declared, or of arrival where they are read ahead, unless it is said. A proposer that fails,
    or is late, is lost, visibly; with fewer than `quorum` proposals the layer fails, with every cause. `prompt` is how
    the proposers of a later layer are shown the proposals of the layer before.
    """

    proposers: Sequence[Model]
    quorum: int = 1
    deadline: float | AdaptiveTimeout | None = None
    grace: float | None = None
    order: Order | None = None
    prompt: Prompt = AGGREGATE

    def __post_init__(self) -> None:
        if isinstance(self.proposers, str):
            raise ConfigError(f"proposers must be a sequence of models, not the string {self.proposers!r}")
        object.__setattr__(self, "proposers", tuple(self.proposers))
        for named in self.proposers:
            if isinstance(named, str):
                raise ConfigError(f"a proposer is a model, not a name: moa.get_model({named!r}) gives the model")
        if not self.proposers:
            raise ConfigError("a layer needs at least one proposer")
        if not 1 <= self.quorum <= len(self.proposers):
            raise ConfigError(f"quorum is {self.quorum}, but the layer has {len(self.proposers)} proposer(s)")
        if isinstance(self.deadline, (int, float)) and not self.deadline > 0:
            raise ConfigError(f"deadline must be more than 0 seconds, not {self.deadline}")
        if self.grace is not None and self.grace < 0:
            raise ConfigError(f"grace must be 0 seconds or more, not {self.grace}")

    async def propose(
        self,
        request: Request,
        references: Sequence[Response],
        span: Span,
        number: int,
        until: float | None = None,
        following: ProposalObserver | None = None,
    ) -> tuple[Response, ...]:
        """The proposals of this layer, the `number`-th of its mixture. Raises `LayerError` below the quorum.

        At the moment `until` (seconds since the run began) it closes with what it has, be it less than the quorum.
        `following` is told of the proposals while they are made.
        """
        arrived: dict[int, Response] = {}  # in order of arrival
        lost: dict[int, Exception | str] = {}
        patience = self.deadline if isinstance(self.deadline, AdaptiveTimeout) else None

        async def ask(index: int, model: Model) -> None:
            begun = span.run.now()
            try:
                arrived[index] = await read(
                    model,
                    self.prompt,
                    request,
                    references,
                    section,
                    CallSpec("proposer", number, index, listener=following.hear(index) if following else None),
                )
            except (MoaError, TimeoutError) as error:  # a bug is not a failed proposal
                lost[index] = error
            else:
                if patience and arrived[index].usage != Usage(cost=0.0):  # else it was remembered, not made
                    patience.latencies.add(model.name, span.run.now() - begun)
            finally:
                ended(index)
                if following and index in arrived:
                    following.arrived(index, arrived[index])
                elif following:
                    following.lost(index)

        def ended(index: int) -> None:
            waiting.discard(index)
            waker.wake()

        waiting, waker = set(range(len(self.proposers))), Waker()
        own = span.run.now() + self.deadline if isinstance(self.deadline, (int, float)) else None
        deadline = _least(own, until)
        with span.section("layer", f"layer {number}", layer=number, deadline=deadline) as section:
            calls = [asyncio.create_task(ask(index, model)) for index, model in enumerate(self.proposers)]
            timers = self._limits(patience, calls, lost, ended)
            section.run.wakers.add(waker)
            reason = None
            try:
                enough: float | None = None  # when the quorum was there
                while waiting and not (reason := self._closing(section, own, arrived, lost, enough)):
                    await waker.wait(_least(section.remaining, self._grace_left(section, enough)))
                    for call in calls:
                        if call.done() and not call.cancelled():
                            call.result()
                    if enough is None and len(arrived) >= self.quorum:
                        enough = section.run.now()
            finally:
                section.run.wakers.discard(waker)
                for timer in timers:
                    timer.cancel()
                for index, call in enumerate(calls):
                    if index not in lost:  # else it has been told already
                        call.cancel(reason or "cancelled")
                if not all(call.done() for call in calls):  # else nobody need wait for the loop to come round
                    await asyncio.gather(*calls, return_exceptions=True)
            lost |= {i: reason or "cancelled" for i in range(len(self.proposers)) if i not in arrived and i not in lost}
            for index in sorted(lost):
                section.note("lost", model=self.proposers[index].name, index=index, error=_words(lost[index]))
            over = until is not None and section.run.now() >= until
            if len(arrived) < (1 if over or section.run.finishing else self.quorum):
                raise self._failed(number, len(arrived), lost)
        return tuple(arrived[index] for index in self._ordered(arrived, request, number, following))

    def _limits(
        self,
        patience: AdaptiveTimeout | None,
        calls: list[asyncio.Task[None]],
        lost: dict[int, Exception | str],
        ended: Callable[[int], None],
    ) -> list[asyncio.TimerHandle]:
        """Timers that end each call when the patience with its model does."""
        if patience is None:
            return []

        def expire(index: int, seconds: float) -> None:
            if not calls[index].done():
                lost[index] = f"no answer within {seconds:.1f} s, as long as its past answers make likely"
                if patience:  # else one that has become slower would never be waited for again
                    patience.latencies.add(self.proposers[index].name, seconds)
                calls[index].cancel(lost[index])
                ended(index)  # which it does not say itself where it had not begun

        waits = [patience.seconds(model.name) for model in self.proposers]
        return [asyncio.get_running_loop().call_later(wait, expire, index, wait) for index, wait in enumerate(waits)]

    def _grace_left(self, section: Span, enough: float | None) -> float | None:
        return None if self.grace is None or enough is None else enough + self.grace - section.run.now()

    def _closing(
        self,
        section: Span,
        own: float | None,
        arrived: dict[int, Response],
        lost: dict[int, Exception | str],
        enough: float | None,
    ) -> str | None:
        """Why the proposers that have not answered are not waited for any longer, or `None` to wait on.

        `own` is when this layer's own deadline is; that of a budget, or of a layer around it, may be sooner.
        """
        if section.remaining is not None and section.remaining <= 0:
            return (
                f"no answer within {self.deadline:g} s" if section.deadline == own else "no answer before the deadline"
            )
        left = self._grace_left(section, enough)
        if left is not None and left <= 0:
            return f"no answer within {self.grace:g} s after {self.quorum} had answered"
        if section.run.finishing and arrived:
            return "not waited for: the run was told to finish"
        possible = len(self.proposers) - len(lost)
        if possible < self.quorum:
            return f"not waited for: {self.quorum} proposals are needed and only {possible} were possible"
        return None

    def _ordered(
        self, arrived: Collection[int], request: Request, number: int, following: ProposalObserver | None
    ) -> list[int]:
        if self.order == "arrival" or (following and self.order is None):
            return following.ordered(list(arrived)) if following else list(arrived)
        order = sorted(arrived)
        if self.order == "shuffled":
            random.Random(f"{request.seed}/{number}/{request.question}").shuffle(order)  # noqa: S311
        return order

    def _failed(self, number: int, count: int, lost: dict[int, Exception | str]) -> LayerError:
        unset = all(isinstance(error, ConfigError) for error in lost.values())
        return LayerError(
            f"layer {number}: {count} of {len(self.proposers)} proposers answered, {self.quorum} needed",
            lost=[Lost(self.proposers[index].name, number, _words(lost[index])) for index in sorted(lost)],
            exit_code=2 if unset else 1,
        )


def _least(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _words(cause: Exception | str) -> str:
    return str(cause) or type(cause).__name__
