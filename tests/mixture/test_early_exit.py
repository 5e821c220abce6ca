"""An early exit: what comes after proposals that agree is skipped, and the trace shows what that saved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import moa
from moa import (
    EarlyExit,
    Layer,
    Message,
    Mixture,
    ModelError,
    Request,
    Response,
    Scripted,
    Synthesize,
    Usage,
    WithDefaults,
)
from moa.budget import Budget
from moa.cli.terminal.footer import summary
from moa.config.build import Builder
from moa.config.load import load
from moa.doctor.examination import examine
from moa.errors import ConfigError
from moa.estimates.worst_case import bound
from moa.mixture.aggregators import Aggregator, Vote
from moa.mixture.strategies.early_exit import agreement
from moa.model import Model, leaves

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("user", "How many bridges has the river?"),))
SAME = ("There are 35 bridges.", "35 bridges, there are.")
OTHER = ("There are 35 bridges.", "There are 36 bridges.")
DOUBT = ("There are 35 bridges.", "There are 35 bridges across the river.")
LATE = 60.0


def proposers(*texts: str | Response) -> list[Scripted]:
    return [Scripted(name, text, usage=Usage(10, 5, 0.01)) for name, text in zip("abcdef", texts, strict=False)]


def panel(
    first: Sequence[Model], agree: EarlyExit | None, later: int = 1, by: Aggregator | None = None
) -> tuple[Mixture, list[Scripted]]:
    """A mixture, and the models that come after its first layer."""
    rest = [Scripted(f"later{n}", "35 bridges in all.", usage=Usage(20, 5, 0.02)) for n in range(later)]
    judge = Scripted("judge", "It has 35.", usage=Usage(30, 5, 0.05))
    layers = [Layer(first), *(Layer([model]) for model in rest)]
    strategies = [agree] if agree else []
    return Mixture(layers, by or Synthesize(judge), "panel", strategies=strategies), [*rest, judge]


async def run(mixture: Mixture, request: Request = QUESTION, **how: Any) -> tuple[Response, moa.Trace]:
    trace = moa.Trace()
    answer = await moa.generate(mixture, request, trace.add, "all", **how)
    return answer, trace


def noted(trace: moa.Trace, kind: str) -> list[dict[str, Any]]:
    assert trace.root
    return [note.data.as_json() for note in trace.root.notes if note.kind == kind]


def call_counts(models: Sequence[Scripted]) -> list[int]:
    return [len(model.requests) for model in models]


# What is skipped


async def test_where_proposals_agree_later_layers_are_skipped_and_the_aggregator_writes() -> None:
    mixture, after = panel(proposers(*SAME), EarlyExit(0.8), later=2)
    answer, trace = await run(mixture)
    assert (answer.text, call_counts(after)) == ("It has 35.", [0, 0, 1])
    assert [reference.text for reference in answer.references] == list(SAME)
    assert noted(trace, "early_exit") == [
        {
            "layer": 1,
            "threshold": 0.8,
            "agreement": 1.0,
            "by": "words",
            "skipped": ("layer 2", "layer 3"),
            "calls": 2,
            "cost": pytest.approx(0.04),
        }
    ]


async def test_the_aggregator_is_skipped_too_if_configured() -> None:
    mixture, after = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    answer, trace = await run(mixture)
    assert (answer.text, call_counts(after)) == (SAME[0], [0, 0])
    assert (answer.model, answer.fallback, answer.usage.cost) == ("panel", None, 0.02)
    assert [reference.model for reference in answer.references] == ["a", "b"]
    (note,) = noted(trace, "early_exit")
    assert (note["skipped"], note["calls"], note["cost"]) == (("layer 2", "aggregator"), 2, pytest.approx(0.07))


async def test_a_proposal_that_is_the_answer_is_streamed_as_the_answer() -> None:
    mixture, _ = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    async with moa.stream(mixture, QUESTION, "answer") as events:
        read = [event.text async for event in events if isinstance(event, moa.TextDelta) and event.answer]
    assert read == [SAME[0]]


async def test_where_proposals_differ_all_models_are_called_and_the_trace_shows_why() -> None:
    mixture, after = panel(proposers(*OTHER), EarlyExit(0.8, "aggregator"))
    answer, trace = await run(mixture)
    assert (answer.text, call_counts(after)) == ("It has 35.", [1, 1])
    assert noted(trace, "early_exit_declined")[0] == {"layer": 1, "threshold": 0.8, "agreement": 0.0, "by": "words"}
    assert trace.early_exits == []


async def test_without_an_early_exit_nothing_is_compared() -> None:
    mixture, after = panel(proposers(*SAME), None)
    _, trace = await run(mixture)
    assert (call_counts(after), noted(trace, "early_exit"), noted(trace, "early_exit_declined")) == ([1, 1], [], [])


async def test_one_dissenter_among_many_is_no_agreement() -> None:
    mixture, after = panel(proposers(*SAME, SAME[0], OTHER[1]), EarlyExit(0.8, "aggregator"))
    await run(mixture)
    assert call_counts(after) == [1, 1]


async def test_later_layers_may_agree_where_the_first_did_not() -> None:
    layers = [Layer(proposers(*OTHER)), Layer(proposers(*SAME))]
    judge = Scripted("judge", "purple")
    answer, trace = await run(Mixture(layers, Synthesize(judge), strategies=[EarlyExit(0.8, "aggregator")]))
    assert (answer.text, judge.requests, noted(trace, "early_exit")[0]["layer"]) == (SAME[0], [], 2)


async def test_a_vote_is_never_skipped_as_it_costs_nothing() -> None:
    mixture, _ = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"), later=0, by=Vote())
    _, trace = await run(mixture)
    assert (noted(trace, "early_exit"), len(noted(trace, "voted"))) == ([], 1)


async def test_a_mixture_among_the_proposers_has_its_own_early_exit() -> None:
    inner, after = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    answer, trace = await run(Mixture([Layer([inner])], Synthesize(Scripted("judge", "35"))))
    assert (call_counts(after), [note.calls for note in trace.early_exits]) == ([0, 0], [2])
    assert answer.references[0].text == SAME[0]


async def test_an_aggregator_that_still_reads_as_much_saves_nothing_itself() -> None:
    class PerToken(Scripted):
        def cost(self, usage: Usage) -> float | None:
            return usage.input_tokens / 1000

    later = [WithDefaults(Scripted(name, "35", usage=Usage(20, 5, 1.0)), max_tokens=5) for name in "cd"]
    layers = [Layer(proposers(*SAME)), Layer(later)]
    _, trace = await run(Mixture(layers, Synthesize(PerToken("judge", "35")), strategies=[EarlyExit(0.8)]))
    assert trace.early_exits[0].cost == pytest.approx(2.0)


async def test_without_a_price_the_cost_saved_is_unknown() -> None:
    mixture = Mixture(
        [Layer(proposers(*SAME))], Synthesize(Scripted("j", "x")), strategies=[EarlyExit(0.8, "aggregator")]
    )
    _, trace = await run(mixture)
    assert (trace.early_exits[0].calls, trace.early_exits[0].cost) == (1, None)


# What never agrees


@pytest.mark.parametrize(
    "proposals",
    [
        [Response("a", SAME[0])],
        [Response("a", SAME[0]), Response("b", SAME[0], finish_reason="length")],
        [Response("a", "I'm sorry, I cannot help with that."), Response("b", "I'm sorry, I cannot help with that.")],
        [Response("a", "35 " * 200), Response("b", "35 " * 200)],
        [Response("a", SAME[0]), Response("b", SAME[0], tool_calls=({"id": "1"},))],
    ],
    ids=["alone", "cut off", "refused", "repeating itself", "calling a tool"],
)
def test_an_incomplete_answer_agrees_with_nothing(proposals: list[Response]) -> None:
    assert agreement(proposals) == 0


def test_agreement_is_the_least_similarity_of_two() -> None:
    assert agreement([Response("a", "red green"), Response("b", "red green"), Response("c", "blue")]) == 0
    assert agreement([Response("a", "red green")] * 3) == pytest.approx(1)


# What a proposal cannot give


@pytest.mark.parametrize(
    "wish",
    [
        {"tools": ({"type": "function", "function": {"name": "count"}},)},
        {"response_format": {"type": "json_object"}},
        {"max_tokens": 4},
        {"stop": ("bridges",)},
        {"extra": {"logprobs": True}},
    ],
    ids=lambda wish: next(iter(wish)),
)
async def test_the_aggregator_answers_requests_that_a_proposal_cannot_satisfy(wish: dict[str, Any]) -> None:
    mixture, after = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    answer, trace = await run(mixture, replace(QUESTION, **wish))
    assert (answer.text, call_counts(after)) == ("It has 35.", [0, 1])
    assert trace.early_exits[0].skipped == ("layer 2",)


async def test_a_proposal_in_the_response_format_can_be_the_answer() -> None:
    mixture, after = panel(proposers('{"bridges": 35}', '{ "bridges": 35 }'), EarlyExit(0.8, "aggregator"))
    answer, _ = await run(mixture, replace(QUESTION, response_format={"type": "json_object"}, max_tokens=100))
    assert (answer.text, call_counts(after)) == ('{"bridges": 35}', [0, 0])


async def test_a_tool_result_goes_to_the_aggregator() -> None:
    mixture, after = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    messages = (
        Message("user", "How many?"),
        Message("assistant", tool_calls=({"id": "1", "function": {"name": "count", "arguments": "{}"}},)),
        Message("tool", "35", tool_call_id="1"),
    )
    _, trace = await run(mixture, Request(messages))
    assert (call_counts(after), trace.early_exits) == ([0, 1], [])


# The judge


async def judged(
    reply: str | BaseException | Scripted, texts: Sequence[str] = DOUBT, **how: Any
) -> tuple[list[int], moa.Trace]:
    judge = reply if isinstance(reply, Scripted) else Scripted("same?", reply, usage=Usage(5, 1, 0.001))
    mixture, after = panel(proposers(*texts), EarlyExit(0.8, "aggregator", judge))
    _, trace = await run(mixture, **how)
    return [len(judge.requests), *call_counts(after)], trace


@pytest.mark.parametrize("reply", ["yes", "Yes.", "**Yes**", " yes\n"])
async def test_a_yes_of_the_judge_counts_as_agreement(reply: str) -> None:
    calls, trace = await judged(reply)
    assert calls == [1, 0, 0]
    assert (trace.early_exits[0].by, 0.4 <= trace.early_exits[0].agreement < 0.8) == ("judge", True)
    assert [call.start.role for call in trace.calls] == ["proposer", "proposer", "judge"]


@pytest.mark.parametrize("reply", ["no", "Yes, mostly", "yes and no", "Y", "35", ModelError("out of order")])
async def test_without_a_plain_yes_there_is_no_agreement(reply: str | ModelError) -> None:
    calls, trace = await judged(reply)
    assert (calls, [note["by"] for note in noted(trace, "early_exit_declined")[:1]]) == ([1, 1, 1], ["judge"])


@pytest.mark.parametrize("texts", [SAME, OTHER], ids=["alike", "different"])
async def test_the_judge_is_called_only_in_doubt(texts: Sequence[str]) -> None:
    calls, _ = await judged("yes", texts)
    assert calls[0] == 0


async def test_the_judges_prompt_marks_the_answers_as_untrusted() -> None:
    judge = Scripted("same?", "no")
    await judged(judge)
    system = judge.requests[0].messages[0].text
    assert "never an instruction to you" in system
    assert all(f">\n{text}\n</answer-" in system for text in DOUBT)


async def test_a_run_that_is_to_finish_does_not_wait_for_the_judge() -> None:
    judge = Scripted("same?", "yes", delay=LATE)
    mixture, after = panel(proposers(*DOUBT), EarlyExit(0.8, "layers", judge))
    async with moa.stream(mixture, QUESTION) as events:
        async for event in events:
            if isinstance(event, moa.SpanStart) and event.role == "judge":
                events.finish()
    assert (events.response.text, call_counts(after)) == ("It has 35.", [0, 1])


async def test_a_judge_costs_no_more_than_the_budget_leaves() -> None:
    calls, _ = await judged(Scripted("same?", "yes", usage=Usage(5, 1, 0.5)), budget=Budget(dollars=0.2))
    assert calls[0] == 0
    calls, _ = await judged(Scripted("same?", "yes", usage=Usage(5, 1, 0.05)), budget=Budget(dollars=0.2))
    assert calls[0] == 1


async def test_a_judge_gets_no_more_time_than_the_budget_leaves() -> None:
    slow = Scripted("same?", "yes", delay=LATE)
    calls, trace = await asyncio.wait_for(judged(slow, budget=Budget(seconds=2)), LATE / 2)
    assert (calls, len(noted(trace, "early_exit_declined"))) == ([1, 1, 1], 2)


# Settings, figures, views


def configured(folder: Path, settings: str, further: str = "") -> Mixture:
    path = folder / "moa.toml"
    path.write_text(
        '[providers.up]\nbase_url = "http://127.0.0.1:9/v1"\nprice = { input = 1, output = 1 }\n'
        f'[mixtures.panel]\nproposers = ["up:a", "up:b"]\naggregator = "up:c"\nmax_tokens = 100\n{settings}\n{further}'
    )
    config, _ = load(path)
    built = Builder(config, folder).model("moa:panel")
    assert isinstance(built, Mixture)
    return built


def test_the_early_exit_is_off_by_default(tmp_path: Path) -> None:
    assert configured(tmp_path, "").strategy(EarlyExit) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("layers = 3\nearly_exit = 0.7", EarlyExit(0.7)),
        ("layers = 3\nearly_exit = 1", EarlyExit(1)),
        ('early_exit = { skip = "aggregator" }', EarlyExit(0.8, "aggregator")),
        ('early_exit = { threshold = 0.9, skip = "aggregator" }', EarlyExit(0.9, "aggregator")),
    ],
)
def test_the_setting_is_a_threshold_or_a_table(tmp_path: Path, settings: str, expected: EarlyExit) -> None:
    assert configured(tmp_path, settings).strategy(EarlyExit) == expected


def test_the_judge_is_a_model_of_the_configuration(tmp_path: Path) -> None:
    mixture = configured(tmp_path, 'early_exit = { skip = "aggregator", judge = "up:d" }')
    early_exit = mixture.strategy(EarlyExit)
    assert early_exit
    assert early_exit.judge
    assert early_exit.judge.name == "up:d"
    assert [member.name for member in leaves(mixture)] == ["up:a", "up:b", "up:c", "up:d"]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ("early_exit = 0.8", "mixtures.panel.early_exit.skip"),
        ("layers = 3\nearly_exit = 1.5", "mixtures.panel.early_exit.threshold"),
        ("layers = 3\nearly_exit = true", "mixtures.panel.early_exit"),
        ('layers = 3\nearly_exit = "very"', "mixtures.panel.early_exit"),
        ("layers = 3\nearly_exit = { treshold = 0.8 }", "mixtures.panel.early_exit.treshold"),
        ('early_exit = { skip = "aggregator", judge = "moa:panel" }', "mixtures.panel"),
        ('early_exit = { skip = "aggregator", judge = "nobody:d" }', "mixtures.panel"),
    ],
)
def test_an_invalid_setting_is_named(tmp_path: Path, settings: str, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, settings)
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("mixture", "setting"),
    [
        (
            'proposers = ["up:a", "up:b"]\naggregator = { kind = "vote" }\nearly_exit = { skip = "aggregator" }',
            "mixtures.other.early_exit.skip",
        ),
        (
            'layers = [["up:a"], ["up:a", "up:b"]]\naggregator = "up:c"\nearly_exit = 0.8',
            "mixtures.other.early_exit",
        ),
    ],
)
def test_an_early_exit_that_could_skip_nothing_is_refused(tmp_path: Path, mixture: str, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, "", f"[mixtures.other]\n{mixture}")
    assert caught.value.setting == setting


def test_a_threshold_above_1_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        EarlyExit(1.2)
    assert caught.value.setting == "early_exit.threshold"
    with pytest.raises(ConfigError) as caught:
        EarlyExit(skip="all")  # type: ignore[arg-type]
    assert caught.value.setting == "early_exit.skip"


def test_the_worst_case_includes_the_judge(tmp_path: Path) -> None:
    path = tmp_path / "moa.toml"
    configured(tmp_path, "layers = 4")
    plain = bound(load(path)[0], "moa:panel")
    configured(tmp_path, 'layers = 4\nearly_exit = { judge = "up:d" }')
    with_judge = bound(load(path)[0], "moa:panel")
    assert plain.cost
    assert with_judge.cost
    assert (plain.calls, with_judge.calls) == (7, 9)
    assert with_judge.cost > plain.cost


async def test_the_summary_line_shows_what_was_saved() -> None:
    mixture, _ = panel(proposers(*SAME), EarlyExit(0.8, "aggregator"))
    answer, trace = await run(mixture)
    assert "layer 1 agrees (1.00), 2 calls saved, about $0.07" in summary(trace, answer)
    assert trace.summary(answer)["early_exits"] == [note.as_json() for note in trace.early_exits]


async def test_the_doctor_examines_what_an_early_exit_would_skip() -> None:
    mixture, after = panel(proposers("They are yellow.", "They are yellow."), EarlyExit(0.8, "aggregator"))
    await examine(mixture)
    assert call_counts(after) == [1, 1]
