"""One run of a mixture, and the hooks through which strategies change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from .. import notes
from ..budget import Budget
from ..costs.forecast import forecast_stages
from ..errors import LayerError
from ..model import Model
from ..span import Span
from ..types import Request, Response, Usage
from .aggregators import Aggregator, GivenAnswer
from .collector import ProposalObserver
from .layer import Layer


class MixtureParts(Protocol):
    """What strategies can see of their mixture."""

    @property
    def layers(self) -> Sequence[Layer]: ...

    @property
    def aggregator(self) -> Aggregator: ...

    @property
    def strategies(self) -> Sequence[Strategy]: ...


class Hooks:
    """What a strategy can do during one run. Override what you need; by default nothing changes.

    Every hook is called for each strategy of the mixture, in the order of its list.
    """

    def before_layer(self, run: MixtureRun, layer: Layer) -> Layer | None:
        """Return the layer to run, perhaps a smaller one, or `None` to go to the aggregator with the references."""
        return layer

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        """Return a context that follows the proposals of the layer while they are written, or `None`.

        A layer has one observer: the first strategy that returns a context owns the layer, and the strategies after it
        are not asked.
        """
        return None

    async def after_layer(self, run: MixtureRun) -> bool:
        """Return whether to skip the remaining layers. To skip the aggregator as well, set `run.answer`."""
        return False

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        """Return the aggregator to use, usually one around the given one. Later strategies wrap the result."""
        return aggregator

    def closes_at(self, run: MixtureRun) -> float | None:
        """Return when the current layer must end, in seconds since the run began, or `None`. The earliest counts."""
        return None

    def affords(self, run: MixtureRun, model: Model, request: Request) -> bool:
        """Return whether the run can pay for one more call and still for the answer. All strategies must agree."""
        return True


class Strategy(Hooks):
    """A concern that a mixture has besides the layers and the aggregator, such as a budget or an early exit.

    A strategy serves all runs of its mixture, also at the same time. What it learns from run to run is its own state.
    If it needs state for one run, `start` returns hooks made for that run; otherwise it is its own hooks.
    """

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that the strategy itself calls."""
        return ()

    def check(self, mixture: MixtureParts) -> None:
        """Raise `ConfigError` if the strategy cannot work in this mixture. Called when the mixture is made."""

    def start(self, run: MixtureRun) -> Hooks | None:
        """Return the hooks for this run, or `None` if the strategy has no part in it."""
        return self


@dataclass(eq=False)
class MixtureRun:
    """One answer of a mixture while it is made: what strategies can see and change.

    `question` is the request for proposers: sampling options, tools and response format are for the aggregator alone.
    `references` are the latest proposals, `number` is the current layer, counted from 1, and `budget` the limits for
    this run. A strategy that sets `answer` and ends the layers has the aggregator skipped. What must be undone or
    awaited at the end of the run goes onto the stack `cleanup`. Use it as an async context.
    """

    mixture: MixtureParts
    request: Request
    span: Span
    budget: Budget | None = None
    references: tuple[Response, ...] = ()
    number: int = 0
    answer: Response | None = None
    cleanup: AsyncExitStack = field(default_factory=AsyncExitStack)
    question: Request = field(init=False)
    _hooks: Sequence[Hooks] = ()

    def __post_init__(self) -> None:
        self.question = Request(self.request.messages, seed=self.request.seed)

    async def __aenter__(self) -> MixtureRun:
        try:
            started = [strategy.start(self) for strategy in self.mixture.strategies]
        except BaseException:
            await self.cleanup.aclose()
            raise
        self._hooks = [hooks for hooks in started if hooks is not None]
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.cleanup.aclose()

    @property
    def remaining_layers(self) -> Sequence[Layer]:
        """The layers after the current one."""
        return self.mixture.layers[self.number :]

    def forecast(self, layers: Sequence[Layer], references: int) -> Usage:
        """Return the expected usage of these layers and the answer. The first of them reads `references` tokens."""
        answering = next(iter(self.mixture.aggregator.models), None)
        proposers = [layer.proposers for layer in layers]
        return forecast_stages(proposers, answering, self.request, references=references).usage

    def layers(self) -> Iterator[Layer]:
        """Yield the layers to run, as far as the strategies permit."""
        # A tool result is for the model that called the tool, and only the aggregator has tools.
        tool_result = self.request.messages[-1].role == "tool" and bool(self.mixture.aggregator.models)
        for number, layer in enumerate(() if tool_result else self.mixture.layers, 1):
            self.number = number
            if self.references and self.span.run.finishing:
                return
            permitted = self._permitted(layer)
            if permitted is None:
                return
            yield permitted

    def _permitted(self, layer: Layer) -> Layer | None:
        for hooks in self._hooks:
            permitted = hooks.before_layer(self, layer)
            if permitted is None:
                return None
            layer = permitted
        return layer

    async def propose(self, layer: Layer) -> tuple[Response, ...]:
        """Return the proposals of a layer. Raises `LayerError` if they are too few."""
        closes_at = self.closes_at()
        observing = (hooks.observe(self, layer) for hooks in self._hooks)
        first = next((context for context in observing if context is not None), None)
        context: AbstractAsyncContextManager[ProposalObserver | None] = first or nullcontext()
        async with context as observer:
            return await layer.propose(self.question, self.references, self.span, self.number, closes_at, observer)

    def skip(self, error: LayerError) -> None:
        """Skip a layer that failed: the proposals before it are paid for. Raises the error if there are none."""
        if not self.references:
            raise error
        self.span.note(notes.LayerSkipped(self.number, str(error)))

    async def is_done(self) -> bool:
        """Return whether a strategy skips the remaining layers."""
        for hooks in self._hooks:
            if await hooks.after_layer(self):
                return True
        return False

    def aggregator(self) -> Aggregator:
        """Return the aggregator as the strategies wrap it, or the answer that a strategy has set."""
        if self.answer is not None:
            return GivenAnswer(self.answer)
        aggregator = self.mixture.aggregator
        for hooks in self._hooks:
            aggregator = hooks.wrap_aggregator(self, aggregator)
        return aggregator

    def closes_at(self) -> float | None:
        """Return when the current layer must end, in seconds since the run began, or `None`."""
        times = [hooks.closes_at(self) for hooks in self._hooks]
        return min((time for time in times if time is not None), default=None)

    def affords(self, model: Model, request: Request) -> bool:
        """Return whether the run can pay for one more call and still for the answer."""
        return all(hooks.affords(self, model, request) for hooks in self._hooks)
