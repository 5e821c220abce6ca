"""An early exit: where the proposals of a layer agree, what would come after them is skipped.

Agreement is the least similarity of any two proposals, because one dissenter is what later layers are for. It says that
models agree, not that they are right. Where they tend to make the same mistakes, as in reasoning, leave it off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ... import notes
from ...costs.forecast import INSTRUCTION
from ...errors import ConfigError, MoaError
from ...model import Model
from ...prompts.prompt import SAME, Prompt
from ...span import CallSpec
from ...types import Request, Response, estimate_tokens
from ...waker import Waker
from ...wire.response_format import problem
from ..proposal_quality import best_proposal, is_complete
from ..run import MixtureRun, Strategy

Skip = Literal["layers", "aggregator"]
"""What is skipped: the remaining layers of proposers, or these and the aggregator."""

JUDGE_TIMEOUT = 30.0
"""Timeout for the judge in seconds. A late verdict saves nothing."""


@dataclass(frozen=True)
class EarlyExit(Strategy):
    """Skips later layers, or the aggregator as well, where the proposals of a layer agree.

    `threshold` is the similarity that every two proposals must reach, up to 1 (the same words). With skip="aggregator"
    the proposal most similar to the others is the answer, word for word, unless the request wants what a proposal
    cannot give. A `judge` is called where the words leave it open, from half the threshold up to it. Less counts as a
    difference, and so does any reply of the judge but a plain yes in time.
    """

    threshold: float = 0.8
    skip: Skip = "layers"
    judge: Model | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            message = f"early_exit.threshold: must be greater than 0 and at most 1, got {self.threshold}"
            raise ConfigError(message, setting="early_exit.threshold")
        if self.skip not in ("layers", "aggregator"):
            message = f"early_exit.skip: must be 'layers' or 'aggregator', got {self.skip!r}"
            raise ConfigError(message, setting="early_exit.skip")

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.judge,) if self.judge else ()

    async def after_layer(self, run: MixtureRun) -> bool:
        answer = self._answer(run)
        if run.span.run.finishing or not (run.remaining_layers or answer):
            return False
        measured = agreement(run.references)
        by = "words"
        if self.judge and self.threshold / 2 <= measured < self.threshold:
            by = "judge"
            agreed = await _judged(self.judge, run)
        else:
            agreed = measured >= self.threshold
        verdict = (run.number, self.threshold, round(measured, 4), by)
        if not agreed:
            run.span.note(notes.EarlyExitDeclined(*verdict))
            return False
        run.span.note(notes.EarlyExit(*verdict, *_savings(run, answer)))
        run.answer = answer
        return True

    def _answer(self, run: MixtureRun) -> Response | None:
        """Return the proposal that can be the answer, if the aggregator may be skipped."""
        if self.skip != "aggregator" or not run.mixture.aggregator.models:
            return None
        proposal = best_proposal(run.references)
        return proposal if _suits(proposal, run.request) else None


def agreement(proposals: Sequence[Response]) -> float:
    """Return the least similarity of any two proposals, 0 to 1; 0 if there are fewer than two or one is incomplete."""
    if len(proposals) < 2 or not all(map(is_complete, proposals)):
        return 0.0
    from ...text.similarity import similarities  # not needed by `import moa`, and slow to import

    rows = similarities([proposal.text for proposal in proposals])
    return min(value for index, row in enumerate(rows) for value in row[:index])


def _savings(run: MixtureRun, answer: Response | None) -> tuple[tuple[str, ...], int, float | None]:
    """Return what an exit skips: the stages, the number of calls, and their expected cost."""
    later = run.remaining_layers
    read = INSTRUCTION + sum(reference.usage.output_tokens for reference in run.references)
    calls = sum(len(layer.proposers) for layer in later)
    skipped = [f"layer {run.number + count}" for count in range(1, len(later) + 1)]
    cost = run.forecast(later, read).cost
    if answer:
        calls += 1
        skipped.append("aggregator")
    elif cost is not None:  # the aggregator is called all the same
        without = run.forecast((), read).cost
        cost = None if without is None else max(0.0, cost - without)
    return tuple(skipped), calls, cost


def _suits(proposal: Response, request: Request) -> bool:
    """Return whether a proposal meets those wishes of the request that only the aggregator is sent."""
    if request.tools or request.extra.get("logprobs") or any(stop in proposal.text for stop in request.stop):
        return False
    length = proposal.usage.output_tokens or estimate_tokens(proposal.text)
    if request.max_tokens is not None and length > request.max_tokens:
        return False
    return problem(request.response_format, proposal.text) is None


async def _judged(judge: Model, run: MixtureRun) -> bool:
    """Return whether the judge says, plainly and in time, that the references give the same answer."""
    request = Prompt(SAME)(run.question, run.references)
    if not run.affords(judge, request):
        return False
    span, closes_at = run.span, run.closes_at()
    timeout = JUDGE_TIMEOUT if closes_at is None else min(JUDGE_TIMEOUT, closes_at - span.run.now())
    waker = Waker()
    span.run.wakers.add(waker)
    call = asyncio.create_task(span.call(judge, request, CallSpec("judge")))
    call.add_done_callback(waker.wake)
    try:
        await waker.wait(timeout)
        return call.done() and _is_yes(call.result().text)
    except (MoaError, TimeoutError):  # the trace shows it; the mixture continues as without a judge
        return False
    finally:
        span.run.wakers.discard(waker)
        call.cancel("the verdict is not needed any more")
        await asyncio.gather(call, return_exceptions=True)


def _is_yes(text: str) -> bool:
    return re.fullmatch(r"[\s*_`'\"(\[]*yes[\s*_`'\".)\]]*", text, re.IGNORECASE) is not None
