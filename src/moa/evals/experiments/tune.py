"""Which mixture to take: members, samples, layers and aggregator, searched by successive halving over prompts.

First every model answers a few prompts alone. Out of the best of them candidates are made: each alone, sampled several
times, and mixed with the others, under the aggregators that promise most. All candidates are asked a few prompts, the
better half of them twice as many, and so on: calls that candidates share are made once, where calls are kept. What is
found is a front: mixtures of which none is better in one thing without being worse in another.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import ConfigError
from ..stats.bootstrap import Estimate
from .candidate import Candidate

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
    """What came of asking a candidate `prompts` prompts: its `score` on the benchmark's scale, of which more is better,
    with its interval, mean cost in US dollars (`None`: unknown), mean seconds from a question to the last word."""

    prompts: int
    score: Estimate
    cost: float | None
    seconds: float


Assess = Callable[[Sequence[Candidate], int], Awaitable[Mapping[Candidate, Measured]]]
"""Asks candidates the first so many prompts, each the same ones in the same order."""


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate and what came of it. `within` says that it keeps to the limits, `front` that nobody else who does
    beats it in score, cost or time and equals it in the others."""

    candidate: Candidate
    measured: Measured
    within: bool
    front: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a question may take on average, in US dollars and in seconds; `None` is any number."""

    cost: float | None = None
    seconds: float | None = None

    def hold(self, measured: Measured) -> bool:
        """Whether so much is within them. An unknown cost is not within a limit."""
        dear = self.cost is not None and (measured.cost is None or measured.cost > self.cost)
        return not dear and (self.seconds is None or measured.seconds <= self.seconds)


async def tune(members: Sequence[str], assess: Assess, prompts: int, limits: Limits) -> list[Found]:
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
    within = {candidate: measured[candidate] for candidate in running if limits.hold(measured[candidate])}
    best = front(within)
    found = [Found(one, measured[one], one in within, one in best) for one in running]
    return sorted(found, key=lambda one: (not one.within, not one.front, -one.measured.score.value))


def _promising(alone: Sequence[Candidate], measured: Mapping[Candidate, Measured], limits: Limits) -> list[Candidate]:
    """Mixtures of the models that answered best alone, but for those that are surely beyond the limits."""
    ranked = _ranked(alone, measured)[:BEST]
    enough = WEAK * measured[ranked[0]].score.value
    best = [one.proposers[0][0] for one in ranked if measured[one].score.value >= enough]
    once = {one.proposers[0][0]: measured[one] for one in alone}
    made: list[Candidate] = []
    for model in best:
        for aggregator in dict.fromkeys((model, *best[:AGGREGATORS])):
            made += [Candidate(((model, samples),), aggregator) for samples in SAMPLES]
    for width in range(2, len(best) + 1):
        proposers = tuple((model, 1) for model in best[:width])
        for aggregator in best[:AGGREGATORS]:
            made += [Candidate(proposers, aggregator, layers) for layers in (2, 3) if layers == 2 or width > 2]
    return [candidate for candidate in made if limits.hold(_at_least(candidate, once))]


def _at_least(candidate: Candidate, once: Mapping[str, Measured]) -> Measured:
    """What a candidate takes at least: its calls, were none longer than alone, the slowest of each layer."""
    layers, last = candidate.layers - 1, once[str(candidate.aggregator)]
    costs = [last.cost, *(once[model].cost for model, samples in candidate.proposers * layers for _ in range(samples))]
    known = [cost for cost in costs if cost is not None]
    slowest = max(once[model].seconds for model, _ in candidate.proposers)
    cost = sum(known) if len(known) == len(costs) else None
    return replace(last, cost=cost, seconds=layers * slowest + last.seconds)


def _better_half(
    running: Sequence[Candidate], measured: Mapping[Candidate, Measured], limits: Limits
) -> list[Candidate]:
    """The better half of those within the limits, whoever is on the front, and the best model alone, for comparison."""
    within = [one for one in running if limits.hold(measured[one])] or list(running)
    ranked = _ranked(within, measured)
    best = front({one: measured[one] for one in within})
    single = _ranked([one for one in running if not one.aggregator], measured)[0]
    kept = {*ranked[: math.ceil(len(ranked) / 2)], *best, single}
    return [one for one in running if one in kept]


def _ranked(candidates: Iterable[Candidate], measured: Mapping[Candidate, Measured]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: (-measured[one].score.value, one.name))


def front(measured: Mapping[Candidate, Measured]) -> set[Candidate]:
    """Those that nobody beats in score, cost or time without being worse in another."""
    return {one for one in measured if not any(_beats(other, measured[one]) for other in measured.values())}


def _beats(one: Measured, other: Measured) -> bool:
    """Whether one equals the other in score, cost and time, and is better in one. Unknown costs are taken for equal."""
    dollars = (one.cost, other.cost) if one.cost is not None and other.cost is not None else (0.0, 0.0)
    pairs = ((-one.score.value, -other.score.value), dollars, (one.seconds, other.seconds))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
