"""Never worse than a proposal: an aggregation that fails, or is plainly flawed, gives way to the best one, flagged.

Words that somebody has read are not taken back. If the aggregator fails in the middle of an answer being read, the best
proposal follows after a line that says so; a flaw that shows only at the end of such an answer is noted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import BadReply, ModelError
from ...span import Span
from ...text.similarity import cosines
from ...types import Message, Request, Response
from ...wire.response_format import problem
from ..aggregators import WrapperAggregator

_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m (?:very |so )?sorry|(?:i am |i['’]m )?(?:very |so )?sorry|i apologi[sz]e|unfortunately|as an ai\b|"
    r"i (?:can['’]?t|cannot|am unable|am not able)|i['’]m (?:unable|not able))",
    re.IGNORECASE,
)
_INABILITY = re.compile(r"\b(?:can['’]?t|cannot|unable|not able|won['’]?t)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Guarded(WrapperAggregator):
    """An aggregator around an aggregator.

    An answer that must follow a JSON schema (`response_format`) is read by nobody before it is whole; one that breaks
    the schema is asked for once more with the problem named, and then is a `BadReply` unless a proposal follows it.
    """

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        if request.response_format is not None:
            return await self._formatted(request, references, span)
        try:
            answer = await self.aggregator.aggregate(request, references, span)
        except ModelError as error:
            if not references:
                raise
            return _instead(f"the aggregator failed: {_line(error)}", references, span)
        found = flaw(answer, request, references)
        if found is None:
            return answer
        if span.committed:
            span.note("flaw", flaw=found)
            return replace(answer, fallback=f"{found}; it was being read, so it stands")
        return _instead(found, references, span)

    async def _formatted(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        try:
            with span.section("section", "held back until it is whole") as quiet:
                answer = await self._repaired(request, references, quiet)
        except ModelError as error:
            fitting = [one for one in references if not problem(request.response_format, one.text)]
            if not fitting:
                raise
            return _instead(f"the aggregator failed: {_line(error)}", fitting, span)
        if span.streaming:
            span.text(answer.text)
        return answer

    async def _repaired(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        """An answer in the form asked for. Raises `BadReply` when it is not, also when it is asked for once more."""
        answer = await self.aggregator.aggregate(request, references, span)
        wrong = None if answer.tool_calls else problem(request.response_format, answer.text)
        if wrong is None:
            return answer
        if not self.models:  # votes are what they are
            raise BadReply(f"the proposal that was voted for is not in the form asked for: {wrong}")
        span.note("repair", problem=wrong)
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
        raise BadReply(f"{name}: not in the form asked for, also when asked again: {wrong}", model=name)


def flaw(answer: Response, request: Request, references: Sequence[Response]) -> str | None:
    """What makes the aggregation plainly worse than a proposal, or `None`."""
    if not references or answer.tool_calls:
        return None
    if not answer.text.strip():
        return "the aggregation is empty"
    whole = any(reference.finish_reason == "stop" for reference in references)
    if answer.finish_reason == "length" and request.max_tokens is None and whole:
        return "the aggregation was cut off while a proposal is whole"
    if refuses(answer.text) and not all(refuses(reference.text) for reference in references):
        return "the aggregation refuses while a proposal answers"
    if repeats(answer.text) and not all(repeats(reference.text) for reference in references):
        return "the aggregation repeats itself"
    return None


def best(references: Sequence[Response]) -> Response:
    """The proposal to stand for all: whole, no refusal, no repetition, and most like the others."""
    alike = cosines([reference.text for reference in references])

    def rank(place: int) -> tuple[bool, bool, bool, float]:
        reference = references[place]
        sound = not refuses(reference.text), not repeats(reference.text), reference.finish_reason == "stop"
        return *sound, sum(alike[place])

    return references[max(range(len(references)), key=rank)]


def refuses(text: str) -> bool:
    """Whether a short text says no more than that it cannot help."""
    return len(text) < 500 and bool(_REFUSAL.search(text)) and bool(_INABILITY.search(text))


def repeats(text: str) -> bool:
    """Whether more than half of the runs of six words in a text have been there before."""
    words = text.casefold().split()
    runs = [tuple(words[place : place + 6]) for place in range(len(words) - 5)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2


def _instead(reason: str, references: Sequence[Response], span: Span) -> Response:
    chosen = best(references)
    told = f"{reason}; this is the proposal of {chosen.model}"
    span.note("fallback", model=chosen.model, error=reason)
    if span.streaming:
        span.text(f"\n\n[{told}]\n\n{chosen.text}" if span.committed else chosen.text)
    return replace(chosen, fallback=told)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
