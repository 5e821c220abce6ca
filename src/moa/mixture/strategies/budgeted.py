"""How a mixture keeps within a budget: the plan shrinks until it fits, before anything fails.

What a call will use is known only when it is over. Before it, it is reckoned with; what was really used is counted
before every further layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...budget import Budget
from ...costs.forecast import INSTRUCTION, forecast, forecast_stages
from ...errors import ModelError, RequestError
from ...model import Model
from ...span import Span
from ...types import Request, Response, Usage
from ..aggregators import Aggregator, WrapperAggregator
from ..layer import Layer
from .guarded import Guarded


def aggregation(aggregator: Aggregator, request: Request, read: int) -> Usage:
    """Return the forecast of the last call. A vote makes none."""
    return likely((), aggregator, request, read + INSTRUCTION)


def likely(layers: Sequence[Layer], aggregator: Aggregator, request: Request, read: int) -> Usage:
    """Return the forecast of these layers and the answer. `read` are tokens of references."""
    proposers = [layer.proposers for layer in layers]
    return forecast_stages(proposers, next(iter(aggregator.models), None), request, references=read).usage


class Budgeted:
    """What is left of a budget while a mixture goes through its layers."""

    def __init__(
        self, budget: Budget, layers: Sequence[Layer], aggregator: Aggregator, request: Request, span: Span
    ) -> None:
        self._budget = budget
        self._layers = layers
        self._aggregator = aggregator
        self._request = request
        self._span = span
        self._until = None if budget.seconds is None else span.run.now() + budget.seconds

    def layer(self, number: int, question: Request, references: Sequence[Response]) -> Layer | None:
        """The layer of this number as far as it fits, or `None` where the answer is to be made of what is there.

        Raises `RequestError` when not even one proposal and the answer fit.
        """
        layer = self._layers[number - 1]
        read = _written(reference.usage for reference in references) + INSTRUCTION if references else 0
        kept: list[Model] = []
        for model in layer.proposers:
            problem = self._problem([*kept, model], question, read)
            if problem is None:
                kept.append(model)
            elif references:
                self._span.note("shrunk", layer=number, left_out=[one.name for one in layer.proposers], reason=problem)
                return None
        if not kept:
            problem = self._problem(layer.proposers[:1], question, read)
            raise RequestError(f"the budget is too small for one proposal and the answer: {problem}")
        if len(kept) < len(layer.proposers):
            left = [model.name for model in layer.proposers if not any(model is one for one in kept)]
            self._span.note("shrunk", layer=number, left_out=left, reason="they do not fit the budget")
            return replace(layer, proposers=kept, quorum=min(layer.quorum, len(kept)))
        return layer

    def until(self, number: int) -> float | None:
        """When the layer of this number must close, in seconds since the run began, for those after it to have time."""
        if self._until is None:
            return None
        now = self._span.run.now()
        return now + (self._until - now) / (len(self._layers) - number + 2)

    def aggregator(self) -> Aggregator:
        """The aggregator, which must have begun to speak when the time is over, or gives way to the best proposal."""
        if self._until is None:
            return self._aggregator
        if isinstance(self._aggregator, Guarded):
            return replace(self._aggregator, aggregator=TimeLimited(self._aggregator.aggregator, self._until))
        return TimeLimited(self._aggregator, self._until)

    @property
    def counts(self) -> bool:
        """Whether there is a limit to tokens or dollars, not to time alone."""
        return self._budget.tokens is not None or self._budget.dollars is not None

    def affords(self, model: Model, request: Request, references: Sequence[Response]) -> bool:
        """Whether one more call and the answer from these references fit into what is left."""
        read = _written(reference.usage for reference in references)
        answer = aggregation(self._aggregator, self._request, read)
        return self._excess([forecast(model, request).usage, answer]) is None

    def _problem(self, proposers: Sequence[Model], question: Request, read: int) -> str | None:
        """Why these proposers and the answer do not fit into what is left, or `None` if they do."""
        proposals = [forecast(model, question, references=read) for model in proposers]
        written = sum(proposal.written or 0 for proposal in proposals)
        answer = aggregation(self._aggregator, self._request, written)
        return self._excess([*(proposal.usage for proposal in proposals), answer])

    def _excess(self, calls: Iterable[Usage]) -> str | None:
        """What makes these calls too much for what is left, or `None`."""
        ahead, spent = Usage.total(calls), self._span.spent
        if self._budget.dollars is not None:
            if ahead.cost is None:
                return "it is in dollars, and a price is unknown; say it in moa.toml (price = { input, output })"
            cost = ahead.cost + (spent.cost or 0.0)
            if cost > self._budget.dollars:
                return f"about ${cost:.6g} of ${self._budget.dollars:.6g}"
        total = _all(spent) + _all(ahead)
        if self._budget.tokens is not None and total > self._budget.tokens:
            return f"about {total} of {self._budget.tokens} tokens"
        return None


@dataclass(frozen=True)
class TimeLimited(WrapperAggregator):
    """An aggregator that must have begun to speak by a moment, in seconds since the run began. Words that somebody
    reads are not cut off."""

    until: float

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        task = asyncio.create_task(self.aggregator.aggregate(request, references, span))
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, self.until - span.run.now()))
            if not done and not span.committed:
                raise ModelError(f"no answer within the {self.until:.1f} s that the budget gave")
            return await task
        finally:
            if not task.done():
                task.cancel("the time of its budget is over")
                await asyncio.wait({task})


def _written(usages: Iterable[Usage]) -> int:
    return sum(usage.output_tokens for usage in usages)


def _all(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
