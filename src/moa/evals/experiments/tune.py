"""Search for the best mixture (members, samples, layers, aggregator) by successive halving over prompts.

First every model answers a few prompts alone. The best of them become candidates: alone, sampled several times, and
mixed with the others, with the most promising aggregators. All candidates answer a few prompts, the better half twice
as many, and so on. Calls that candidates share are made once if there is a call cache. The result is a Pareto front:
mixtures that no other beats in score, cost or time without being worse in another.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import ConfigError
from .candidate import Candidate, CandidateResult

FIRST_ROUND = 16
"""The number of prompts in the first round."""

BEST = 4
"""How many of the best single models are combined."""

WEAK = 0.5
"""A model with less than this share of the best score is not combined: weak proposers make answers worse."""

SAMPLES = (3, 6)
"""The numbers of samples of a model that is mixed with itself."""

AGGREGATORS = 2
"""How many of the best models are tried as aggregators, besides the sampled model itself."""


Assess = Callable[[Sequence[Candidate], int], Awaitable[Mapping[Candidate, CandidateResult]]]
"""Evaluates candidates on a number of prompts; more prompts include the fewer."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """A candidate with its result. `on_front` says that no candidate within the limits beats it."""

    candidate: Candidate
    result: CandidateResult
    within_limits: bool
    on_front: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The highest mean cost of a question, in US dollars, and the longest mean time, in seconds; `None` is no limit."""

    cost: float | None = None
    seconds: float | None = None

    def allow(self, result: CandidateResult) -> bool:
        """Return whether a result is within the limits. An unknown cost is not within a limit."""
        expensive = self.cost is not None and (result.cost is None or result.cost > self.cost)
        return not expensive and (self.seconds is None or result.seconds <= self.seconds)


async def tune(members: Sequence[str], assess: Assess, prompts: int, limits: Limits) -> list[TuneResult]:
    """Return the candidates of the last round, those within the limits first, best first. Raises `ConfigError`."""
    if not members:
        raise ConfigError("there are no models to combine; add -m MODEL")
    count = min(FIRST_ROUND, prompts)
    alone = [Candidate(((model, 1),)) for model in dict.fromkeys(members)]
    results = dict(await assess(alone, count))
    running = [*alone, *_promising(alone, results, limits)]
    while True:
        results.update(await assess(running, count))
        if count == prompts:
            break
        running = _better_half(running, results, limits)
        count = min(prompts, count * 2)
    within = {candidate: results[candidate] for candidate in running if limits.allow(results[candidate])}
    best = front(within)
    tuned = [TuneResult(one, results[one], one in within, one in best) for one in running]
    return sorted(tuned, key=lambda one: (not one.within_limits, not one.on_front, -one.result.score.value))


def _promising(
    alone: Sequence[Candidate], results: Mapping[Candidate, CandidateResult], limits: Limits
) -> list[Candidate]:
    """Return mixtures of the best single models, except those that must be beyond the limits."""
    ranked = _ranked(alone, results)[:BEST]
    enough = WEAK * results[ranked[0]].score.value
    best = [one.proposers[0][0] for one in ranked if results[one].score.value >= enough]
    by_model = {one.proposers[0][0]: results[one] for one in alone}
    mixtures: list[Candidate] = []
    for model in best:
        for aggregator in dict.fromkeys((model, *best[:AGGREGATORS])):
            mixtures += [Candidate(((model, samples),), aggregator) for samples in SAMPLES]
    for width in range(2, len(best) + 1):
        proposers = tuple((model, 1) for model in best[:width])
        for aggregator in best[:AGGREGATORS]:
            mixtures += [Candidate(proposers, aggregator, layers) for layers in (2, 3) if layers == 2 or width > 2]
    return [candidate for candidate in mixtures if limits.allow(_at_least(candidate, by_model))]


def _at_least(candidate: Candidate, by_model: Mapping[str, CandidateResult]) -> CandidateResult:
    """Return the least cost and time of a candidate: those of its calls alone, the slowest of each layer."""
    layers, last = candidate.layers - 1, by_model[str(candidate.aggregator)]
    calls = [model for model, samples in candidate.proposers * layers for _ in range(samples)]
    costs = [last.cost, *(by_model[model].cost for model in calls)]
    known = [cost for cost in costs if cost is not None]
    slowest = max(by_model[model].seconds for model, _ in candidate.proposers)
    cost = sum(known) if len(known) == len(costs) else None
    return replace(last, cost=cost, seconds=layers * slowest + last.seconds)


def _better_half(
    running: Sequence[Candidate], results: Mapping[Candidate, CandidateResult], limits: Limits
) -> list[Candidate]:
    """Return the better half of those within the limits, those on the front, and the best single model."""
    within = [one for one in running if limits.allow(results[one])] or list(running)
    ranked = _ranked(within, results)
    best = front({one: results[one] for one in within})
    single = _ranked([one for one in running if not one.aggregator], results)[0]
    remaining = {*ranked[: math.ceil(len(ranked) / 2)], *best, single}
    return [one for one in running if one in remaining]


def _ranked(candidates: Iterable[Candidate], results: Mapping[Candidate, CandidateResult]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: (-results[one].score.value, one.name))


def front(results: Mapping[Candidate, CandidateResult]) -> set[Candidate]:
    """Return the candidates that no other beats in score, cost or time without being worse in another."""
    return {one for one in results if not any(_beats(other, results[one]) for other in results.values())}


def _beats(one: CandidateResult, other: CandidateResult) -> bool:
    """Return whether one is at least as good in score, cost and time, and better in one. Unknown costs are equal."""
    dollars = (one.cost, other.cost) if one.cost is not None and other.cost is not None else (0.0, 0.0)
    pairs = ((-one.score.value, -other.score.value), dollars, (one.seconds, other.seconds))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
