"""Comparisons of a mixture with its rivals: gains, intervals and the verdict."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from moa.errors import ConfigError
from moa.evals.stats.bootstrap import Bootstrap
from moa.evals.stats.comparison import Rival, compare, worth
from simulator import SimulatedAnswer, Skill, World


def gains(wins: int, ties: int, losses: int) -> list[float]:
    return [1.0] * wins + [0.0] * ties + [-1.0] * losses


def test_a_mixture_that_wins_clearly_over_every_rival_is_worth_it() -> None:
    result = worth(
        [Rival("a", gains(60, 20, 20), cost=0.01, seconds=1.0), Rival("b", gains(80, 10, 10), cost=0.01, seconds=1.0)],
        [Rival("a sampled 6 times", gains(55, 20, 25), cost=0.06, seconds=2.0)],
        cost=0.06,
        seconds=2.5,
    )
    assert result.verdict == "worth it"
    first, second = result.comparisons
    assert (first.rival, first.wins, first.ties, first.losses) == ("a", 60, 20, 20)
    assert (round(first.gain.value), round(first.cost_ratio or 0), first.seconds_ratio) == (40, 6, 2.5)
    assert first.cost_per_win == pytest.approx(0.05 * 100 / 40)
    assert 0 < second.gain.low < second.gain.value < second.gain.high
    assert re.fullmatch(
        r"worth it for these prompts: \+30\.0 points, interval \+\d+\.\d\.\.\+\d+\.\d over a sampled 6 times, "
        r"1\.0x the cost, 1\.2x the time",
        result.sentence,
    )


def test_one_rival_that_does_as_well_makes_it_not_worth_it() -> None:
    better, equal = Rival("a", gains(600, 0, 400)), Rival("a sampled 6 times", gains(500, 0, 500))
    result = worth([better], [equal])
    assert result.verdict == "not worth it"
    assert "over a sampled 6 times" in result.sentence


def test_an_uncertain_gain_is_not_shown_with_the_number_of_prompts_that_could_decide() -> None:
    result = worth([Rival("a", gains(12, 2, 6))])
    assert result.verdict == "not shown"
    assert (needed := re.search(r"about (\d+) such prompts could decide", result.sentence))
    assert worth([Rival("a", gains(12, 2, 6) * (int(needed[1]) // 20 + 1))]).verdict == "worth it"


def test_a_gain_that_is_certainly_too_small_is_not_worth_it() -> None:
    small = Rival("a", gains(505, 0, 495))
    assert worth([small], worthwhile=10.0).verdict == "not worth it"
    assert worth([small], worthwhile=1.0).verdict == "not shown"


def test_the_gain_allows_for_the_luck_of_the_best_of_equal_rivals() -> None:
    lucky, others = Rival("a", gains(45, 0, 55)), [Rival(name, gains(50, 0, 50)[::-1]) for name in "bcd"]
    alone = worth([lucky]).comparisons[0].gain
    among = worth([lucky, *others]).comparisons[0].gain
    assert alone.value == pytest.approx(-10)
    assert among.value > alone.value
    assert alone.low < among.low < 0 < among.high


def test_a_rival_that_is_clearly_best_is_compared_like_a_single_one() -> None:
    good, bad = Rival("a", gains(50, 0, 50)), Rival("b", gains(95, 0, 5))
    among, alone = (worth(field).comparisons[0].gain for field in ([good, bad], [good]))
    assert (among.value, among.low) == (alone.value, alone.low)
    assert among.high == pytest.approx(alone.high)


def test_a_win_by_length_alone_is_no_gain_at_equal_length() -> None:
    longer = [float(500 - number) for number in range(1000)]
    result = worth([Rival("a", [1.0 if more > 0 else -1.0 if more < 0 else 0.0 for more in longer], longer=longer)])
    assert result.comparisons[0].controlled
    assert abs(result.comparisons[0].controlled.value) < 1
    wordy = worth([Rival("a", [1.0] * 700 + [-1.0] * 300, longer=[900.0] * 999 + [901.0])])
    assert wordy.comparisons[0].gain.value == pytest.approx(40)


def test_prompts_of_a_cluster_count_as_one() -> None:
    values = [value for value in gains(30, 0, 20) for _ in range(10)]
    apart = Bootstrap(range(500))
    together = Bootstrap([place // 10 for place in range(500)])
    wide, narrow = (compare([Rival("a", values)], one).gain for one in (together, apart))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_equal_gains_on_all_prompts_have_an_interval() -> None:
    result = worth([Rival("a", [0.0] * 20)])
    gain = result.comparisons[0].gain
    assert gain.value == 0
    assert (gain.low, gain.high) == (pytest.approx(-16.8, abs=0.1), pytest.approx(16.8, abs=0.1))
    assert result.verdict == "not worth it"
    every = worth([Rival("a", [1.0] * 20)])
    assert (every.verdict, every.comparisons[0].gain.high) == ("worth it", 100)


def test_the_same_seed_gives_the_same_interval() -> None:
    members = [Rival("a", [place**0.5 % 1 for place in range(50)]), Rival("b", [place**0.3 % 1 for place in range(50)])]
    assert worth(members, seed=3) == worth(members, seed=3)
    assert worth(members, seed=3) != worth(members, seed=4)


@pytest.mark.parametrize(
    ("rivals", "words"),
    [
        ([], "no member"),
        ([Rival("a", [0.5])], "at least two clusters of prompts, got 1"),
        ([Rival("a", [0.5, 1.5])], "a: a gain must be from -1 to 1, got 1.5"),
        ([Rival("a", [0.5, 0.5]), Rival("b", [0.5])], "b: has 1 gains for 2 prompts"),
        ([Rival("a", [0.5, 0.5], longer=[1.0])], "a: has 1 lengths for 2 prompts"),
    ],
)
def test_invalid_rivals_are_errors(rivals: list[Rival], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        worth(rivals)


def test_a_confidence_is_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match=r"confidence: .* got 95"):
        worth([Rival("a", [0.0, 1.0])], confidence=95)


WORLD = World({"good": Skill(1.0), "poor": Skill(-1.0), "lucky": Skill(1.0, misses=1.0)})


def mean_quality(answers: list[SimulatedAnswer]) -> float:
    return sum(answer.quality for answer in answers) / len(answers)


def test_a_simulated_model_is_deterministic_and_has_its_skill() -> None:
    prompts = [f"prompt {number}" for number in range(2000)]
    assert WORLD.propose("good", "why?", 1) == WORLD.propose("good", "why?", 1)
    assert WORLD.propose("good", "why?", 1) != WORLD.propose("good", "why?", 2)
    for name, skill in (("good", 1.0), ("poor", -1.0)):
        assert mean_quality([WORLD.propose(name, prompt) for prompt in prompts]) == pytest.approx(skill, abs=0.1)


def test_a_simulated_aggregator_approaches_the_best_proposal_or_misses() -> None:
    proposals = [SimulatedAnswer(0.0, 100), SimulatedAnswer(2.0, 100)]
    sure = replace(WORLD, skills={"sure": Skill(aggregating=0.5, misses=0.0)})
    assert sure.aggregate("sure", "why?", proposals).quality == 1.5
    taken = {WORLD.aggregate("lucky", f"prompt {number}", proposals).quality for number in range(50)}
    assert taken == {0.0, 2.0}


def test_a_simulated_judge_prefers_quality_and_has_its_biases() -> None:
    one, other = SimulatedAnswer(0.5, 2000), SimulatedAnswer(0.5, 1000)
    assert WORLD.preference(one, other) == 0.5
    assert WORLD.preference(replace(one, quality=2.0), other) > 0.9
    assert replace(WORLD, first=1.0).preference(one, other) == replace(WORLD, first=1.0).preference(other, one) > 0.5
    assert replace(WORLD, longer=1.0).preference(one, other) > 0.5 > replace(WORLD, longer=1.0).preference(other, one)
