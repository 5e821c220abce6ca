"""The staircase (arXiv 2510.05059): the aggregator begins on the first parts of the proposals, and reads on as it goes.

It is asked in steps. Each shows what has been written since the one before and asks for about as many tokens; when the
proposals are complete, the last one brings the answer to its end. Words that were shown are never taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace

from ...errors import ConfigError, EmptyReply, ModelError
from ...model import Model, info, unwrap_defaults
from ...span import CallSpec, Span, TextListener
from ...types import Request, Response, Usage
from ..aggregators import Aggregator, Synthesize
from ..layer import Layer, ProposalObserver
from ..run import Hooks, MixtureParts, MixtureRun, Strategy
from .early_exit import EarlyExit
from .staircase_conversation import PartialProposal, StepConversation
from .staircase_stitching import StepStitcher, may_end

LEAST = 16
"""Tokens of a step at least: fewer make no sentence."""


@dataclass(frozen=True)
class Staircase(Strategy):
    """How an aggregator keeps step with the proposals: `step` is the tokens that it reads of each and writes at a time.

    Only for an aggregator that synthesizes. A request with tools, a response format, log-probabilities or stop strings
    is answered without, and so is one with a budget in tokens or dollars, since prompts are read again at each step.
    """

    step: int = 64

    def __post_init__(self) -> None:
        if self.step < LEAST:
            raise ConfigError(f"staircase: a step is at least {LEAST} tokens, not {self.step}")

    def check(self, mixture: MixtureParts) -> None:
        if not isinstance(mixture.aggregator, Synthesize):
            message = "staircase: only an aggregator of kind 'synthesize' can start before the proposals are complete"
            raise ConfigError(message, setting="staircase")
        if any(isinstance(one, EarlyExit) and one.skip == "aggregator" for one in mixture.strategies):
            message = "staircase: the aggregator starts before the early exit could skip it; use skip = 'layers'"
            raise ConfigError(message, setting="staircase")
        order = mixture.layers[-1].order
        if order not in (None, "declared"):
            message = f"staircase: needs the references in the order 'declared', got {order!r}"
            raise ConfigError(message, setting="staircase")

    def start(self, run: MixtureRun) -> Hooks | None:
        synthesize = run.mixture.aggregator
        if not isinstance(synthesize, Synthesize):
            return None
        if reason := _unsuited(synthesize, run):
            run.span.note("no_staircase", reason=reason)
            return None
        steps = StaircaseAggregator(self.step, synthesize, run.request, run.span)
        run.cleanup.push_async_callback(steps.leave)
        return steps


class StaircaseAggregator(Hooks):
    """One answer written in steps: it observes the last layer, and takes the place of the aggregator."""

    def __init__(self, step: int, synthesize: Synthesize, request: Request, span: Span) -> None:
        self._step = step
        self._synthesize = synthesize
        self._span = span
        self._talk = StepConversation(synthesize.prompt, replace(request, max_tokens=None))
        self._limit = unwrap_defaults(synthesize.model, request)[1].max_tokens
        self._words: dict[int, list[str]] = {}
        self._sizes: dict[int, int] = {}  # bytes that were written of each since the last step
        self._attempts: dict[int, int] = {}
        self._arrived: dict[int, Response] = {}
        self._lost: set[int] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._written = ""
        self._tokens = 0  # of what was written
        self._ended = False  # the aggregator came to an end by itself
        self._replies: list[Response] = []

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        """Begin with the proposals of the last layer."""
        if run.remaining_layers:
            return None
        self._task = asyncio.create_task(self._climb(layer))
        return nullcontext(self)

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        """Put the steps in the place of the single call."""
        return self

    async def leave(self) -> None:
        """End what is still going on."""
        if self._task:
            self._task.cancel("the run is over")
            await asyncio.gather(self._task, return_exceptions=True)

    def hear(self, place: int) -> TextListener:
        """What is to be told the words of the proposal at this place."""
        return lambda words: self._heard(place, words)

    def arrived(self, place: int, response: Response) -> None:
        """A proposal is complete."""
        self._arrived[place] = response
        self._changed.set()

    def lost(self, place: int) -> None:
        """A proposal will not come."""
        self._lost.add(place)
        self._changed.set()

    def ordered(self, places: Sequence[int]) -> list[int]:
        """These places as declared."""
        return sorted(places)

    @property
    def models(self) -> tuple[Model, ...]:
        return self._synthesize.models

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        """Bring the answer to its end with the complete proposals; where nothing is written yet, write it at once."""
        if self._task:
            await self._task
        if not self._written:
            return await self._synthesize.aggregate(request, references, span)
        places = {id(response): place for place, response in self._arrived.items()}
        drafts: dict[int, PartialProposal] = {}
        for number, one in enumerate(references, 1):
            place = places.get(id(one), -number)  # those of an earlier layer have places of their own
            drafts[place] = PartialProposal(one.model, one.text, True, self._attempts.get(place, 0))
        finished = "stop"
        try:
            await self._asked(self._talk.asked(drafts, last=True), last=True)
            finished = self._replies[-1].finish_reason
        except EmptyReply:
            if not may_end(self._written):
                raise
        return Response(
            self._synthesize.model.name,
            self._written,
            Usage.total(one.usage for one in self._replies),
            finished,
            tuple(references),
            "".join(one.reasoning for one in self._replies),
        )

    def _heard(self, place: int, words: str | None) -> None:
        if words is None:
            self._words[place], self._sizes[place] = [], 0
            self._attempts[place] = self._attempts.get(place, 0) + 1
            return
        before = self._sizes.get(place, 0)
        self._words.setdefault(place, []).append(words)
        self._sizes[place] = before + len(words.encode())
        if before < self._chunk <= self._sizes[place]:
            self._changed.set()

    @property
    def _chunk(self) -> int:
        """About how many bytes a step is."""
        return 4 * self._step

    async def _climb(self, layer: Layer) -> None:
        """Step by step, until all proposals are complete or the aggregator takes no further one."""
        while await self._due(layer):
            talk = self._talk.asked(self._drafts(layer))
            if talk.shown == self._talk.shown:  # no whole word is new
                self._changed.clear()
                await self._changed.wait()
                continue
            self._sizes.clear()
            if not self._room(talk):
                return
            try:
                went_on = await self._asked(talk)
            except ModelError as error:
                self._span.note("step_failed", error=str(error))
                return
            if not went_on:
                return

    async def _due(self, layer: Layer) -> bool:
        """Wait until every proposal that is still being written has grown by a step. As in the layer itself, those
        that have not are waited for no longer than its grace once the quorum is there. False when all have ended."""
        enough: float | None = None
        while True:
            ended = {*self._arrived, *self._lost}
            growing = [place for place in range(len(layer.proposers)) if place not in ended]
            ready = [place for place in growing if self._sizes.get(place, 0) >= self._chunk]
            if len(ready) == len(growing):
                return bool(growing)
            left = None
            if layer.grace is not None and ready and len(ready) + len(self._arrived) >= layer.quorum:
                now = self._span.run.now()
                enough = now if enough is None else enough
                left = enough + layer.grace - now
                if left <= 0:
                    return True
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _drafts(self, layer: Layer) -> dict[int, PartialProposal]:
        """The proposals as far as they are known, by their places."""
        drafts: dict[int, PartialProposal] = {}
        for place, proposer in enumerate(layer.proposers):
            attempt = self._attempts.get(place, 0)
            if place in self._arrived:
                drafts[place] = PartialProposal(proposer.name, self._arrived[place].text, True, attempt)
            elif place not in self._lost:
                drafts[place] = PartialProposal(proposer.name, "".join(self._words.get(place, ())), False, attempt)
        return drafts

    def _room(self, talk: StepConversation) -> bool:
        """Whether there is room for a step: tokens the caller allows beyond it, and half of the context window for
        what is still to come."""
        window = info(self._synthesize.model).context_window
        tuned = unwrap_defaults(self._synthesize.model, replace(talk.request, messages=talk.messages))[1]
        left = self._left
        return (left is None or left > self._step) and (window is None or tuned.size + self._step <= window // 2)

    @property
    def _left(self) -> int | None:
        """How many tokens the answer may still have; `None` if that is not limited."""
        return None if self._limit is None else max(1, self._limit - self._tokens)

    async def _asked(self, talk: StepConversation, last: bool = False) -> bool:
        """One step. Whether the aggregator would go on; what it said is taken in also when it fails on the way."""
        joint = StepStitcher(self._written, self._ended, None if last else self._chunk // 2)
        of, complete = len(talk.shown), sum(one.complete for one in talk.shown.values())
        self._span.note("step", number=len(self._replies) + 1, shown=of, complete=complete)
        request = replace(talk.request, messages=talk.messages, max_tokens=self._left if last else self._step)
        try:
            spec = CallSpec("aggregator", is_answer=True, text_filter=joint)
            response = await self._span.call(self._synthesize.model, request, spec)
            cut = response.finish_reason == "length" and not last
            rest = joint.close(response.text, cut)
            if self._span.streaming:
                self._span.text(rest)
            self._replies.append(response)
            self._tokens += -(-response.usage.output_tokens * len(joint.shown) // max(1, len(response.text)))
            self._ended = not cut
            return cut and bool(joint.shown)
        finally:
            if joint.shown:
                self._written += joint.shown
                self._talk = talk.answered(joint.shown.strip())
                for one in talk.withdrawn:
                    self._span.note("withdrawn", model=one.model, number=one.number)


def _unsuited(synthesize: Synthesize, run: MixtureRun) -> str | None:
    """Return why this request is answered without a staircase, or `None`."""
    request, budget = run.request, run.budget
    tuned = unwrap_defaults(synthesize.model, request)[1]
    reasons = {
        "its words are not the answer": not run.span.is_answer,
        "the conversation does not end with the user's words": request.messages[-1].role != "user",
        "the request has tools": bool(request.tools),
        "the request has a response format": request.response_format is not None,
        "the request asks for log-probabilities": bool(tuned.extra.get("logprobs")),
        "the request has stop strings": bool(tuned.stop),
        "a budget in tokens or dollars is kept": budget is not None and (budget.tokens, budget.dollars) != (None, None),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)
