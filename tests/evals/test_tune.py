"""The search for the best mixture: candidates, halving, limits and the front, with simulated models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from moa.errors import ConfigError
from moa.evals.experiments.candidate import Candidate, CandidateResult
from moa.evals.experiments.tune import Limits, TuneResult, tune
from moa.evals.stats.bootstrap import Estimate
from simulator import SimulatedAnswer, Skill, World

SKILLS = {
    "strong": Skill(1.0, misses=0.05),
    "fair": Skill(0.7, misses=0.6),
    "also fair": Skill(0.6, misses=0.6),
    "poor": Skill(-2.0),
    "hopeless": Skill(-3.0),
}


class Exam:
    """A task whose prompts need a quality above 1; a call costs a cent and takes a second."""

    def __init__(self, prices: Mapping[str, float | None] | None = None) -> None:
        self.world = World(SKILLS)
        self.prices = dict.fromkeys(SKILLS, 0.01) | dict(prices or {})
        self.asked: dict[Candidate, int] = {}

    async def assess(self, candidates: Sequence[Candidate], count: int) -> dict[Candidate, CandidateResult]:
        for candidate in candidates:
            self.asked[candidate] = count
        return {one: self._measured(one, [f"prompt {number}" for number in range(count)]) for one in candidates}

    def _measured(self, candidate: Candidate, prompts: Sequence[str]) -> CandidateResult:
        models = [model for model, samples in candidate.proposers for _ in range(samples)]
        asked = [*models * (candidate.layers - 1), candidate.aggregator] if candidate.aggregator else models
        prices = [self.prices[str(model)] for model in asked]
        cost = None if None in prices else sum(price or 0.0 for price in prices)
        share = 100 * sum(self._answer(candidate, models, prompt).quality > 1 for prompt in prompts) / len(prompts)
        seconds = float(candidate.layers if candidate.aggregator else 1)
        return CandidateResult(len(prompts), Estimate(share, share - 5, share + 5), cost, seconds)

    def _answer(self, candidate: Candidate, models: Sequence[str], prompt: str) -> SimulatedAnswer:
        places = [(model, models[:place].count(model)) for place, model in enumerate(models)]
        answers = [self.world.propose(model, prompt, sample) for model, sample in places]
        for layer in range(2, candidate.layers):
            answers = [self.world.aggregate(model, f"{prompt}, layer {layer}", answers) for model in models]
        return self.world.aggregate(candidate.aggregator, prompt, answers) if candidate.aggregator else answers[0]


ANY = Limits()


async def found(exam: Exam, limits: Limits = ANY, members: Sequence[str] = tuple(SKILLS)) -> list[TuneResult]:
    return await tune(members, exam.assess, 128, limits)


async def test_the_best_mixture_is_found_and_is_better_than_the_best_model_alone() -> None:
    first, *others = await found(Exam())
    alone = next(one for one in [first, *others] if one.candidate == Candidate((("strong", 1),)))
    assert first.candidate.aggregator == "strong"
    assert first.result.score.value > alone.result.score.value + 5
    assert first.result.prompts == alone.result.prompts == 128


async def test_candidates_within_the_limits_keep_to_them() -> None:
    exam = Exam()
    cheap = await found(exam, Limits(cost=0.04))
    assert all(one.result.cost is not None and one.result.cost <= 0.04 for one in cheap if one.within_limits)
    assert cheap[0].within_limits
    quick = await found(Exam(), Limits(seconds=2.0))
    assert {one.candidate.layers for one in quick if one.candidate.aggregator} == {2}
    assert max(samples for one in exam.asked for _, samples in one.proposers) == 3


async def test_candidates_on_the_front_are_not_beaten_and_all_others_are() -> None:
    rows = await found(Exam())
    front = [one for one in rows if one.on_front]
    assert Candidate((("strong", 1),)) in [one.candidate for one in front]
    for one in rows:
        beaten = [
            other
            for other in rows
            if other.result.score.value >= one.result.score.value
            and (other.result.cost or 0) <= (one.result.cost or 0)
            and other.result.seconds <= one.result.seconds
            and (other.result.score.value, other.result.cost, other.result.seconds)
            != (one.result.score.value, one.result.cost, one.result.seconds)
        ]
        assert bool(beaten) != one.on_front


async def test_only_few_candidates_answer_most_prompts() -> None:
    exam = Exam()
    rows = await found(exam)
    full = [candidate for candidate, count in exam.asked.items() if count == 128]
    assert [one.candidate for one in rows if one.result.prompts == 128] == [one.candidate for one in rows]
    assert len(full) == len(rows) < len(exam.asked) / 2


async def test_weak_models_are_not_mixed() -> None:
    exam = Exam()
    await found(exam)
    mixed = {model for candidate in exam.asked if candidate.aggregator for model, _ in candidate.proposers}
    assert "hopeless" not in mixed


async def test_a_candidate_of_unknown_cost_is_beyond_a_limit_on_cost() -> None:
    rows = await found(Exam({"strong": None}), Limits(cost=1.0))
    assert all("strong" not in one.candidate.name for one in rows if one.within_limits)


async def test_if_no_candidate_is_within_the_limits_the_best_are_returned_and_marked() -> None:
    rows = await found(Exam(), Limits(cost=0.001))
    assert rows
    assert not any(one.within_limits or one.on_front for one in rows)


async def test_tuning_needs_models() -> None:
    with pytest.raises(ConfigError, match="no models"):
        await found(Exam(), members=())


def test_a_candidate_has_a_name_and_a_table() -> None:
    candidate = Candidate((("ollama:a", 3), ("ollama:b", 1)), "openai:c", 3)
    assert candidate.name == "ollama:a x3 + ollama:b -> openai:c, 3 layers"
    assert candidate.table() == {
        "proposers": [{"model": "ollama:a", "samples": 3}, "ollama:b"],
        "aggregator": "openai:c",
        "layers": 3,
    }
