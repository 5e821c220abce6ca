"""Which mixture to take: members, samples, layers and aggregator, searched by successive halving over prompts.

First every model answers a few prompts alone. Out of the best of them candidates are made: each alone, sampled several
times, and mixed with the others, under the aggregators that promise most. All candidates are asked a few prompts, the
better half of them twice as many, and so on: calls that candidates share are made once, where calls are kept. What is
found is a front: mixtures of which none is better in one thing without being worse in another.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..errors import ConfigError
from .candidate import Candidate
from .statistics import Estimate, Resampled

BEGIN = 16
"""Prompts of the first round."""

BEST = 4
"""How many of the models that answered best alone are combined."""

WEAK = 0.5
"""A model with a smaller share of the best one's score is not combined: weak proposers make answers worse."""

SAMPLES = (3, 6)
"""How often a model is sampled where it is mixed with itself."""

AGGREGATORS = 2
"""How many of the best models are tried as aggregators, besides the model sampled itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One prompt: a score from 0 to 1, US dollars (`None`: unknown), seconds from the question to the last word."""

    score: float
    cost: float | None
    seconds: float


Assess = Callable[[Sequence[Candidate], int], Awaitable[Mapping[Candidate, Sequence[Measured]]]]
"""Asks candidates the first so many prompts, each the same ones in the same order."""


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate and what came of it over its `prompts`: the mean `score` in percent with its interval, mean cost in
    US dollars, mean seconds. `within` says that it keeps to the limits, `front` that nobody else who does beats it in
    one of the three and equals it in the others."""

    candidate: Candidate
    prompts: int
    score: Estimate
    cost: float | None
    seconds: float
    within: bool
    front: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a question may take on average, in US dollars and in seconds; `None` is any number."""

    cost: float | None = None
    seconds: float | None = None

    def hold(self, cost: float | None, seconds: float) -> bool:
        """Whether so much is within them. An unknown cost is not within a limit."""
        dear = self.cost is not None and (cost is None or cost > self.cost)
        return not dear and (self.seconds is None or seconds <= self.seconds)


async def tune(members: Sequence[str], assess: Assess, prompts: int, limits: Limits, *, seed: int = 0) -> list[Found]:
    """What was found, the best of those within the limits first. Raises `ConfigError` where nothing could be."""
    if not members:
        raise ConfigError("there is no model to tune with; name them with -m")
    begin = min(BEGIN, prompts)
    alone = [Candidate(((model, 1),)) for model in dict.fromkeys(members)]
    measured = dict(await assess(alone, begin))
    running = [*alone, *_promising(alone, measured, limits)]
    count = begin
    while True:
        measured.update(await assess(running, count))
        if count == prompts:
            break
        running = _better_half(running, measured, limits)
        count = min(prompts, count * 2)
    found = [_found(candidate, measured[candidate], limits, seed) for candidate in running]
    return sorted(_with_front(found), key=lambda one: (not one.within, not one.front, -one.score.value))


def _promising(
    alone: Sequence[Candidate], measured: Mapping[Candidate, Sequence[Measured]], limits: Limits
) -> list[Candidate]:
    """Mixtures of the models that answered best alone, but for those that are surely beyond the limits."""
    ranked = sorted(alone, key=lambda one: (-_score(measured[one]), one.name))[:BEST]
    enough = WEAK * _score(measured[ranked[0]])
    best = [candidate.proposers[0][0] for candidate in ranked if _score(measured[candidate]) >= enough]
    once = {candidate.proposers[0][0]: measured[candidate] for candidate in alone}
    made: list[Candidate] = []
    for model in best:
        for aggregator in dict.fromkeys((model, *best[:AGGREGATORS])):
            made += [Candidate(((model, samples),), aggregator) for samples in SAMPLES]
    for width in range(2, len(best) + 1):
        proposers = tuple((model, 1) for model in best[:width])
        for aggregator in best[:AGGREGATORS]:
            made += [Candidate(proposers, aggregator, layers) for layers in (2, 3) if layers == 2 or width > 2]
    return [candidate for candidate in made if limits.hold(*_at_least(candidate, once))]


def _at_least(candidate: Candidate, once: Mapping[str, Sequence[Measured]]) -> tuple[float | None, float]:
    """What a candidate takes at least: its calls, were none longer than alone, the slowest of each layer."""
    layers = candidate.layers - 1
    calls = [*candidate.proposers * layers, (str(candidate.aggregator), 1)]
    costs = [_cost(once[model]) for model, _ in calls]
    cost = None if None in costs else sum(n * (c or 0.0) for (_, n), c in zip(calls, costs, strict=True))
    slowest = max(_seconds(once[model]) for model, _ in candidate.proposers)
    return cost, layers * slowest + _seconds(once[str(candidate.aggregator)])


def _better_half(
    running: Sequence[Candidate], measured: Mapping[Candidate, Sequence[Measured]], limits: Limits
) -> list[Candidate]:
    """The better half of those within the limits, whoever is on the front, and the best model alone, for comparison."""
    figures = {one: (_score(measured[one]), _cost(measured[one]), _seconds(measured[one])) for one in running}
    within = [one for one in running if limits.hold(*figures[one][1:])] or list(running)
    ranked = sorted(within, key=lambda one: (-figures[one][0], one.name))
    single = max((one for one in running if not one.aggregator), key=lambda one: (figures[one][0], one.name))
    front = {one for one in within if not any(_beats(figures[other], figures[one]) for other in within)}
    kept = {*ranked[: math.ceil(len(ranked) / 2)], *front, single}
    return [one for one in running if one in kept]


def _found(candidate: Candidate, measured: Sequence[Measured], limits: Limits, seed: int) -> Found:
    resampled = Resampled(range(len(measured)), seed=seed)
    score = resampled.least([resampled.mean([one.score for one in measured])])
    percent = Estimate(100 * score.value, 100 * max(0.0, score.low), 100 * score.high)
    cost, seconds = _cost(measured), _seconds(measured)
    return Found(candidate, len(measured), percent, cost, seconds, limits.hold(cost, seconds))


def _with_front(found: Iterable[Found]) -> list[Found]:
    made = list(found)
    within = [(one.score.value, one.cost, one.seconds) for one in made if one.within]
    fronts = [
        one.within and not any(_beats(other, (one.score.value, one.cost, one.seconds)) for other in within)
        for one in made
    ]
    return [
        Found(one.candidate, one.prompts, one.score, one.cost, one.seconds, one.within, front)
        for one, front in zip(made, fronts, strict=True)
    ]


Figures = tuple[float, float | None, float]


def _beats(one: Figures, other: Figures) -> bool:
    """Whether one equals the other in score, cost and time, and is better in one. Unknown costs are taken for equal."""
    dollars = (one[1] or 0.0, other[1] or 0.0) if one[1] is not None and other[1] is not None else (0.0, 0.0)
    pairs = ((-one[0], -other[0]), dollars, (one[2], other[2]))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _score(measured: Sequence[Measured]) -> float:
    return fmean(one.score for one in measured)


def _cost(measured: Sequence[Measured]) -> float | None:
    known = [one.cost for one in measured if one.cost is not None]
    return fmean(known) if len(known) == len(measured) else None


def _seconds(measured: Sequence[Measured]) -> float:
    return fmean(one.seconds for one in measured)
