"""The runner: every sample is asked once, results are stored, and an evaluation continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moa import (
    ConfigError,
    Layer,
    Message,
    Mixture,
    ModelError,
    Request,
    Response,
    Scripted,
    Synthesize,
    Usage,
    ask_many,
)
from moa.api import map_unordered
from moa.evals.results_folder import ResultsFolder
from moa.evals.runner import Progress, evaluate
from moa.evals.task import Answer, AnswerCost, Metric, Sample, Score, ScoredSample, ScoringContext

PRICED = Usage(10, 5, 0.01)


@dataclass(frozen=True)
class Asking:
    """A scorer whose judge replies with a number for each answer."""

    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        reply = await context.ask(Request([Message("user", f"{sample.id}: {answer.text}")]))
        return [Score("mark", float(reply.text))]


@dataclass(frozen=True)
class Longer:
    """A scorer that tests whether an answer is longer than the baseline's."""

    needs: frozenset[str] = frozenset({"baseline"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        assert context.baseline
        return [Score("longer", float(len(answer.text) > len(context.baseline.text)))]


@dataclass(frozen=True)
class Tiny:
    """A task of a few questions."""

    scorer: Asking | Longer = Asking()
    count: int = 4
    then: tuple[str, ...] = ()
    name: str = "tiny"
    version: str = "1"
    options: dict[str, int] = field(default_factory=lambda: {"max_tokens": 7})

    @property
    def samples(self) -> list[Sample]:
        return [Sample(f"q{n}", (Message("user", f"question {n}"),), self.then) for n in range(self.count)]

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        values = [score.value for one in scored for score in one.scores if score.value is not None]
        return [Metric("mean", sum(values) / len(values) if values else None, n=len(values))]


def mixture(*proposers: Scripted, aggregator: Scripted) -> Mixture:
    return Mixture([Layer(proposers)], Synthesize(aggregator), "moa:mix")


async def test_every_model_is_asked_every_sample_and_every_answer_is_judged() -> None:
    a, judge = Scripted("a", "red", usage=PRICED), Scripted("judge", "0.5", usage=PRICED)
    results = await evaluate(Tiny(), {"a": a}, judge=judge, seed=3)
    assert results.metrics == {"a": [Metric("mean", 0.5, n=4)]}
    assert [(request.question, request.max_tokens, request.seed) for request in a.requests] == [
        (f"question {n}", 7, 3) for n in range(4)
    ]
    assert sorted(request.question for request in judge.requests) == [f"q{n}: red" for n in range(4)]


async def test_the_cost_of_a_mixture_has_all_calls_and_the_longest_path() -> None:
    long, short = Scripted("x", "one", usage=Usage(10, 50, 0.02)), Scripted("y", "two", usage=PRICED)
    mix = mixture(long, short, aggregator=Scripted("z", "all", usage=Usage(10, 7, 0.03)))
    results = await evaluate(Tiny(count=1), {"moa:mix": mix}, judge=Scripted("judge", "1", usage=PRICED))
    (scored,) = results.scored["moa:mix"]
    assert (scored.answer.cost.usage, scored.answer.cost.calls, scored.answer.cost.sequential_tokens) == (
        Usage(30, 62, 0.06),
        3,
        57,
    )
    assert (scored.cost.usage, scored.cost.calls) == (PRICED, 1)


async def test_a_further_turn_is_asked_after_the_answer_to_the_one_before() -> None:
    a = Scripted("a", ["first", "second"])
    await evaluate(Tiny(count=1, then=("and then?",)), {"a": a}, judge=Scripted("judge", "1"))
    messages = [(message.role, message.text) for message in a.requests[1].messages]
    assert messages == [("user", "question 0"), ("assistant", "first"), ("user", "and then?")]


async def test_a_failure_is_in_the_results_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    a = Scripted("a", ["red", ModelError("a: gone"), "blue"])
    judge = Scripted("judge", "1")
    first = await evaluate(
        Tiny(count=2), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {}, Tiny(count=2).samples)
    )
    assert [one.answer.error for one in first.scored["a"]] == [None, "a: gone"]
    again = await evaluate(Tiny(count=2), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {}, []))
    assert [one.answer.text for one in again.scored["a"]] == ["red", "blue"]
    assert len(a.requests) == 3


async def test_the_first_model_is_the_baseline_and_answers_once() -> None:
    short, long = Scripted("short", "a"), Scripted("long", "abc")
    results = await evaluate(Tiny(Longer()), {"short": short, "long": long})
    assert results.metrics["long"] == [Metric("mean", 1.0, n=4)]
    assert len(short.requests) == 4


async def test_a_missing_judge_or_baseline_is_an_error_before_any_call() -> None:
    a = Scripted("a", "red")
    with pytest.raises(ConfigError, match=r"tiny: .* --judge"):
        await evaluate(Tiny(), {"a": a})
    with pytest.raises(ConfigError, match=r"tiny: .* got 1"):
        await evaluate(Tiny(Longer()), {"a": a})
    assert a.requests == []


async def test_a_limit_on_cost_is_not_exceeded_and_the_next_run_continues(tmp_path: Path) -> None:
    a, judge = Scripted("a", "red", usage=PRICED), Scripted("judge", "1", usage=PRICED)
    progress: list[Progress] = []
    folder = ResultsFolder.open(tmp_path, {}, Tiny(count=9).samples)
    stopped = await evaluate(
        Tiny(count=9), {"a": a}, judge=judge, folder=folder, max_cost=0.11, on_progress=progress.append
    )
    assert (stopped.complete, len(a.requests), progress[-1].paid) == (False, 5, pytest.approx(0.1))
    rest = await evaluate(Tiny(count=9), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {}, []), max_cost=1)
    assert (rest.complete, len(a.requests), len(judge.requests)) == (True, 9, 9)


async def test_scoring_without_a_call_of_the_judge_costs_nothing() -> None:
    class Plain(Asking):
        async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
            return [Score("mark", 1.0)]

    a, judge = Scripted("a", "red", usage=PRICED), Scripted("judge", "1", usage=PRICED)
    results = await evaluate(Tiny(Plain()), {"a": a}, judge=judge, max_cost=1)
    assert (results.complete, judge.requests) == (True, [])
    assert {one.cost for one in results.scored["a"]} == {AnswerCost()}


async def test_a_limit_on_cost_needs_known_prices() -> None:
    with pytest.raises(ConfigError, match="a: its price is unknown"):
        await evaluate(Tiny(), {"a": Scripted("a", "red")}, judge=Scripted("judge", "1"), max_cost=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_folder_that_is_read_again_is_equal_and_needs_no_calls(tmp_path: Path) -> None:
    a, judge = Scripted("a", "red", usage=PRICED), Scripted("judge", "1", usage=PRICED)
    folder = ResultsFolder.open(tmp_path, {"seed": 1}, Tiny().samples)
    first = await evaluate(Tiny(), {"a": a}, judge=judge, folder=folder)
    before = contents(tmp_path)
    again = await evaluate(Tiny(), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {"seed": 1}, []))
    assert (len(a.requests), len(judge.requests)) == (4, 4)
    assert again.metrics == first.metrics == ResultsFolder.read(tmp_path).metrics
    assert contents(tmp_path) == before


async def test_a_truncated_line_is_asked_again(tmp_path: Path) -> None:
    a, judge = Scripted("a", "red"), Scripted("judge", "1")
    await evaluate(Tiny(), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {}, Tiny().samples))
    whole = {name: (tmp_path / name).read_bytes() for name in ("answers.jsonl", "scores.jsonl")}
    for name, lines in whole.items():
        (tmp_path / name).write_bytes(lines[:-20])
    await evaluate(Tiny(), {"a": a}, judge=judge, folder=ResultsFolder.open(tmp_path, {}, []))
    assert (len(a.requests), len(judge.requests)) == (5, 5)
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole


def test_another_evaluation_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    ResultsFolder.open(tmp_path, {"seed": 1, "versions": {"moa": "1"}}, [])
    with pytest.raises(ConfigError, match="another seed; set --output-dir"):
        ResultsFolder.open(tmp_path, {"seed": 2, "versions": {"moa": "2"}}, [])


async def test_jobs_are_taken_only_when_workers_are_free() -> None:
    taken: list[int] = []

    def endless() -> object:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    async def work(number: int) -> int:
        return number

    got = []
    results = map_unordered(work, endless(), 3)  # type: ignore[arg-type]
    async for job, _ in results:
        got.append(job)
        if len(got) == 5:
            break
    await results.aclose()
    assert sorted(got) == [0, 1, 2, 3, 4]
    assert len(taken) < 20


async def test_an_exception_of_a_job_ends_the_pool() -> None:
    async def work(number: int) -> int:
        if number == 2:
            raise ValueError("a bug")
        return number

    with pytest.raises(ValueError, match="a bug"):
        async for _ in map_unordered(work, range(10**9), 2):
            pass


async def test_answers_come_in_the_order_of_the_requests() -> None:
    model = Scripted("m", lambda request: ModelError("no") if request.question == "1" else request.question)
    got = await ask_many(model, [Request([Message("user", str(n))]) for n in range(3)], max_concurrency=2)
    assert [one.text if isinstance(one, Response) else str(one) for one in got] == ["0", "no", "2"]


def test_costs_add_up() -> None:
    one = AnswerCost(Usage(1, 2, 0.5), 1, 2, 0.1, 0.5)
    assert one + one == AnswerCost(Usage(2, 4, 1.0), 2, 4, 0.2, 1.0)
