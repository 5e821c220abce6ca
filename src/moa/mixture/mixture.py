"""A mixture of agents (Wang et al. 2024, arXiv 2406.04692): layers of proposers, then an aggregator.

A mixture is a model made of models, so mixtures nest. As in the paper, the aggregator counts as the last layer: "3
layers" are two layers of proposers and one aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ..budget import Budget
from ..errors import ConfigError, LayerError
from ..model import Model, check, info, preconnect
from ..span import Span
from ..types import Request, Response
from .aggregators import Aggregator
from .layer import Layer
from .run import MixtureRun, Strategy
from .strategies.budgeted import Budgeted
from .strategies.early_exit import EarlyExit
from .strategies.guarded import Guarded
from .strategies.prewarm import Prewarm
from .strategies.staircase import Staircase

ORDER: tuple[type[Strategy], ...] = (
    Staircase,  # first: it replaces the single call to the aggregator, and observes the last layer before Prewarm can
    Budgeted,  # around the steps of a staircase, so that its time limit holds for them too
    EarlyExit,  # where it stands does not matter, as no other strategy here acts after a layer
    Prewarm,  # observes the layers that the staircase leaves
    Strategy,  # strategies of your own, as they are listed: theirs are the layers that are not observed yet
    Guarded,  # outermost, to catch failures of all aggregators below, also one that the time limit ended
)
"""The order of a mixture's strategies, however they are listed. It decides who observes a layer and who wraps whom."""

S = TypeVar("S", bound=Strategy)


@dataclass(frozen=True)
class Mixture:
    """Layers of proposers and an aggregator that answer as one model.

    The conversation reaches every stage. The request's sampling options, tools and response format are for the
    aggregator, which writes the answer; proposers have options of their own (see `WithDefaults`) and share the seed. A
    conversation that ends with a tool result goes to the aggregator alone. A later layer that fails is skipped, as the
    proposals before it are paid for.

    `budget` limits each request. `strategies` change how the mixture runs, see `Strategy`. Without any, it runs as in
    the paper. They take effect in the order of `ORDER`, whatever the order of the list. What they learn belongs to
    them, so `dataclasses.replace` keeps it.
    """

    layers: Sequence[Layer]
    aggregator: Aggregator
    name: str = "mixture"
    budget: Budget | None = None
    strategies: Sequence[Strategy] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "strategies", _in_order(self.strategies))
        if not self.layers:
            raise ConfigError("a mixture needs at least one layer of proposers")
        for strategy in self.strategies:
            strategy.check(self)

    async def generate(self, request: Request, span: Span) -> Response:
        self.check()
        self._preconnect()
        async with MixtureRun(self, request, span, self._budget(span)) as run:
            for layer in run.layers():
                try:
                    run.references = await run.propose(layer)
                except LayerError as error:
                    run.skip(error)
                    continue
                if await run.is_done():
                    break
            answer = await run.aggregator().aggregate(request, run.references, span)
        return replace(answer, model=self.name, references=run.references)

    @property
    def children(self) -> tuple[Model, ...]:
        """The proposers of all layers, the models of the aggregator, and those of the strategies."""
        proposers = [model for layer in self.layers for model in layer.proposers]
        further = [model for strategy in self.strategies for model in strategy.models]
        return (*proposers, *self.aggregator.models, *further)

    def check(self) -> None:
        """Raise what would stop the aggregator, before anything is paid for proposals."""
        for model in self.aggregator.models:
            check(model)

    def strategy(self, kind: type[S]) -> S | None:
        """Return the strategy of this kind, or `None`."""
        return next((one for one in self.strategies if isinstance(one, kind)), None)

    def stages(self) -> tuple[Sequence[Sequence[Model]], Model | None]:
        """Return the proposers of each layer, and the model that writes the answer. See `moa.costs.forecast`."""
        return [layer.proposers for layer in self.layers], next(iter(self.aggregator.models), None)

    def _preconnect(self) -> None:
        """Open connections to the hosts of later calls while the first layer runs."""
        known = {info(model).host for model in self.layers[0].proposers}
        later = [model for layer in self.layers[1:] for model in layer.proposers]
        for model in (*later, *self.aggregator.models[:1]):
            if info(model).host not in known:
                known.add(info(model).host)
                preconnect(model)

    def _budget(self, span: Span) -> Budget | None:
        """Return the limits for one request: the mixture's own, and those of the run if the run is this request."""
        whole = span.run.budget if span.role == "root" else None
        return self.budget.within(whole) if self.budget else whole


def _in_order(strategies: Sequence[Strategy]) -> tuple[Strategy, ...]:
    """Return the strategies in their order, `Budgeted` among them: any run may have a budget."""

    def kind(strategy: Strategy) -> type[Strategy]:
        return next(kind for kind in type(strategy).__mro__ if kind in ORDER)

    kinds = [kind(strategy) for strategy in strategies]
    for one in kinds:
        if one is not Strategy and kinds.count(one) > 1:
            raise ConfigError(f"strategies: {one.__name__} is listed more than once; keep one of them")
    complete = strategies if Budgeted in kinds else (Budgeted(), *strategies)
    return tuple(sorted(complete, key=lambda strategy: ORDER.index(kind(strategy))))
