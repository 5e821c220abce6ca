"""The staircase (arXiv 2510.05059): the aggregator starts on the first parts of the proposals, step by step.

Each step shows what was written since the one before and asks for about as many tokens. When the proposals are
complete, a last step ends the answer. Text that was streamed is never retracted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace

from ... import notes
from ...errors import ConfigError, EmptyReply, ModelError
from ...model import Model, info, unwrap_defaults
from ...span import CallSpec, Span, TextListener
from ...types import Request, Response, Usage
from ..aggregators import Aggregator, Synthesize
from ..collector import ProposalObserver
from ..layer import Layer
from ..run import Hooks, MixtureParts, MixtureRun, Strategy
from .early_exit import EarlyExit
from .staircase_conversation import PartialProposal, StepConversation
from .staircase_stitching import StepStitcher, may_end

LEAST = 16
"""Tokens of a step at least: fewer make no sentence."""


@dataclass(frozen=True)
class Staircase(Strategy):
    """Has the aggregator start on the first parts of the proposals. `step` is the tokens it reads of each per step.

    Only for an aggregator that synthesizes. A request with tools, a response format, log-probabilities or stop strings
    is answered without, and so is one with a budget in tokens or dollars, as each step reads its whole prompt again.
    """

    step: int = 64

    def __post_init__(self) -> None:
        if self.step < LEAST:
            raise ConfigError(f"staircase: must be at least {LEAST} tokens, got {self.step}", setting="staircase")

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
            run.span.note(notes.StaircaseSkipped(reason))
            return None
        steps = StaircaseAggregator(self.step, synthesize, run.request, run.span)
        run.cleanup.push_async_callback(steps.close)
        return steps


class StaircaseAggregator(Hooks):
    """One answer written in steps: it observes the last layer, and takes the place of the aggregator."""

    def __init__(self, step: int, synthesize: Synthesize, request: Request, span: Span) -> None:
        self._step = step
        self._synthesize = synthesize
        self._span = span
        self._conversation = StepConversation(synthesize.prompt, replace(request, max_tokens=None))
        self._limit = unwrap_defaults(synthesize.model, request)[1].max_tokens
        self._texts: dict[int, list[str]] = {}
        self._sizes: dict[int, int] = {}  # new bytes of each since the last step
        self._attempts: dict[int, int] = {}
        self._done: dict[int, Response] = {}
        self._failed: set[int] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._written = ""
        self._tokens = 0  # of the text written
        self._ended = False  # the aggregator has ended its text by itself
        self._replies: list[Response] = []

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        """Follow the proposals of the last layer, and start the steps."""
        if run.remaining_layers:
            return None
        self._task = asyncio.create_task(self._run_steps(layer))
        return nullcontext(self)

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        """Put the steps in the place of the single call."""
        return self

    async def close(self) -> None:
        """Cancel the step in progress, if any."""
        if self._task:
            self._task.cancel("the run is over")
            await asyncio.gather(self._task, return_exceptions=True)

    def text_listener(self, index: int) -> TextListener:
        return lambda text: self._on_text(index, text)

    def on_done(self, index: int, response: Response) -> None:
        self._done[index] = response
        self._changed.set()

    def on_failed(self, index: int) -> None:
        self._failed.add(index)
        self._changed.set()

    def order(self, indexes: Sequence[int]) -> list[int]:
        """Return these indexes as declared."""
        return sorted(indexes)

    @property
    def models(self) -> tuple[Model, ...]:
        return self._synthesize.models

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        """End the answer with the complete proposals. If no step has written anything, make the usual single call."""
        if self._task:
            await self._task
        if not self._written:
            return await self._synthesize.aggregate(request, references, span)
        indexes = {id(response): index for index, response in self._done.items()}
        proposals: dict[int, PartialProposal] = {}
        for number, reference in enumerate(references, 1):
            index = indexes.get(id(reference), -number)  # references of an earlier layer have indexes of their own
            attempt = self._attempts.get(index, 0)
            proposals[index] = PartialProposal(reference.model, reference.text, True, attempt)
        finish_reason = "stop"
        try:
            await self._call(self._conversation.asked(proposals, last=True), last=True)
            finish_reason = self._replies[-1].finish_reason
        except EmptyReply:
            if not may_end(self._written):
                raise
        return Response(
            self._synthesize.model.name,
            self._written,
            Usage.total(reply.usage for reply in self._replies),
            finish_reason,
            tuple(references),
            "".join(reply.reasoning for reply in self._replies),
        )

    def _on_text(self, index: int, text: str | None) -> None:
        if text is None:
            self._texts[index], self._sizes[index] = [], 0
            self._attempts[index] = self._attempts.get(index, 0) + 1
            return
        before = self._sizes.get(index, 0)
        self._texts.setdefault(index, []).append(text)
        self._sizes[index] = before + len(text.encode())
        if before < self._step_bytes <= self._sizes[index]:
            self._changed.set()

    @property
    def _step_bytes(self) -> int:
        """About how many bytes a step is."""
        return 4 * self._step

    async def _run_steps(self, layer: Layer) -> None:
        """Make steps until all proposals are complete or the aggregator takes no further one."""
        while await self._is_due(layer):
            conversation = self._conversation.asked(self._proposals(layer))
            if conversation.shown == self._conversation.shown:  # no complete word is new
                self._changed.clear()
                await self._changed.wait()
                continue
            self._sizes.clear()
            if not self._has_room(conversation):
                return
            try:
                continues = await self._call(conversation)
            except ModelError as error:
                self._span.note(notes.StaircaseStepFailed(str(error)))
                return
            if not continues:
                return

    async def _is_due(self, layer: Layer) -> bool:
        """Wait until every incomplete proposal has grown by a step. Return `False` when all have ended.

        As in the layer itself, once enough for the quorum have grown, the others are waited for no longer than `grace`.
        """
        quorum_at: float | None = None
        while True:
            ended = {*self._done, *self._failed}
            growing = [index for index in range(len(layer.proposers)) if index not in ended]
            ready = [index for index in growing if self._sizes.get(index, 0) >= self._step_bytes]
            if len(ready) == len(growing):
                return bool(growing)
            left = None
            if layer.grace is not None and ready and len(ready) + len(self._done) >= layer.quorum:
                now = self._span.run.now()
                quorum_at = now if quorum_at is None else quorum_at
                left = quorum_at + layer.grace - now
                if left <= 0:
                    return True
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _proposals(self, layer: Layer) -> dict[int, PartialProposal]:
        """Return the proposals as far as they are written, by the index of their proposers."""
        proposals: dict[int, PartialProposal] = {}
        for index, proposer in enumerate(layer.proposers):
            attempt = self._attempts.get(index, 0)
            if index in self._done:
                proposals[index] = PartialProposal(proposer.name, self._done[index].text, True, attempt)
            elif index not in self._failed:
                text = "".join(self._texts.get(index, ()))
                proposals[index] = PartialProposal(proposer.name, text, False, attempt)
        return proposals

    def _has_room(self, conversation: StepConversation) -> bool:
        """Return whether a step leaves some of the caller's tokens, and half of the context window, for the rest."""
        window = info(self._synthesize.model).context_window
        request = replace(conversation.request, messages=conversation.messages)
        size = unwrap_defaults(self._synthesize.model, request)[1].size
        left = self._tokens_left
        return (left is None or left > self._step) and (window is None or size + self._step <= window // 2)

    @property
    def _tokens_left(self) -> int | None:
        """How many tokens the answer may still have; `None` if unlimited."""
        return None if self._limit is None else max(1, self._limit - self._tokens)

    async def _call(self, conversation: StepConversation, last: bool = False) -> bool:
        """Make one step. Return whether the aggregator can continue. Its text counts even if the call fails midway."""
        stitcher = StepStitcher(self._written, self._ended, None if last else self._step_bytes // 2)
        of, complete = len(conversation.shown), sum(shown.complete for shown in conversation.shown.values())
        self._span.note(notes.StaircaseStep(len(self._replies) + 1, of, complete))
        max_tokens = self._tokens_left if last else self._step
        request = replace(conversation.request, messages=conversation.messages, max_tokens=max_tokens)
        try:
            spec = CallSpec("aggregator", is_answer=True, text_filter=stitcher)
            response = await self._span.call(self._synthesize.model, request, spec)
            cut = response.finish_reason == "length" and not last
            rest = stitcher.close(response.text, cut)
            if self._span.streaming:
                self._span.text(rest)
            self._replies.append(response)
            shown, written = len(stitcher.shown), max(1, len(response.text))
            self._tokens += -(-response.usage.output_tokens * shown // written)  # rounded up
            self._ended = not cut
            return cut and bool(stitcher.shown)
        finally:
            if stitcher.shown:
                self._written += stitcher.shown
                self._conversation = conversation.answered(stitcher.shown.strip())
                for proposal in conversation.withdrawn:
                    self._span.note(notes.StaircaseRetracted(proposal.model, proposal.number))


def _unsuited(synthesize: Synthesize, run: MixtureRun) -> str | None:
    """Return why this request is answered without a staircase, or `None`."""
    request, budget = run.request, run.budget
    sent = unwrap_defaults(synthesize.model, request)[1]
    reasons = {
        "its words are not the answer": not run.span.is_answer,
        "the conversation does not end with the user's words": request.messages[-1].role != "user",
        "the request has tools": bool(request.tools),
        "the request has a response format": request.response_format is not None,
        "the request asks for log-probabilities": bool(sent.extra.get("logprobs")),
        "the request has stop strings": bool(sent.stop),
        "a budget in tokens or dollars is kept": budget is not None and (budget.tokens, budget.dollars) != (None, None),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)
