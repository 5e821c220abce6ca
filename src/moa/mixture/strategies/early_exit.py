"""An early exit: where the proposals of a layer say the same, what would come after them is not asked.

Agreement is the least similarity of any two proposals, since one that dissents is what later layers are for. It says
that models agree, not that they are right; where they tend to err alike, as in reasoning, leave it off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...costs.forecast import INSTRUCTION
from ...errors import ConfigError, MoaError
from ...model import Model
from ...prompts.prompt import SAME, Prompt
from ...span import CallSpec, Span
from ...text.similarity import similarities
from ...types import Request, Response, estimate_tokens
from ...waker import Waker
from ...wire.response_format import problem
from ..aggregators import Aggregator
from ..layer import Layer
from .budgeted import Budgeted, aggregation, likely
from .guarded import best, refuses, repeats

Skip = Literal["layers", "aggregator"]
"""What is not asked: the layers of proposers that are left, or these and the aggregator."""

PATIENCE = 30.0
"""Seconds a judge is waited for; an early exit that comes late is none."""


@dataclass(frozen=True)
class EarlyExit:
    """When proposals count as the same answer, and what is skipped then.

    `threshold` is the similarity that any two of them must have, up to 1 (the same words). With skip="aggregator" the
    proposal most like the others is the answer, word for word, unless the request wants what a proposal cannot give. A
    `judge` is asked where the words leave it in doubt, from half the threshold up to it; less is taken for a
    difference, and unless it replies with a plain yes in time, the proposals count as different.
    """

    threshold: float = 0.8
    skip: Skip = "layers"
    judge: Model | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"agree: threshold must be more than 0 and at most 1, not {self.threshold}")
        if self.skip not in ("layers", "aggregator"):
            raise ConfigError(f"agree: skip is layers or aggregator, not {self.skip!r}")


@dataclass(frozen=True)
class Exit:
    """The layers end here. `answer` is the proposal to say, `None` where the aggregator still writes."""

    answer: Response | None


def agreement(proposals: Sequence[Response]) -> float:
    """The least similarity of any two proposals, 0 to 1; 0 with fewer than two, or with one that is no whole answer."""
    if len(proposals) < 2 or not all(map(_whole, proposals)):
        return 0.0
    return min(
        value for place, row in enumerate(similarities([one.text for one in proposals])) for value in row[:place]
    )


async def early_exit(
    agree: EarlyExit,
    number: int,
    later: Sequence[Layer],
    aggregator: Aggregator,
    request: Request,
    references: Sequence[Response],
    span: Span,
    plan: Budgeted | None,
) -> Exit | None:
    """Whether the references, the proposals of layer `number`, agree so that what comes after them can be skipped."""
    answer = best(references) if agree.skip == "aggregator" and aggregator.models else None
    if answer and not _suits(answer, request):
        answer = None
    if span.run.finishing or not (later or answer):
        return None
    measured = agreement(references)
    by = "words"
    if agree.judge and agree.threshold / 2 <= measured < agree.threshold:
        by = "judge"
        alike = await _judged(agree.judge, number, request, references, span, plan)
    else:
        alike = measured >= agree.threshold
    told = {"layer": number, "threshold": agree.threshold, "agreement": round(measured, 4), "by": by}
    if not alike:
        span.note("differed", **told)
        return None
    read = INSTRUCTION + sum(reference.usage.output_tokens for reference in references)
    ahead, now = likely(later, aggregator, request, read), aggregation(aggregator, request, read)
    count = sum(len(layer.proposers) for layer in later)
    skipped = [f"layer {number + place}" for place in range(1, len(later) + 1)]
    cost = ahead.cost
    if answer:
        count += 1
        skipped.append("aggregator")
    elif cost is not None:
        cost = None if now.cost is None else max(0.0, cost - now.cost)
    span.note("agreed", **told, skipped=skipped, calls=count, cost=cost)
    return Exit(answer)


def _whole(proposal: Response) -> bool:
    """Whether it is an answer to compare: one that came to its end and helps."""
    ended = proposal.finish_reason == "stop" and not proposal.tool_calls
    return ended and not refuses(proposal.text) and not repeats(proposal.text)


def _suits(proposal: Response, request: Request) -> bool:
    """Whether it is an answer as the caller asked for it, though what was asked went to the aggregator alone."""
    if request.tools or request.extra.get("logprobs") or any(stop in proposal.text for stop in request.stop):
        return False
    length = proposal.usage.output_tokens or estimate_tokens(proposal.text)
    if request.max_tokens is not None and length > request.max_tokens:
        return False
    return problem(request.response_format, proposal.text) is None


async def _judged(
    judge: Model, number: int, request: Request, references: Sequence[Response], span: Span, plan: Budgeted | None
) -> bool:
    """Whether the judge says, plainly and in time, that the references give the same answer."""
    asked = Prompt(SAME)(Request(request.messages, seed=request.seed), references)
    if plan and not plan.affords(judge, asked, references):
        return False
    until = plan.until(number) if plan else None
    patience = PATIENCE if until is None else min(PATIENCE, until - span.run.now())
    waker = Waker()
    span.run.wakers.add(waker)
    call = asyncio.create_task(span.call(judge, asked, CallSpec("judge")))
    call.add_done_callback(waker.wake)
    try:
        await waker.wait(patience)
        return call.done() and _is_yes(call.result().text)
    except (MoaError, TimeoutError):  # it is seen in the trace; the mixture goes on as if nobody had been asked
        return False
    finally:
        span.run.wakers.discard(waker)
        call.cancel("not waited for any longer")
        await asyncio.gather(call, return_exceptions=True)


def _is_yes(text: str) -> bool:
    return re.fullmatch(r"[\s*_`'\"(\[]*yes[\s*_`'\".)\]]*", text, re.IGNORECASE) is not None
