"""A mixture of agents (Wang et al. 2024, arXiv 2406.04692): layers of proposers, then an aggregator.

A mixture is a model made of models, so mixtures nest. The paper counts the aggregator as the last layer, and so do we
wherever layers are counted: "3 layers" is two layers of proposers and one aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace

from ..budget import Budget
from ..errors import ConfigError, LayerError
from ..model import Model, check, info, preconnect
from ..span import Span
from ..types import Request, Response
from .aggregators import Aggregator, reader, said
from .layer import Layer, ProposalObserver
from .strategies.budgeted import Budgeted
from .strategies.early_exit import EarlyExit, Exit, early_exit
from .strategies.prewarm import reading_ahead
from .strategies.prewarm_session import PendingPrompt, PrewarmStats
from .strategies.staircase import Staircase, StaircaseAggregator, climbing


@dataclass(frozen=True)
class Mixture:
    """Layers of proposers and an aggregator that answer as one model.

    The caller's conversation reaches every stage. The caller's sampling options, tools and response format belong to
    the aggregator, whose words are the answer; proposers have options of their own (see `WithDefaults`) and share the
    seed. A conversation that ends with what a tool gave back goes to the aggregator alone. A later layer that fails is
    skipped, for what the layer before it proposed is paid for. `budget` is the most that one request may use; `agree`
    says when proposals agree so that the rest is skipped, `None` that they are never asked whether they do; `staircase`
    that the aggregator begins while the last proposals are being written, `None` that it waits for them.
    """

    layers: Sequence[Layer]
    aggregator: Aggregator
    name: str = "mixture"
    budget: Budget | None = None
    agree: EarlyExit | None = None
    staircase: Staircase | None = None
    _habits: PrewarmStats = field(default_factory=PrewarmStats, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ConfigError("a mixture needs at least one layer of proposers")
        if self.staircase:
            self.staircase.check(self.layers, self.aggregator, self.agree)

    @property
    def children(self) -> tuple[Model, ...]:
        """The proposers of all layers, the models of the aggregator, and the judge of an early exit."""
        proposers = [model for layer in self.layers for model in layer.proposers]
        judge = (self.agree.judge,) if self.agree and self.agree.judge else ()
        return (*proposers, *self.aggregator.models, *judge)

    def check(self) -> None:
        """Raise what would stop the aggregator, before anything is paid for proposals it could not read."""
        for model in self.aggregator.models:
            check(model)

    async def generate(self, request: Request, span: Span) -> Response:
        self.check()
        self._reach_ahead()
        plan = self._plan(request, span)
        async with climbing(self.staircase, self.aggregator, request, span, plan) as climb:
            return await self._answer(request, span, plan, climb)

    async def _answer(
        self, request: Request, span: Span, plan: Budgeted | None, climb: StaircaseAggregator | None
    ) -> Response:
        question = Request(request.messages, seed=request.seed)
        references: tuple[Response, ...] = ()
        leaving: Exit | None = None
        # What a tool gave back is for the model that called it.
        acting = request.messages[-1].role == "tool" and bool(self.aggregator.models)
        for number, layer in enumerate(() if acting else self.layers, 1):
            if references and span.run.finishing:
                break
            fitting = plan.layer(number, question, references) if plan else layer
            if fitting is None:
                break
            until = plan.until(number) if plan else None
            try:
                readers = self._readers(number, question, request)
                follower: AbstractAsyncContextManager[ProposalObserver | None]
                if climb and number == len(self.layers):
                    follower = nullcontext(climb.follow(fitting))
                else:
                    follower = reading_ahead(readers, fitting, span, number + 1, self._habits, paid=plan is None)
                async with follower as following:
                    references = await fitting.propose(question, references, span, number, until, following)
            except LayerError as error:
                if not references:
                    raise
                span.note("skipped", layer=number, error=str(error))
                continue
            if self.agree:
                later = self.layers[number:]
                leaving = await early_exit(self.agree, number, later, self.aggregator, request, references, span, plan)
                if leaving:
                    break
        if leaving and leaving.answer:
            said(leaving.answer, span)
            return replace(leaving.answer, model=self.name, references=references)
        aggregator = plan.aggregator() if plan else self.aggregator
        if climb:
            aggregator = climb.within(aggregator)
        answer = await aggregator.aggregate(request, references, span)
        return replace(answer, model=self.name, references=references)

    def stages(self) -> tuple[Sequence[Sequence[Model]], Model | None]:
        """The proposers of each layer, and the model that writes the answer. See `moa.costs.forecast`."""
        return [layer.proposers for layer in self.layers], next(iter(self.aggregator.models), None)

    def _reach_ahead(self) -> None:
        """Open the way to the machines of later calls while the first layer thinks."""
        known = {info(model).host for model in self.layers[0].proposers}
        later = [model for layer in self.layers[1:] for model in layer.proposers]
        for model in (*later, *self.aggregator.models[:1]):
            if info(model).host not in known:
                known.add(info(model).host)
                preconnect(model)

    def _readers(self, number: int, question: Request, request: Request) -> list[PendingPrompt]:
        """Who will read the proposals of a layer."""
        if number == len(self.layers):
            last = reader(self.aggregator, request)
            return [last] if last else []
        following = self.layers[number]
        return [PendingPrompt(model, following.prompt, question) for model in following.proposers]

    def _plan(self, request: Request, span: Span) -> Budgeted | None:
        """How the budget is kept: the run's by the mixture that was asked, its own by every mixture."""
        whole = span.run.budget if span.role == "root" else None
        budget = self.budget.within(whole) if self.budget else whole
        return Budgeted(budget, self.layers, self.aggregator, request, span) if budget else None
