"""The cost of an answer: usage, payment, and the time that a caller would wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from moa import Layer, Message, Mixture, Request, Scripted, Staircase, Synthesize, Usage, generate
from moa.evals.spending import answer_cost
from moa.evals.task import AnswerCost
from moa.events import Note, SpanEnd, SpanStart
from moa.notes import Cached, Dequeued, Queued, StaircaseStep
from moa.trace.tree import Trace

pytestmark = pytest.mark.usefixtures("virtual_time")


def trace_of(*calls: tuple[str, str, str | None, float, float], notes: Mapping[str, list[Note]] | None = None) -> Trace:
    """Return the trace of spans, each with its name, role, parent, start and end. A call has ten output tokens."""
    found = Trace()
    events: list[Any] = []
    for number, (name, role, parent, start, end) in enumerate(calls):
        events.append((start, number, SpanStart("r", name, start, role, name, parent)))  # type: ignore[arg-type]
        events += [(note.time, 10 + number, note) for note in (notes or {}).get(name, [])]
        events.append((end, 100 - number, SpanEnd(name, end, text="", usage=Usage(0, 10, 0.0))))
    for _, _, event in sorted(events, key=lambda one: one[:2]):
        found.add(event)
    return found


def test_the_steps_of_a_staircase_take_no_longer_than_the_run() -> None:
    cost = answer_cost(
        trace_of(
            ("root", "root", None, 0.0, 2.2),
            ("layer", "layer", "root", 0.0, 1.5),
            ("a", "proposer", "layer", 0.0, 1.5),
            ("b", "proposer", "layer", 0.0, 1.2),
            ("step 1", "aggregator", "root", 0.6, 0.9),
            ("step 2", "aggregator", "root", 0.9, 1.4),
            ("last", "aggregator", "root", 1.5, 2.2),
        )
    )
    assert (cost.seconds, cost.calls) == (pytest.approx(2.2), 5)
    assert cost.sequential_tokens == 35  # step 1 begins when b has written 5 of its tokens; three steps follow


def test_layers_follow_each_other_and_the_calls_of_a_layer_run_side_by_side() -> None:
    cost = answer_cost(
        trace_of(
            ("root", "root", None, 0.0, 3.5),
            ("one", "layer", "root", 0.0, 2.0),
            ("a", "proposer", "one", 0.0, 2.0),
            ("b", "proposer", "one", 0.0, 1.0),
            ("two", "layer", "root", 2.0, 2.5),
            ("c", "proposer", "two", 2.0, 2.5),
            ("z", "aggregator", "root", 2.5, 3.5),
        )
    )
    assert (cost.seconds, cost.sequential_tokens) == (pytest.approx(3.5), 30)


def test_time_in_a_queue_is_not_counted() -> None:
    queued = [Note("b", 0.0, Queued()), Note("b", 1.0, Dequeued(1.0))]
    cost = answer_cost(
        trace_of(
            ("root", "root", None, 0.0, 3.0),
            ("layer", "layer", "root", 0.0, 2.0),
            ("a", "proposer", "layer", 0.0, 1.0),
            ("b", "proposer", "layer", 0.0, 2.0),
            ("z", "aggregator", "root", 2.0, 3.0),
            notes={"b": queued},
        )
    )
    assert cost.seconds == pytest.approx(2.0)


def test_a_cached_answer_counts_with_its_original_cost() -> None:
    def cached(name: str, time: float, seconds: float) -> list[Note]:
        return [Note(name, time, Cached(3, 7, 0.5, seconds))]

    cost = answer_cost(
        trace_of(
            ("root", "root", None, 0.0, 0.4),
            ("layer", "layer", "root", 0.0, 0.2),
            ("a", "proposer", "layer", 0.0, 0.1),
            ("b", "proposer", "layer", 0.1, 0.2),
            ("z", "aggregator", "root", 0.2, 0.4),
            notes={"a": cached("a", 0.1, 2.0), "b": cached("b", 0.2, 3.0)},
        )
    )
    assert cost == AnswerCost(Usage(6, 24, 1.0), 3, 17, 3.2, 0.0)


async def test_a_staircase_that_runs_is_billed_its_wall_clock() -> None:
    words = "a sentence of eight words that says little. " * 12
    writers = [Scripted(name, words, pace=0.003) for name in ("a", "b")]
    judge = Scripted("judge", "It is so, as both of them say at length. ", delay=0.05)
    mixture = Mixture([Layer(writers)], Synthesize(judge), "m", strategies=[Staircase(16)])
    trace = Trace()
    await generate(mixture, Request((Message("user", "Why?"),)), trace.add, words="all")
    assert any(node.notes_of(StaircaseStep) for node in trace.root.walk())  # type: ignore[union-attr]
    assert 0 < answer_cost(trace).seconds <= trace.time
