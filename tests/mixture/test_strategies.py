"""Strategies: a new concern is one class and one entry in a mixture's list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import moa
from moa import (
    Budget,
    EarlyExit,
    Guarded,
    Hooks,
    Layer,
    Message,
    Mixture,
    MixtureRun,
    Prewarm,
    Request,
    Response,
    Scripted,
    Span,
    Staircase,
    Strategy,
    Synthesize,
    Usage,
)
from moa.errors import ConfigError
from moa.mixture.aggregators import Aggregator, WrapperAggregator
from moa.mixture.collector import ProposalObserver
from moa.mixture.strategies.budgeted import Budgeted
from moa.model import Model, leaves
from moa.span import TextListener

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("user", "Which colour?"),))


def mixture(*strategies: Strategy, layers: int = 1, **more: Any) -> Mixture:
    proposers = [Scripted("a", "red"), Scripted("b", "blue")]
    return Mixture([Layer(proposers)] * layers, Synthesize(Scripted("judge", "purple")), strategies=strategies, **more)


def texts(responses: Sequence[Response]) -> list[str]:
    return [response.text for response in responses]


@dataclass(frozen=True)
class Shouting(WrapperAggregator):
    """An aggregator whose answer is in capitals."""

    async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
        answer = await self.aggregator.aggregate(request, references, span)
        return replace(answer, text=answer.text.upper())


@dataclass
class Watching:
    """An observer that notes whose proposal is done."""

    done: list[int] = field(default_factory=list)

    def text_listener(self, index: int) -> TextListener | None:
        return None

    def on_done(self, index: int, response: Response) -> None:
        self.done.append(index)

    def on_failed(self, index: int) -> None: ...

    def order(self, indexes: Sequence[int]) -> list[int]:
        return sorted(indexes, reverse=True)


@dataclass(eq=False)
class Toy(Strategy):
    """A strategy that uses every hook, and notes in which layer."""

    seen: list[str] = field(default_factory=list)
    observer: Watching = field(default_factory=Watching)

    def before_layer(self, run: MixtureRun, layer: Layer) -> Layer | None:
        self.seen.append(f"before layer {run.number}")
        return layer

    def observe(self, run: MixtureRun, layer: Layer) -> AbstractAsyncContextManager[ProposalObserver] | None:
        return self._observe(run)

    @asynccontextmanager
    async def _observe(self, run: MixtureRun) -> AsyncIterator[ProposalObserver]:
        self.seen.append(f"layer {run.number} begins")
        yield self.observer
        self.seen.append(f"layer {run.number} ends")

    async def after_layer(self, run: MixtureRun) -> bool:
        self.seen.append(f"after layer {run.number}: {' '.join(texts(run.references))}")
        return run.number == 2

    def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
        return Shouting(aggregator)


async def test_a_strategy_that_the_engine_does_not_know_takes_part_through_its_hooks() -> None:
    toy = Toy()
    answer = await moa.generate(mixture(toy, layers=3), QUESTION)
    assert answer.text == "PURPLE"
    assert toy.seen == [
        *("before layer 1", "layer 1 begins", "layer 1 ends", "after layer 1: blue red"),
        *("before layer 2", "layer 2 begins", "layer 2 ends", "after layer 2: blue red"),
    ]
    assert sorted(toy.observer.done) == [0, 0, 1, 1]


async def test_a_strategy_may_shrink_a_layer_or_end_the_layers() -> None:
    class Shrinks(Strategy):
        def before_layer(self, run: MixtureRun, layer: Layer) -> Layer | None:
            return replace(layer, proposers=layer.proposers[:1]) if run.number == 1 else None

    answer = await moa.generate(mixture(Shrinks(), layers=3), QUESTION)
    assert texts(answer.references) == ["red"]


async def test_a_strategy_may_set_the_answer_and_no_aggregator_is_called() -> None:
    class First(Strategy):
        async def after_layer(self, run: MixtureRun) -> bool:
            run.answer = run.references[0]
            return True

    whole = mixture(First(), Guarded(), layers=2)
    async with moa.stream(whole, QUESTION, "answer") as events:
        read = [event.text async for event in events if isinstance(event, moa.TextDelta) and event.answer]
    assert (read, events.response.text, events.response.model) == (["red"], "red", "mixture")
    assert [judge.requests for judge in whole.aggregator.models if isinstance(judge, Scripted)] == [[]]


async def test_a_layer_ends_at_the_earliest_time_that_a_strategy_gives() -> None:
    @dataclass(frozen=True)
    class Ends(Strategy):
        at: float

        def closes_at(self, run: MixtureRun) -> float | None:
            return self.at

    slow = Mixture(
        [Layer([Scripted("a", "red"), Scripted("b", "blue", delay=60)], quorum=2)],
        Synthesize(Scripted("judge", "purple")),
        strategies=[Ends(30.0), Ends(0.05)],
    )
    answer = await asyncio.wait_for(moa.generate(slow, QUESTION), 10)
    assert texts(answer.references) == ["red"]


async def test_a_call_that_one_strategy_forbids_is_not_made() -> None:
    class Forbids(Strategy):
        def affords(self, run: MixtureRun, model: Model, request: Request) -> bool:
            return False

    proposers = [Scripted("a", "There are 35 bridges."), Scripted("b", "There are 35 bridges across the river.")]
    for strategies, calls in (([], 1), ([Forbids()], 0)):
        judge = Scripted("same?", "yes")
        early_exit = EarlyExit(0.8, "aggregator", judge)
        aggregator = Synthesize(Scripted("judge", "35"))
        await moa.generate(Mixture([Layer(proposers)], aggregator, strategies=[early_exit, *strategies]), QUESTION)
        assert len(judge.requests) == calls


async def test_state_of_a_run_belongs_to_hooks_that_are_made_for_it() -> None:
    class Counts(Hooks):
        def __init__(self) -> None:
            self.layers = 0

        async def after_layer(self, run: MixtureRun) -> bool:
            self.layers += 1
            await asyncio.sleep(0)  # both runs are under way
            return self.layers == 2

    class TwoLayers(Strategy):
        def start(self, run: MixtureRun) -> Hooks | None:
            return Counts()

    whole = mixture(TwoLayers(), layers=3)
    await asyncio.gather(*(moa.generate(whole, QUESTION) for _ in range(2)))
    (proposer, _) = whole.layers[0].proposers
    assert isinstance(proposer, Scripted)
    assert len(proposer.requests) == 4


async def test_a_strategy_that_takes_no_part_in_a_run_is_not_called() -> None:
    class Absent(Toy):
        def start(self, run: MixtureRun) -> Hooks | None:
            return None

    toy = Absent()
    assert (await moa.generate(mixture(toy), QUESTION)).text == "purple"
    assert toy.seen == []


async def test_a_strategys_cleanup_runs_at_the_end_of_the_run_however_it_ends() -> None:
    class Cleans(Strategy):
        def start(self, run: MixtureRun) -> Hooks | None:
            run.cleanup.callback(closed.append, "closed")
            return None

    class FailsToStart(Strategy):
        def start(self, run: MixtureRun) -> Hooks | None:
            raise moa.ModelError("cannot start")

    closed: list[str] = []
    layers = [Layer([Scripted("a", "red")])]
    await moa.generate(Mixture(layers, Synthesize(Scripted("judge", "purple")), strategies=[Cleans()]), QUESTION)
    assert closed == ["closed"]
    broken = Synthesize(Scripted("judge", moa.ModelError("out of order")))
    for strategies in ([Cleans()], [Cleans(), FailsToStart()]):
        closed.clear()
        with pytest.raises(moa.ModelError):
            await moa.generate(Mixture(layers, broken, strategies=strategies), QUESTION)
        assert closed == ["closed"]


async def test_the_first_strategy_that_observes_a_layer_owns_it() -> None:
    first, second = Toy(), Toy()
    await moa.generate(mixture(first, second), QUESTION)
    assert [len(toy.observer.done) for toy in (first, second)] == [2, 0]


async def test_the_guard_is_around_the_strategies_of_others() -> None:
    class Breaks(Strategy):
        def wrap_aggregator(self, run: MixtureRun, aggregator: Aggregator) -> Aggregator:
            return Broken(aggregator)

    class Broken(WrapperAggregator):
        async def aggregate(self, request: Request, references: Sequence[Response], span: Span) -> Response:
            raise moa.ModelError("broken")

    for strategies in ([Guarded(), Breaks()], [Breaks(), Guarded()]):
        answer = await moa.generate(mixture(*strategies), QUESTION)
        assert (answer.text in ("red", "blue"), bool(answer.fallback)) == (True, True)


def test_strategies_take_effect_in_one_order_however_they_are_listed() -> None:
    toy, listed = Toy(), [Guarded(), Prewarm(), EarlyExit(), Staircase()]
    kinds = [Staircase, Budgeted, EarlyExit, Prewarm, Toy, Guarded]
    for strategies in ([*listed, toy], [toy, *reversed(listed)]):
        assert [type(strategy) for strategy in mixture(*strategies).strategies] == kinds


def test_a_strategy_is_listed_once() -> None:
    with pytest.raises(ConfigError, match="Guarded is listed more than once"):
        mixture(Guarded(), Guarded())
    assert len(mixture(Toy(), Toy()).strategies) == 3


def test_a_strategy_checks_its_mixture_when_that_is_made() -> None:
    class Deep(Strategy):
        def check(self, mixture: Any) -> None:
            if len(mixture.layers) < 2:
                raise ConfigError("deep: needs two layers")

    assert mixture(Deep(), layers=2).strategy(Deep)
    with pytest.raises(ConfigError, match="deep: needs two layers"):
        mixture(Deep())


async def test_a_copy_of_a_mixture_has_its_strategies_and_their_state() -> None:
    toy = Toy()
    whole = mixture(toy, Prewarm(), Guarded())
    copy = replace(whole, name="copy", budget=Budget(tokens=10_000))
    assert copy.strategies == whole.strategies
    assert copy.strategy(Toy) is toy
    assert (await moa.generate(copy, QUESTION)).model == "copy"


async def test_the_models_of_a_strategy_are_members_of_the_mixture() -> None:
    judge = Scripted("same?", "yes", usage=Usage(5, 1, 0.001))
    assert [leaf.name for leaf in leaves(mixture(EarlyExit(judge=judge)))] == ["a", "b", "judge", "same?"]
