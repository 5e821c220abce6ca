"""The guard: an aggregation that fails or is plainly flawed is replaced by the best proposal, and flagged.

Text that was already streamed is never retracted. If the aggregator fails in the middle of a streamed answer, the best
proposal follows after a line that says so. A flaw that shows only at the end of a streamed answer is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ... import notes
from ...errors import BadReply, ModelError
from ...span import Span
from ...types import Message, Request, Response
from ...wire.response_format import problem
from ..aggregators import Aggregator, WrapperAggregator
from ..proposal_quality import best_proposal, refuses, repeats
from ..run import MixtureRun, Strategy


@dataclass(frozen=True)
class Guarded(Strategy):
    """Answers with the best proposal where the aggregator fails, returns nothing, refuses or repeats itself.

    An answer that must follow a JSON schema (`response_format`) is not streamed before it is complete. One that breaks
    the schema is requested once more with the problem named. If that fails too, a proposal that follows the schema is
    the answer, and without one `BadReply` is raised.
    """

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        return GuardedAggregator(aggregator)


@dataclass(frozen=True)
class GuardedAggregator(WrapperAggregator):
    """An aggregator that falls back to the best proposal."""

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        if request.response_format is not None:
            return await self._formatted(request, references, span)
        try:
            answer = await self.aggregator.aggregate(request, references, span)
        except ModelError as error:
            if not references:
                raise
            return _fall_back(f"the aggregator failed: {_first_line(error)}", references, span)
        flaw = find_flaw(answer, request, references)
        if flaw is None:
            return answer
        if span.committed:
            span.note(notes.AnswerFlawed(flaw))
            return replace(answer, fallback=f"{flaw}; it was streamed already, so it is kept")
        return _fall_back(flaw, references, span)

    async def _formatted(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        try:
            with span.section("section", "held back until complete") as quiet:
                answer = await self._repaired(request, references, quiet)
        except ModelError as error:
            valid = [proposal for proposal in references if not problem(request.response_format, proposal.text)]
            if not valid:
                raise
            return _fall_back(f"the aggregator failed: {_first_line(error)}", valid, span)
        if span.streaming:
            span.text(answer.text)
        return answer

    async def _repaired(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        """Return an answer in the response format, at the second attempt if needed. Raises `BadReply` without one."""
        answer = await self.aggregator.aggregate(request, references, span)
        wrong = None if answer.tool_calls else problem(request.response_format, answer.text)
        if wrong is None:
            return answer
        if not self.models:  # a vote would have the same result again
            raise BadReply(f"the proposal chosen by vote does not match the response format: {wrong}")
        span.note(notes.FormatRetry(wrong))
        again = (
            *request.messages,
            Message("assistant", answer.text),
            Message("user", f"That is not in the form asked for: {wrong}. Reply with the corrected JSON alone."),
        )
        answer = await self.aggregator.aggregate(replace(request, messages=again), references, span)
        wrong = None if answer.tool_calls else problem(request.response_format, answer.text)
        if wrong is None:
            return answer
        name = self.models[0].name
        raise BadReply(
            f"{name}: the answer does not match the response format, even after a retry: {wrong}", model=name
        )


def find_flaw(answer: Response, request: Request, references: Sequence[Response]) -> str | None:
    """Return what makes the answer plainly worse than a proposal, or `None`."""
    if not references or answer.tool_calls:
        return None
    if not answer.text.strip():
        return "the aggregation is empty"
    complete = any(reference.finish_reason == "stop" for reference in references)
    if answer.finish_reason == "length" and request.max_tokens is None and complete:
        return "the aggregation was cut off while a proposal is whole"
    if refuses(answer.text) and not all(refuses(reference.text) for reference in references):
        return "the aggregation refuses while a proposal answers"
    if repeats(answer.text) and not all(repeats(reference.text) for reference in references):
        return "the aggregation repeats itself"
    return None


def _fall_back(reason: str, references: Sequence[Response], span: Span) -> Response:
    """Return the best proposal as the answer, and stream it after what was streamed already."""
    chosen = best_proposal(references)
    explanation = f"{reason}; this is the proposal of {chosen.model}"
    span.note(notes.Fallback(reason, chosen.model))
    if span.streaming:
        span.text(f"\n\n[{explanation}]\n\n{chosen.text}" if span.committed else chosen.text)
    return replace(chosen, fallback=explanation)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
