"""Aggregators turn the last proposals into one answer: a model synthesizes it or picks one, or they vote.

An aggregator lists the `models` that it calls, so that they can be checked, drawn and priced before a run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from .. import notes
from ..errors import BadReply, ContextOverflow
from ..model import Model
from ..prompts.prompt import AGGREGATE, CHOOSE, Prompt
from ..span import CallSpec, Span
from ..types import Request, Response
from .references import PendingPrompt, ask_with_references

_ANSWER = CallSpec("aggregator", is_answer=True)


class Aggregator(Protocol):
    """Turns references into the answer. One whose model reads them all may be a `ReferenceReader` too."""

    @property
    def models(self) -> tuple[Model, ...]: ...

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response: ...


@runtime_checkable
class ReferenceReader(Protocol):
    """An aggregator in which one model reads all references, so that its prompt can be prewarmed."""

    def pending_prompt(self, request: Request) -> PendingPrompt:
        """Return the prompt as far as it is known before the references."""
        ...


def pending_prompt(aggregator: Aggregator, request: Request) -> PendingPrompt | None:
    """Return the prompt of a `ReferenceReader`, or `None` for any other aggregator."""
    if not issubclass(type(aggregator), ReferenceReader):  # unlike `isinstance`, this is cached for protocols
        return None
    return cast(ReferenceReader, aggregator).pending_prompt(request)


@dataclass(frozen=True)
class WrapperAggregator:
    """An aggregator around an aggregator."""

    aggregator: Aggregator

    @property
    def models(self) -> tuple[Model, ...]:
        return self.aggregator.models


@dataclass(frozen=True)
class Synthesize:
    """The paper's aggregator: a model reads all references and writes the answer."""

    model: Model
    prompt: Prompt = AGGREGATE

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.model,)

    def pending_prompt(self, request: Request) -> PendingPrompt:
        """Return the prompt as far as it is known before the references."""
        return PendingPrompt(self.model, self.prompt, request)

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        return await ask_with_references(self.model, self.prompt, request, references, span, _ANSWER)


@dataclass(frozen=True)
class Pick:
    """The paper's ranker baseline: a model names the best reference, and that is the answer, unchanged.

    If the reply is not exactly one valid number, the `fallback` aggregates instead, and the trace shows it. Without a
    fallback it is a `BadReply`. A request with tools goes to the fallback, which can call them.
    """

    model: Model
    fallback: Aggregator | None = None
    prompt: Prompt = Prompt(CHOOSE)

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.model, *(self.fallback.models if self.fallback else ()))

    def pending_prompt(self, request: Request) -> PendingPrompt:
        """Return the prompt as far as it is known before the references."""
        return PendingPrompt(self.model, self.prompt, request)

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        if self.fallback and (request.tools or not references):  # no proposal can call a tool
            return await self.fallback.aggregate(request, references, span)
        question = Request(request.messages, seed=request.seed)
        try:
            verdict = await span.call(self.model, self.prompt(question, references), CallSpec("judge"))
        except ContextOverflow as error:  # a choice needs all references at once
            if not self.fallback:
                raise
            problem = str(error)
        else:
            number = _number(verdict.text)
            if 1 <= number <= len(references):
                span.note(notes.Picked(number, references[number - 1].model))
                return as_answer(references[number - 1], span)
            named = f"a number from 1 to {len(references)}"
            problem = f"{self.model.name}: must reply with {named}, got {verdict.text[:80]!r}"
            if not self.fallback:
                raise BadReply(problem, model=self.model.name)
        span.note(notes.Fallback(problem))
        return await self.fallback.aggregate(request, references, span)


@dataclass(frozen=True)
class Vote:
    """The answer that most references give, for short answers such as a number, a name, a choice.

    Case, surrounding punctuation and white space do not count. A tie goes to the answer that comes first.
    """

    models: tuple[Model, ...] = ()

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        ballots = [_ballot(reference.text) for reference in references]
        votes = Counter(ballots).most_common()
        span.note(notes.Voted(tuple(votes)))
        return as_answer(references[ballots.index(votes[0][0])], span)


@dataclass(frozen=True)
class GivenAnswer:
    """An aggregator for an answer that is known already."""

    answer: Response
    models: tuple[Model, ...] = ()

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        return as_answer(self.answer, span)


def _number(text: str) -> int:
    """Return the number that a reply consists of, without the marks around it, or 0 if it is anything else."""
    stated = re.fullmatch(r"[\s*_`'\"#(\[<]*([0-9]{1,4})[\s*_`'\".:)\]>]*", text)
    return int(stated[1]) if stated else 0


def _ballot(text: str) -> str:
    return re.sub(r"^\W+|\W+$", "", " ".join(text.casefold().split())) or text.strip()


def as_answer(reference: Response, span: Span) -> Response:
    """Return a reference as the answer and stream its text. Its tokens were counted when it was proposed."""
    if span.streaming:
        span.text(reference.text)
    return reference
