"""Keeps a run within its budget: the mixture shrinks until it fits, before anything fails.

The usage of a call is known only when it has ended. Before that an estimate counts. Actual usage is added up before
each further layer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ... import notes
from ...budget import Budget
from ...costs.forecast import INSTRUCTION, forecast
from ...errors import ModelError, RequestError
from ...model import Model
from ...span import Span
from ...types import Request, Response, Usage
from ..aggregators import Aggregator, WrapperAggregator
from ..layer import Layer
from ..run import Hooks, MixtureRun, Strategy


@dataclass(frozen=True)
class Budgeted(Strategy):
    """Keeps a run within its budget, if it has one."""

    def start(self, run: MixtureRun) -> Hooks | None:
        return BudgetKeeper(run, run.budget) if run.budget else None


class BudgetKeeper(Hooks):
    """Keeps one run within its budget."""

    def __init__(self, run: MixtureRun, budget: Budget) -> None:
        self._budget = budget
        self._ends_at = None if budget.seconds is None else run.span.run.now() + budget.seconds

    def before_layer(self, run: MixtureRun, layer: Layer) -> Layer | None:
        """Return the layer as far as it fits, or `None` if the answer has to be made from the references.

        Raises `RequestError` if not even one proposal and the answer fit.
        """
        if self._budget.tokens is None and self._budget.dollars is None:
            return layer
        read = _output(reference.usage for reference in run.references) + INSTRUCTION if run.references else 0
        kept: list[Model] = []
        for model in layer.proposers:
            problem = self._problem(run, [*kept, model], read)
            if problem is None:
                kept.append(model)
            elif run.references:
                names = tuple(model.name for model in layer.proposers)
                run.span.note(notes.BudgetShrunk(run.number, names, problem))
                return None
        if not kept:
            problem = self._problem(run, layer.proposers[:1], read)
            raise RequestError(f"budget: too small for one proposal and the answer: {problem}")
        if len(kept) < len(layer.proposers):
            left = tuple(model.name for model in layer.proposers if not any(model is other for other in kept))
            run.span.note(notes.BudgetShrunk(run.number, left, "they do not fit the budget"))
            return replace(layer, proposers=kept, quorum=min(layer.quorum, len(kept)))
        return layer

    def closes_at(self, run: MixtureRun) -> float | None:
        """Return the end of the current layer: it, each later layer and the aggregator get equal shares of the time."""
        if self._ends_at is None:
            return None
        now = run.span.run.now()
        return now + (self._ends_at - now) / (len(run.remaining_layers) + 2)

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        return aggregator if self._ends_at is None else TimeLimited(aggregator, self._ends_at)

    def affords(self, run: MixtureRun, model: Model, request: Request) -> bool:
        answer = run.forecast((), _output(reference.usage for reference in run.references) + INSTRUCTION)
        return self._excess(run, [forecast(model, request).usage, answer]) is None

    def _problem(self, run: MixtureRun, proposers: Sequence[Model], read: int) -> str | None:
        """Return why these proposers and the answer do not fit into what is left, or `None` if they do."""
        proposals = [forecast(model, run.question, references=read) for model in proposers]
        written = sum(proposal.written or 0 for proposal in proposals)
        answer = run.forecast((), written + INSTRUCTION)
        return self._excess(run, [*(proposal.usage for proposal in proposals), answer])

    def _excess(self, run: MixtureRun, calls: Iterable[Usage]) -> str | None:
        """Return what makes these calls exceed what is left, or `None`."""
        ahead, spent = Usage.total(calls), run.span.spent
        if self._budget.dollars is not None:
            if ahead.cost is None:
                return (
                    "it is in dollars, but the price of a model is unknown; set price = { input, output } in moa.toml"
                )
            cost = ahead.cost + (spent.cost or 0.0)
            if cost > self._budget.dollars:
                return f"about ${cost:.6g} of ${self._budget.dollars:.6g}"
        total = _tokens(spent) + _tokens(ahead)
        if self._budget.tokens is not None and total > self._budget.tokens:
            return f"about {total} of {self._budget.tokens} tokens"
        return None


@dataclass(frozen=True)
class TimeLimited(WrapperAggregator):
    """An aggregator that fails unless its first token arrives in time. A stream that has started is not cut off.

    `until` is in seconds since the run began.
    """

    until: float

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        task = asyncio.create_task(self.aggregator.aggregate(request, references, span))
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, self.until - span.run.now()))
            if not done and not span.committed:
                raise ModelError(f"no answer in time for the budget, which ends {self.until:.1f} s after the start")
            return await task
        finally:
            if not task.done():
                task.cancel("the time of the budget is over")
                await asyncio.wait({task})


def _output(usages: Iterable[Usage]) -> int:
    return sum(usage.output_tokens for usage in usages)


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
