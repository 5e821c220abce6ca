"""Failures cost little: a straggler costs time, a failure one proposal, and no paid answer is lost."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import moa
from moa import Layer, Message, Mixture, ModelError, Request, Response, Scripted, Span, Synthesize, Usage
from moa.budget import Budget
from moa.errors import BadReply, ConfigError, LayerError, RequestError
from moa.mixture.adaptive_timeout import AdaptiveTimeout, LatencyHistory
from moa.mixture.aggregators import Aggregator, Vote
from moa.mixture.strategies.guarded import Guarded
from moa.wrappers.fallback import Fallback
from moa.wrappers.hedge import Hedged

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("user", "Which colour?"),))
LATE = 60.0


def panel(*layers: Layer, by: Aggregator | None = None, guard: bool = True) -> Mixture:
    aggregator = by or Synthesize(Scripted("judge", "purple"))
    return Mixture(layers, aggregator, "panel", strategies=[Guarded()] if guard else [])


async def run(mixture: Mixture, request: Request = QUESTION, **how: Any) -> tuple[Response, list[moa.Event]]:
    events: list[moa.Event] = []
    answer = await moa.generate(mixture, request, events.append, "all", **how)
    return answer, events


def noted(events: Sequence[moa.Event], kind: str) -> list[dict[str, Any]]:
    return [event.data.as_json() for event in events if isinstance(event, moa.Note) and event.kind == kind]


def read(events: Sequence[moa.Event]) -> str:
    """Return the text that a reader of the answer has received."""
    return "".join(event.text for event in events if isinstance(event, moa.TextDelta) and event.answer)


def texts(answer: Response) -> list[str]:
    return [reference.text for reference in answer.references]


class Fails:
    """A model that writes some words and then fails."""

    def __init__(self, name: str, words: str = "") -> None:
        self.name, self.words = name, words

    async def generate(self, request: Request, span: Span) -> Response:
        span.text(self.words)
        raise ModelError(f"{self.name}: out of order", model=self.name)


# The grace


async def test_once_the_quorum_is_there_stragglers_are_not_waited_for() -> None:
    proposers = [Scripted("a", "red"), Scripted("b", "blue"), Scripted("c", "green", delay=LATE)]
    answer, events = await run(panel(Layer(proposers, quorum=2, grace=0)))
    assert texts(answer) == ["red", "blue"]
    assert [lost["error"] for lost in noted(events, "proposal_lost")] == ["no answer within 0 s after the quorum of 2"]


async def test_within_the_grace_the_others_may_still_come() -> None:
    proposers = [Scripted("a", "red"), Scripted("b", "blue", delay=0.05)]
    answer, events = await run(panel(Layer(proposers, quorum=1, grace=LATE)))
    assert (texts(answer), noted(events, "proposal_lost")) == (["red", "blue"], [])


async def test_a_straggler_that_times_out_at_that_moment_is_not_called_again() -> None:
    patience = asyncio.timeout(LATE)

    class Quick:
        name = "quick"

        async def generate(self, request: Request, span: Span) -> Response:
            await asyncio.sleep(0)
            patience.reschedule(asyncio.get_running_loop().time())
            return Response("quick", "red", Usage(1, 1))

    class Retrying:
        name = "retrying"

        async def generate(self, request: Request, span: Span) -> Response:
            with suppress(TimeoutError):
                async with patience:
                    await asyncio.Event().wait()
            await asyncio.sleep(0.01)
            return Response("retrying", "blue", Usage(1, 1))

    answer, _ = await run(panel(Layer((Quick(), Retrying()), quorum=1, grace=0.0)))
    assert texts(answer) == ["red"]


async def test_without_a_grace_all_are_waited_for() -> None:
    answer, _ = await run(panel(Layer([Scripted("a", "red"), Scripted("b", "blue", delay=0.05)])))
    assert texts(answer) == ["red", "blue"]


# Adaptive timeouts


def test_a_deadline_is_a_percentile_of_what_was_between_floor_and_cap() -> None:
    patience = AdaptiveTimeout(percentile=50, multiplier=2, min=3, max=30, least=3)
    assert patience.seconds("a") == 30
    for seconds in (1, 2, 3):
        patience.latencies.add("a", seconds)
    assert patience.seconds("a") == 4
    for model, seconds in (("quick", 0.1), ("slow", 100)):
        for _ in range(3):
            patience.latencies.add(model, seconds)
    assert (patience.seconds("quick"), patience.seconds("slow")) == (3, 30)
    assert patience.learned(["a", "new"]) == {"a": (3, 4), "new": (0, 30)}


async def test_a_model_is_waited_for_as_long_as_its_past_makes_likely() -> None:
    latencies = LatencyHistory()
    for _ in range(5):
        latencies.add("b", 0.01)
    patience = AdaptiveTimeout(min=0.05, latencies=latencies)
    answer, events = await run(
        panel(Layer([Scripted("a", "red"), Scripted("b", "blue", delay=LATE)], timeout=patience))
    )
    assert texts(answer) == ["red"]
    assert noted(events, "proposal_lost") == [
        {"model": "b", "index": 1, "error": "no answer within 0.1 s (adaptive timeout from past latencies)"}
    ]
    assert len(latencies["a"]) == 1


async def test_a_model_that_has_become_slower_is_waited_for_longer_in_time() -> None:
    latencies = LatencyHistory(kept=5)
    for _ in range(5):
        latencies.add("a", 0.02)
    patience = AdaptiveTimeout(percentile=100, multiplier=2, min=0.01, max=LATE, latencies=latencies)
    slow = Scripted("a", "red", delay=0.15)
    lost = 0
    for _ in range(10):
        try:
            await run(panel(Layer([slow], timeout=patience)))
            break
        except LayerError:
            lost += 1
    assert 0 < lost < 10


def test_latencies_outlive_the_process_and_a_file_of_no_use_is_none(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "latencies.json"
    first = LatencyHistory(file=file)
    first.add("a", 1.5)
    first.add("a", 2.5)
    first.save()
    second = LatencyHistory(file=file)
    assert second["a"] == (1.5, 2.5)
    assert [path.name for path in file.parent.iterdir()] == ["latencies.json"]
    for useless in ("", "[]", '{"a": 3}', '{"a": ["x"]}', "\x00"):
        file.write_text(useless)
        assert LatencyHistory(file=file)["a"] == ()
    LatencyHistory(file=Path("/proc/none/latencies.json")).save()


# Hedging


async def test_a_straggler_is_called_twice_and_the_first_answer_counts() -> None:
    turns: list[str] = []

    class Straggles:
        name = "a"

        async def generate(self, request: Request, span: Span) -> Response:
            turns.append("called")
            try:
                await asyncio.sleep(LATE if len(turns) == 1 else 0)
            except asyncio.CancelledError:
                turns.append("cancelled")
                raise
            return Response("a", "red", Usage(1, 1, 0.5))

    answer, events = await run(panel(Layer([Hedged(Straggles(), 0.01)])))
    assert (texts(answer), turns) == (["red"], ["called", "called", "cancelled"])
    assert noted(events, "hedged") == [{"after": 0.01}]


async def test_a_model_that_answers_in_time_is_called_once() -> None:
    quick = Scripted("a", "red")
    _, events = await run(panel(Layer([Hedged(quick, LATE)])))
    assert (len(quick.requests), noted(events, "hedged")) == (1, [])


async def test_when_both_calls_fail_the_proposal_is_lost() -> None:
    with pytest.raises(LayerError, match="out of order"):
        await run(panel(Layer([Hedged(Scripted("a", ModelError("out of order"), delay=0.03), 0.01)])))


# The guard

TWO = (Layer([Scripted("a", "It is red."), Scripted("b", "It is blue, I think.")]),)
LONG = " ".join(["the same words again and again"] * 30)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (ModelError("judge: no"), "the aggregator failed: judge: no"),
        ("", "the aggregator failed: judge: the reply is empty; retry, or choose another model"),
        ("  \n", "the aggregator failed: judge: the reply is empty; retry, or choose another model"),
        (Response("judge", "It is", finish_reason="length"), "the aggregation was cut off while a proposal is whole"),
        ("I'm sorry, but I can't help with that.", "the aggregation refuses while a proposal answers"),
        ("I cannot answer this.", "the aggregation refuses while a proposal answers"),
        (LONG, "the aggregation repeats itself"),
    ],
)
async def test_an_aggregation_that_is_no_good_gives_way_to_the_best_proposal(reply: Any, reason: str) -> None:
    events: list[moa.Event] = []
    mixture = panel(*TWO, by=Synthesize(Scripted("judge", reply)))
    answer = await moa.generate(mixture, QUESTION, events.append)
    assert answer.text in ("It is red.", "It is blue, I think.")
    assert answer.fallback == f"{reason}; this is the proposal of {noted(events, 'fallback')[-1]['model']}"
    assert texts(answer) == ["It is red.", "It is blue, I think."]


async def test_a_good_aggregation_stands() -> None:
    for reply in (
        "Sorry to say, it cannot be red. " + " ".join(f"It is {n}." for n in range(200)),
        "Red.",
        Response("judge", "Blue", reasoning="Hm"),
    ):
        answer, events = await run(panel(*TWO, by=Synthesize(Scripted("judge", reply))))
        assert (answer.fallback, noted(events, "fallback")) == (None, [])


async def test_a_refusal_stands_where_every_proposal_refuses() -> None:
    refusing = Layer([Scripted("a", "I can't help with that."), Scripted("b", "Sorry, I cannot do this.")])
    answer, _ = await run(panel(refusing, by=Synthesize(Scripted("judge", "I'm sorry, I can't."))))
    assert (answer.text, answer.fallback) == ("I'm sorry, I can't.", None)


async def test_an_answer_that_breaks_off_while_it_is_read_is_followed_by_a_proposal() -> None:
    answer, events = await run(panel(*TWO, by=Synthesize(Fails("judge", "It might be"))))
    assert read(events).startswith(
        "It might be\n\n[the aggregator failed: judge: out of order; this is the proposal of "
    )
    assert read(events).endswith(f"]\n\n{answer.text}")


async def test_the_best_proposal_is_whole_answers_and_agrees_with_the_others() -> None:
    proposers = [
        Scripted("refuses", "I'm sorry, I can't."),
        Scripted("cut", Response("cut", "The sky is blue by day", finish_reason="length")),
        Scripted("odd", "Bananas"),
        Scripted("one", "The sky is blue by day and black at night."),
        Scripted("two", "The sky is blue by day."),
    ]
    answer, _ = await run(panel(Layer(proposers), by=Synthesize(Fails("judge"))))
    assert answer.text in ("The sky is blue by day and black at night.", "The sky is blue by day.")


async def test_every_model_of_the_chain_is_tried_before_a_proposal_stands_in() -> None:
    chain = Fallback([Fails("first"), Fails("second"), Scripted("third", "purple")])
    answer, events = await run(panel(*TWO, by=Synthesize(chain)))
    assert (answer.text, answer.fallback) == ("purple", None)
    assert [note["model"] for note in noted(events, "fallback")] == ["first", "second"]
    failing = Fallback([Fails("first"), Fails("second")])
    answer, _ = await run(panel(*TWO, by=Synthesize(failing)))
    assert answer.fallback and answer.fallback.startswith("the aggregator failed: second: out of order")


async def test_without_the_guard_the_failure_is_raised() -> None:
    with pytest.raises(ModelError, match="out of order"):
        await run(panel(*TWO, by=Synthesize(Fails("judge")), guard=False))


async def test_a_bug_is_never_covered_up() -> None:
    with pytest.raises(ZeroDivisionError):
        await run(panel(*TWO, by=Synthesize(Scripted("judge", ZeroDivisionError()))))


# Structured output

FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "c",
        "schema": {"type": "object", "properties": {"c": {"type": "string"}}, "required": ["c"]},
    },
}
SHAPED = Request(QUESTION.messages, response_format=FORM)


async def test_an_answer_that_breaks_its_schema_is_requested_once_more_with_the_problem() -> None:
    judge = Scripted("judge", ["no json", '{"c": "red"}'])
    answer, events = await run(panel(*TWO, by=Synthesize(judge)), SHAPED)
    assert (answer.text, read(events), answer.fallback) == ('{"c": "red"}', '{"c": "red"}', None)
    assert len(judge.requests) == 2
    assert judge.requests[1].messages[-2].text == "no json"
    assert judge.requests[1].messages[-1].text.startswith("That is not in the form asked for: ")
    assert len(noted(events, "format_retry")) == 1


@pytest.mark.parametrize(
    "slow",
    [
        {"type": "object", "properties": {"c": {"pattern": "(a+)+$"}}, "required": ["c"]},
        {"properties": {"c": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(a+)+$"}}},
        {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"(a+)+$": {}}, "unevaluatedProperties": False},
        {"propertyNames": {"pattern": "(a+)+$"}},
    ],
)
async def test_the_patterns_of_a_schema_hold_up_nobody(slow: dict[str, Any]) -> None:
    long = "a" * 60 + "!"
    reply = json.dumps({"c": long, long: 1})
    request = replace(SHAPED, response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": slow}})
    answer, _ = await run(panel(*TWO, by=Synthesize(Scripted("judge", reply))), request)
    assert answer.text == reply


@pytest.mark.parametrize("more", [{}, {"unevaluatedProperties": False}])
@pytest.mark.parametrize("depth", [0, 64])
async def test_a_schema_that_refers_to_itself_again_and_again_is_refused(depth: int, more: dict[str, Any]) -> None:
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    schema = {**more, "$ref": "#/$defs/d0", "$defs": {**twice, f"d{depth}": True if depth else {"$ref": "#"}}}
    request = replace(SHAPED, response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema}})
    with pytest.raises(RequestError, match="refers to itself again and again"):
        await run(panel(*TWO, by=Synthesize(Scripted("judge", "{}"))), request)


@pytest.mark.parametrize("reply", ["no json", ModelError("judge: no")])
async def test_a_proposal_in_the_form_stands_in_for_an_answer_that_is_not(reply: Any) -> None:
    layer = Layer([Scripted("a", "red"), Scripted("b", '{"c": "blue"}')])
    answer, events = await run(panel(layer, by=Synthesize(Scripted("judge", reply))), SHAPED)
    assert (answer.text, read(events)) == ('{"c": "blue"}', '{"c": "blue"}')
    assert answer.fallback and answer.fallback.endswith("this is the proposal of b")


async def test_where_nothing_is_in_the_form_the_error_says_so() -> None:
    with pytest.raises(BadReply, match="judge: the answer does not match the response format"):
        await run(panel(*TWO, by=Synthesize(Scripted("judge", "no json"))), SHAPED)
    with pytest.raises(BadReply, match="does not match the response format"):
        await run(panel(*TWO, by=Vote()), SHAPED)


# A later layer


async def test_a_later_layer_that_fails_does_not_throw_away_what_is_paid_for() -> None:
    second = Layer([Fails("c"), Fails("d")])
    answer, events = await run(panel(*TWO, second))
    assert (answer.text, texts(answer)) == ("purple", ["It is red.", "It is blue, I think."])
    assert [note["layer"] for note in noted(events, "layer_skipped")] == [2]


async def test_a_first_layer_that_fails_is_an_error() -> None:
    with pytest.raises(LayerError, match="0 of 1"):
        await run(panel(Layer([Fails("a")]), *TWO))


# Budgets


def priced(name: str, text: str, cost: float | None = 1.0, **how: Any) -> Scripted:
    """Return a model with a fixed cost per call."""
    return Scripted(name, text, usage=Usage(10, 10, cost), **how)


def costly(layers: int = 1, proposers: int = 3) -> Mixture:
    """Return a mixture in which every call costs $1."""
    names = "abcdef"[:proposers]
    layer = [Layer([priced(f"{name}{number}", name) for name in names], quorum=2) for number in range(1, layers + 1)]
    return panel(*layer, by=Synthesize(priced("judge", "purple")))


async def test_within_its_budget_a_mixture_is_whole() -> None:
    answer, events = await run(costly(), budget=Budget(dollars=4))
    assert (texts(answer), answer.usage.cost, noted(events, "budget_shrunk")) == (["a", "b", "c"], 4.0, [])


async def test_proposers_that_do_not_fit_are_left_out_from_the_end() -> None:
    answer, events = await run(costly(), budget=Budget(dollars=2.5))
    assert (texts(answer), answer.usage.cost) == (["a"], 2.0)
    assert noted(events, "budget_shrunk") == [
        {"layer": 1, "left_out": ("b1", "c1"), "reason": "they do not fit the budget"}
    ]


async def test_a_cheaper_one_behind_a_dear_one_may_still_fit() -> None:
    layer = Layer([priced("a", "a"), priced("b", "b", 5.0), priced("c", "c", 0.5)])
    answer, _ = await run(
        panel(layer, by=Synthesize(priced("judge", "purple")), guard=False), budget=Budget(dollars=2.6)
    )
    assert texts(answer) == ["a", "c"]


async def test_later_layers_are_skipped_before_a_proposer_is_left_out() -> None:
    answer, events = await run(costly(layers=3), budget=Budget(dollars=8))
    assert (answer.usage.cost, [len(one.references) for one in answer.references]) == (7.0, [3, 3, 3])
    assert [note["layer"] for note in noted(events, "budget_shrunk")] == [3]
    answer, events = await run(costly(layers=3), budget=Budget(dollars=5))
    assert (answer.usage.cost, [note["layer"] for note in noted(events, "budget_shrunk")]) == (4.0, [2])


async def test_no_budget_is_ever_overspent_and_none_that_suffices_fails() -> None:
    for layers in (1, 2, 3):
        for proposers in (1, 2, 4):
            mixture = panel(
                *(Layer([priced(f"p{n}", "x") for n in range(proposers)]) for _ in range(layers)),
                by=Synthesize(priced("judge", "purple")),
            )
            for dollars in range(2, 16):
                answer, _ = await run(mixture, budget=Budget(dollars=dollars))
                assert answer.text == "purple"
                assert answer.usage.cost is not None and answer.usage.cost <= dollars


async def test_a_budget_too_small_for_anything_is_refused_before_it_is_spent() -> None:
    mixture = costly()
    with pytest.raises(RequestError, match=r"too small for one proposal and the answer: about \$2 of \$1.5"):
        await run(mixture, budget=Budget(dollars=1.5))
    assert all(not proposer.requests for proposer in mixture.layers[0].proposers if isinstance(proposer, Scripted))


async def test_a_budget_in_dollars_needs_prices() -> None:
    with pytest.raises(RequestError, match="price of a model is unknown"):
        await run(panel(*TWO), budget=Budget(dollars=100))


async def test_tokens_are_kept_to_as_well() -> None:
    request = Request(QUESTION.messages, max_tokens=50)
    answer, events = await run(costly(), request, budget=Budget(tokens=2600))
    assert texts(answer) == ["a"]
    assert noted(events, "budget_shrunk")[0]["left_out"] == ("b1", "c1")
    with pytest.raises(RequestError, match=r"about \d+ of 500 tokens"):
        await run(costly(), request, budget=Budget(tokens=500))


async def test_seconds_leave_time_for_the_aggregator() -> None:
    layer = Layer([Scripted("a", "red"), Scripted("b", "blue", delay=LATE)], quorum=2)
    answer, events = await run(panel(layer), budget=Budget(seconds=0.4))
    assert (answer.text, texts(answer)) == ("purple", ["red"])
    assert [lost["error"] for lost in noted(events, "proposal_lost")] == ["no answer before the deadline"]


async def test_an_aggregator_without_time_gives_way_to_the_best_proposal() -> None:
    slow = Synthesize(Scripted("judge", "purple", delay=LATE))
    answer, _ = await run(panel(Layer([Scripted("a", "red")]), by=slow), budget=Budget(seconds=0.3))
    assert answer.text == "red"
    assert answer.fallback and "the budget" in answer.fallback


async def test_an_aggregator_that_is_being_read_is_not_cut_off() -> None:
    speaking = Synthesize(Scripted("judge", "one two three four", pace=0.1))
    answer, _ = await run(panel(Layer([Scripted("a", "red")]), by=speaking), budget=Budget(seconds=0.2))
    assert (answer.text, answer.fallback) == ("one two three four", None)


async def test_a_mixture_keeps_to_its_own_budget_too() -> None:
    small = replace(costly(), budget=Budget(dollars=2))
    assert (await run(small))[0].usage.cost == 2.0
    outer = panel(Layer([small]), by=Synthesize(priced("last", "green")), guard=False)
    assert (await run(outer))[0].usage.cost == 3.0


async def test_a_budget_reckons_with_the_mixtures_inside() -> None:
    outer = panel(Layer([costly(), priced("d", "d")]), by=Synthesize(priced("last", "green")), guard=False)
    answer, _ = await run(outer, budget=Budget(dollars=6))
    assert answer.usage.cost == 6.0
    answer, _ = await run(outer, budget=Budget(dollars=3))
    assert (texts(answer), answer.usage.cost) == (["d"], 2.0)


def test_a_budget_must_be_greater_than_nothing() -> None:
    for wrong in (0, -1, math.nan):
        with pytest.raises(ConfigError) as caught:
            Budget(dollars=wrong)
        assert caught.value.setting == "budget.dollars"
    assert Budget(dollars=2, tokens=5).within(Budget(dollars=1, seconds=3)) == Budget(1, 5, 3)
