"""A stored run made again with something changed: only what comes out differently is asked for and paid.

A proposer that is asked what it was asked in the stored run gives the answer it gave there, or is lost as it was. As
the question to a later layer holds the proposals before it, a change makes everything after it new, and nothing else.
The aggregator is always asked.
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
"""Tokens that an answer may really have, whatever its `max_tokens` would let it."""

Wrap = Callable[[Model], Model]
Cache = Mapping[str, deque[Response | str]]
"""What the proposers of a run answered, or why they were lost, by who was asked what."""


@dataclass(frozen=True)
class Changes:
    """What is to be different: another `aggregator` by its name, another `prompt` for it, a proposer left out
    (`without`), the proposers of the `layer` of this number asked anew, or only the one of this name (`proposer`),
    which without a layer is asked in all of them."""

    aggregator: str | None = None
    prompt: str | None = None
    without: str | None = None
    layer: int | None = None
    proposer: str | None = None

    def anew(self, model: str, layer: int) -> bool:
        """Whether a proposer of this layer is asked again, whatever it answered."""
        if self.proposer is not None:
            return model == self.proposer and self.layer in (None, layer)
        return layer == self.layer

    def __str__(self) -> str:
        told = {
            "aggregator": self.aggregator,
            "without": self.without,
            "layer": self.layer,
            "proposer": self.proposer,
        }
        words = [f"{name} {value}" for name, value in told.items() if value is not None]
        return ", ".join([*words, *["another prompt"] * (self.prompt is not None)]) or "the aggregator asked anew"


@dataclass(frozen=True)
class Rerun:
    """A run to be made again: of which the trace is known, with which changes."""

    builder: Builder
    trace: Trace
    changes: Changes

    def model(self, wrap: Wrap = lambda model: model) -> Model:
        """What answers it. Raises `ConfigError` where the changes do not fit. Whoever is really asked is wrapped."""
        start = self._root.start
        mixture = self._changed(start.model)
        answers = _answers(self._root)
        orders = [[call.start.index or 0 for call, _ in made] for made in proposals(self._root)]
        rebuilt = []
        for number, layer in enumerate(mixture.layers, 1):

            def kept(model: Model, layer: int = number) -> Model:
                anew = self.changes.anew(model.name, layer)
                return wrap(model) if anew else Replayed(wrap(model), answers, start.run)

            rebuilt.append(self._layer(layer, orders[number - 1] if number <= len(orders) else [], kept))
        # the proposals are there already, so there is nothing for a staircase to follow
        strategies = [one for one in mixture.strategies if not isinstance(one, Staircase)]
        for index, strategy in enumerate(strategies):
            if isinstance(strategy, EarlyExit) and strategy.judge:
                judge = _within(strategy.judge, lambda model: Replayed(wrap(model), answers, start.run))
                strategies[index] = replace(strategy, judge=judge)
        aggregator = _asking(mixture.aggregator, wrap)
        again = replace(mixture, layers=rebuilt, aggregator=aggregator, strategies=strategies)
        return RerunOf(again, start.run, str(self.changes))

    @property
    def request(self) -> Request:
        """What was asked."""
        assert self._root.start.request
        return self._root.start.request

    def plan(self) -> Trace:
        """What making it again is likely to do, without asking anybody: the usage of each call is what is expected.

        Raises what stands in the way.
        """
        trace = Trace()
        request = replace(self.request, response_format=None)  # which no made-up answer would follow
        asyncio.run(generate(self.model(DryRun), request, trace.add))
        return trace

    @property
    def _root(self) -> Node:
        assert self.trace.root
        return self.trace.root

    def _changed(self, name: str) -> Mixture:
        """The mixture of the run as it is configured now, with the changes to its aggregator and its members."""
        provider, own = self.builder.config.resolve(name)
        if provider != "moa":
            raise ConfigError(f"{name} is one model, not a mixture: nothing of its run can be used again")
        table = self.builder.config.mixtures[own]
        if self.changes.aggregator is not None or self.changes.prompt is not None:
            table = table.model_copy(update={"aggregator": self._aggregator(table.aggregator)})
        mixture = self.builder.mixture(name, table)
        layers = [{model.name for model in layer.proposers} for layer in mixture.layers]
        chosen = [names for number, names in enumerate(layers, 1) if self.changes.layer in (None, number)]
        for told, known in ((self.changes.without, layers), (self.changes.proposer, chosen)):
            names = set().union(*known)
            if told is not None and told not in names:
                where = "" if known is layers or self.changes.layer is None else f"layer {self.changes.layer} of "
                raise ConfigError(f"{told!r} is no proposer of {where}{name}{did_you_mean(told, names)}")
        if self.changes.layer is not None and self.changes.layer > len(mixture.layers) + 1:
            raise ConfigError(f"{name} has {len(mixture.layers) + 1} layers, the aggregator counted")
        return mixture

    def _aggregator(self, table: AggregatorTable) -> AggregatorTable:
        name, prompt = self.changes.aggregator or table.model, self.changes.prompt
        if name is None:
            raise ConfigError("a vote asks no model, so it has no prompt; name a model with --aggregator")
        kind = "synthesize" if table.kind == "vote" else table.kind
        worded = {} if prompt is None else {"prompt": prompt, "prompt_file": None}
        return table.model_copy(update={"model": name, "kind": kind, **worded})

    def _layer(self, layer: Layer, order: list[int], kept: Wrap) -> Layer:
        """The layer with the answers that are kept, in the order in which its proposals were read."""
        places = range(len(layer.proposers))
        if layer.order != "shuffled":
            places_read = [place for place in order if place in places]
            arranged = [*places_read, *(place for place in places if place not in places_read)]
        else:
            arranged = list(places)
        left = [layer.proposers[place] for place in arranged]
        proposers = [_within(model, kept) for model in left if model.name != self.changes.without]
        if not proposers:
            raise ConfigError(f"without {self.changes.without}, a layer of {self._root.start.model} has no proposers")
        return replace(
            layer,
            proposers=proposers,
            quorum=min(layer.quorum, len(proposers)),
            order="shuffled" if layer.order == "shuffled" else "declared",
            # what is answered at once says nothing about how long a model takes
            timeout=layer.timeout.max if isinstance(layer.timeout, AdaptiveTimeout) else layer.timeout,
        )


def split(plan: Trace) -> tuple[list[Node], list[Node]]:
    """The calls of a plan: those whose answers are there already, and those that are made."""
    calls: tuple[list[Node], list[Node]] = [], []
    for call in plan.calls:
        calls[not bool(call.notes_of(notes.Replayed))].append(call)
    return calls


@dataclass(frozen=True)
class RerunOf(WrapperModel):
    """A model whose run says which run it is made from, and what was changed. Who is asked in it is asked anew."""

    of: str
    changed: str

    async def generate(self, request: Request, span: Span) -> Response:
        span.note(notes.Rerun(self.of, self.changed))
        span.cache = "refresh"
        return await self.inner.generate(request, span)


@dataclass(frozen=True)
class Replayed(WrapperModel):
    """A model that gives the answers it gave in the run `of`, and is asked only what it was not asked there."""

    answers: Cache
    of: str

    async def generate(self, request: Request, span: Span) -> Response:
        kept = self.answers.get(_key(self.name, request))
        if not kept:
            return await self.inner.generate(request, span)
        answer = kept.popleft()
        span.note(notes.Replayed(self.of))
        if isinstance(answer, str):
            raise ModelError(answer, model=self.name)
        if span.streaming:
            span.text(answer.reasoning, "reasoning")
            span.text(answer.text)
        return replace(answer, usage=Usage(cost=0.0))


@dataclass(frozen=True)
class DryRun(WrapperModel):
    """A model that is not asked: its answer is as long as is expected (or as can be), and says nothing."""

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


def _answers(root: Node) -> Cache:
    """What the proposers of a run, and those who judged them, answered."""
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
    """The model wrapped beneath its own defaults, so that what wraps it is asked what is sent."""
    return replace(model, inner=_within(model.inner, wrap)) if isinstance(model, WithDefaults) else wrap(model)


def _asking(aggregator: Aggregator, wrap: Wrap) -> Aggregator:
    """The aggregator with the models it asks wrapped."""
    match aggregator:
        case Synthesize():
            return replace(aggregator, model=_within(aggregator.model, wrap))
        case Pick():
            spare = aggregator.fallback and _asking(aggregator.fallback, wrap)
            return replace(aggregator, model=_within(aggregator.model, wrap), fallback=spare)
    return aggregator
