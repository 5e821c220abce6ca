"""Reruns a stored run with changes. Only calls whose request differs are made and paid.

A proposer that gets the same request as in the stored run replays its answer, or its error. The requests of a later
layer contain the proposals before it, so a change affects everything after it and nothing else. The aggregator is
always called.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .. import notes
from ..config.build import Builder
from ..config.messages import did_you_mean
from ..config.schema import AggregatorTable
from ..costs.forecast import forecast
from ..errors import ConfigError, ModelError
from ..mixture.adaptive_timeout import AdaptiveTimeout
from ..mixture.aggregators import Aggregator, Pick, Synthesize
from ..mixture.layer import Layer
from ..mixture.mixture import Mixture
from ..mixture.strategies.early_exit import EarlyExit
from ..mixture.strategies.staircase import Staircase
from ..model import Model, ModelInfo, WithDefaults, WrapperModel
from ..span import Span, generate
from ..trace.tree import Node, Trace
from ..trace.views import proposals, response_of
from ..types import Request, Response, Usage
from ..wrappers.cache import fingerprint

LONGEST = 100_000
"""Tokens of the longest answer that a dry run makes up."""

Wrap = Callable[[Model], Model]
StoredAnswers = Mapping[str, deque[Response | str]]
"""The responses or errors of a run's proposers, by model and request."""


@dataclass(frozen=True)
class Changes:
    """The changes of a rerun.

    `aggregator` and `prompt` replace those of the mixture, and `without` leaves out a proposer. The proposers of the
    `layer` with this number are called again, or only the `proposer` of this name; without a layer, in all layers.
    """

    aggregator: str | None = None
    prompt: str | None = None
    without: str | None = None
    layer: int | None = None
    proposer: str | None = None

    def calls(self, model: str, layer: int) -> bool:
        """Return whether a proposer of this layer is called again, whatever it answered."""
        if self.proposer is not None:
            return model == self.proposer and self.layer in (None, layer)
        return layer == self.layer

    def __str__(self) -> str:
        changes = {
            "aggregator": self.aggregator,
            "without": self.without,
            "layer": self.layer,
            "proposer": self.proposer,
        }
        parts = [f"{name} {value}" for name, value in changes.items() if value is not None]
        return ", ".join([*parts, *["new prompt"] * (self.prompt is not None)]) or "aggregator called again"


@dataclass(frozen=True)
class Rerun:
    """A rerun of the run with this trace."""

    builder: Builder
    trace: Trace
    changes: Changes

    def model(self, wrap: Wrap = lambda model: model) -> Model:
        """Return the model that answers the rerun. Models that are really called are wrapped.

        Raises `ConfigError` if the changes do not fit the mixture.
        """
        start = self._root.start
        mixture = self._changed(start.model)
        answers = _answers(self._root)
        orders = [[call.start.index or 0 for call, _ in made] for made in proposals(self._root)]
        rebuilt = []
        for number, layer in enumerate(mixture.layers, 1):

            def replay(model: Model, layer: int = number) -> Model:
                called = self.changes.calls(model.name, layer)
                return wrap(model) if called else Replayed(wrap(model), answers, start.run)

            rebuilt.append(self._layer(layer, orders[number - 1] if number <= len(orders) else [], replay))
        # the proposals are there already, so there is nothing for a staircase to follow
        strategies = [strategy for strategy in mixture.strategies if not isinstance(strategy, Staircase)]
        for index, strategy in enumerate(strategies):
            if isinstance(strategy, EarlyExit) and strategy.judge:
                judge = _within(strategy.judge, lambda model: Replayed(wrap(model), answers, start.run))
                strategies[index] = replace(strategy, judge=judge)
        aggregator = _wrapped(mixture.aggregator, wrap)
        again = replace(mixture, layers=rebuilt, aggregator=aggregator, strategies=strategies)
        return RerunOf(again, start.run, str(self.changes))

    @property
    def request(self) -> Request:
        """The request of the run."""
        assert self._root.start.request
        return self._root.start.request

    def plan(self) -> Trace:
        """Return the trace of a dry run, which calls no model: the usage of each call is the expected one.

        Raises `ConfigError` if the changes do not fit, and `ModelError` if the rerun would fail.
        """
        trace = Trace()
        request = replace(self.request, response_format=None)  # the made-up answers follow no format
        asyncio.run(generate(self.model(DryRun), request, trace.add))
        return trace

    @property
    def _root(self) -> Node:
        assert self.trace.root
        return self.trace.root

    def _changed(self, name: str) -> Mixture:
        """Return the mixture of the run as it is configured now, with the changes to its aggregator."""
        provider, own = self.builder.config.resolve(name)
        if provider != "moa":
            raise ConfigError(f"{name} is a single model, not a mixture; only runs of mixtures can be rerun")
        table = self.builder.config.mixtures[own]
        if self.changes.aggregator is not None or self.changes.prompt is not None:
            table = table.model_copy(update={"aggregator": self._aggregator(table.aggregator)})
        mixture = self.builder.mixture(name, table)
        layers = [{model.name for model in layer.proposers} for layer in mixture.layers]
        chosen = [names for number, names in enumerate(layers, 1) if self.changes.layer in (None, number)]
        for proposer, known in ((self.changes.without, layers), (self.changes.proposer, chosen)):
            names = set().union(*known)
            if proposer is not None and proposer not in names:
                where = "" if known is layers or self.changes.layer is None else f"layer {self.changes.layer} of "
                raise ConfigError(f"{proposer!r} is not a proposer of {where}{name}{did_you_mean(proposer, names)}")
        if self.changes.layer is not None and self.changes.layer > len(mixture.layers) + 1:
            raise ConfigError(f"layer: must be at most {len(mixture.layers) + 1} for {name}, got {self.changes.layer}")
        return mixture

    def _aggregator(self, table: AggregatorTable) -> AggregatorTable:
        name, prompt = self.changes.aggregator or table.model, self.changes.prompt
        if name is None:
            raise ConfigError("prompt: a vote has no prompt; name a model with --aggregator")
        kind = "synthesize" if table.kind == "vote" else table.kind
        instruction = {} if prompt is None else {"prompt": prompt, "prompt_file": None}
        return table.model_copy(update={"model": name, "kind": kind, **instruction})

    def _layer(self, layer: Layer, order: list[int], replay: Wrap) -> Layer:
        """Return the layer with replayed answers, in the order in which its proposals were handed on."""
        indexes = list(range(len(layer.proposers)))
        if layer.order != "shuffled":
            first = [index for index in order if index in indexes]
            indexes = [*first, *(index for index in indexes if index not in first)]
        models = [layer.proposers[index] for index in indexes]
        proposers = [_within(model, replay) for model in models if model.name != self.changes.without]
        if not proposers:
            raise ConfigError(f"without: {self.changes.without} is the only proposer of a layer")
        return replace(
            layer,
            proposers=proposers,
            quorum=min(layer.quorum, len(proposers)),
            order="shuffled" if layer.order == "shuffled" else "declared",
            # replayed answers say nothing about latency
            timeout=layer.timeout.max if isinstance(layer.timeout, AdaptiveTimeout) else layer.timeout,
        )


def split(plan: Trace) -> tuple[list[Node], list[Node]]:
    """Return the replayed calls of a plan, and the calls that are made."""
    calls: tuple[list[Node], list[Node]] = [], []
    for call in plan.calls:
        calls[not call.notes_of(notes.Replayed)].append(call)
    return calls


@dataclass(frozen=True)
class RerunOf(WrapperModel):
    """A model whose run notes of which run it is a rerun. Its calls use no cache."""

    of: str
    changed: str

    async def generate(self, request: Request, span: Span) -> Response:
        span.note(notes.Rerun(self.of, self.changed))
        span.cache = "refresh"
        return await self.inner.generate(request, span)


@dataclass(frozen=True)
class Replayed(WrapperModel):
    """A model that replays its answers of the run `of`. Requests that are not in that run are sent."""

    answers: StoredAnswers
    of: str

    async def generate(self, request: Request, span: Span) -> Response:
        stored = self.answers.get(_key(self.name, request))
        if not stored:
            return await self.inner.generate(request, span)
        answer = stored.popleft()
        span.note(notes.Replayed(self.of))
        if isinstance(answer, str):
            raise ModelError(answer, model=self.name)
        if span.streaming:
            span.text(answer.reasoning, "reasoning")
            span.text(answer.text)
        return replace(answer, usage=Usage(cost=0.0))


@dataclass(frozen=True)
class DryRun(WrapperModel):
    """A model that is not called. Its made-up answer is as long as an answer is expected to be."""

    @property
    def info(self) -> ModelInfo:
        """What is known of the inner model, without prewarming."""
        return replace(super().info, prewarm="off")

    def preconnect(self) -> None:
        """Do nothing, as no call follows."""

    async def generate(self, request: Request, span: Span) -> Response:
        expected = forecast(self.inner, request)
        usage = replace(expected.usage, estimated=True)
        length = min(expected.written or 0, LONGEST)
        text = "1" if span.role == "judge" else " ".join(f"{number:03d}" for number in range(length))
        return Response(self.name, text, usage)


def _answers(root: Node) -> StoredAnswers:
    """Return the answers of a run's proposers and judges."""
    answers: dict[str, deque[Response | str]] = {}
    judges = [child for child in root.children if child.start.role == "judge"]
    made = {call.start.span: response for layer in proposals(root) for call, response in layer}
    for call in (*judges, *(call for layer in root.children if layer.start.role == "layer" for call in layer.children)):
        if call.start.request and call.end:
            answer = call.error or made.get(call.start.span) or response_of(call)
            answers.setdefault(_key(call.start.model, call.start.request), deque()).append(answer)
    return answers


def _key(model: str, request: Request) -> str:
    return fingerprint(request, model)


def _within(model: Model, wrap: Wrap) -> Model:
    """Return the model, wrapped inside its `WithDefaults`, so that the wrapper gets the final request."""
    return replace(model, inner=_within(model.inner, wrap)) if isinstance(model, WithDefaults) else wrap(model)


def _wrapped(aggregator: Aggregator, wrap: Wrap) -> Aggregator:
    """Return the aggregator with its models wrapped."""
    match aggregator:
        case Synthesize():
            return replace(aggregator, model=_within(aggregator.model, wrap))
        case Pick():
            fallback = aggregator.fallback and _wrapped(aggregator.fallback, wrap)
            return replace(aggregator, model=_within(aggregator.model, wrap), fallback=fallback)
    return aggregator
