"""Events are JSON both ways, and everything anyone sees of a run is folded from them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import moa
from moa import (
    Event,
    Layer,
    Lost,
    Message,
    Mixture,
    ModelError,
    Note,
    Request,
    Response,
    Retried,
    Scripted,
    SpanEnd,
    SpanStart,
    Synthesize,
    TextDelta,
    Trace,
    Usage,
)
from moa.events import VERSION, from_json, to_json
from moa.notes import RequestRewritten, UnknownNote

QUESTION = Request((Message("system", "Be brief."), Message("user", "Which colour?")), seed=1)


async def events_of(model: moa.Model, request: Request = QUESTION, words: moa.span.StreamMode = "all") -> list[Event]:
    events: list[Event] = []
    try:
        await moa.generate(model, request, events.append, words)
    except ModelError:
        assert isinstance(events[-1], SpanEnd)
    return events


def panel(*proposers: moa.Model, judge: moa.Model | None = None) -> Mixture:
    return Mixture((Layer(proposers),), Synthesize(judge or Scripted("judge", "dark green", usage=PAID)), "panel")


def folded(events: list[Event]) -> Trace:
    trace = Trace()
    for event in events:
        trace.add(event)
    return trace


PAID = Usage(10, 5, 0.25)
A, B = Scripted("a", "red wine", usage=PAID), Scripted("b", ModelError("b: HTTP 500: on fire"))


async def test_every_event_of_a_run_comes_back_from_its_json_as_it_was() -> None:
    nested = panel(panel(A, B), Retried(Scripted("c", [ModelError("busy", retryable=True), "blue"]), 2, 0))
    for event in await events_of(nested):
        line = to_json(event)
        assert b"\n" not in line
        assert from_json(line) == event


def test_a_request_comes_back_whole_with_parts_tools_and_options() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    request = Request(
        (
            Message("user", ({"type": "text", "text": "What is this?"}, image), name="ann"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "a cat\u2028\n\x00", tool_call_id="1"),
        ),
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        seed=3,
        stop=("x", "y"),
        tools=({"type": "function", "function": {"name": "f"}},),
        tool_choice="auto",
        response_format={"type": "json_object"},
        extra={"top_k": 4},
    )
    start = SpanStart("r", "s", 0.5, "root", "m", answer=True, request=request, started_at=1.5, version=VERSION)
    assert from_json(to_json(start)) == start


def test_events_of_any_text_and_numbers_come_back() -> None:
    dice = random.Random(5)
    characters = ["a", '"', "\\", "\n", "\u2028", "é", "漢", "🎈", "\x00", "<", "&", "{"]

    def text() -> str:
        return "".join(dice.choices(characters, k=dice.randint(0, 30)))

    for _ in range(300):
        usage = Usage(dice.randrange(9**9), dice.randrange(9), dice.choice([None, 0.0, 1e-9]), estimated=True)
        events: list[Event] = [
            TextDelta(
                text(), dice.random(), text(), dice.choice(["text", "reasoning", "tool_call"]), dice.random() < 0.5
            ),
            Note(text(), dice.random(), UnknownNote(text(), {text(): [text(), None, {"n": dice.random()}]})),
            SpanEnd(text(), dice.random(), text() or None, text(), dice.choice([None, "stop"]), usage),
            SpanStart(text(), text(), dice.random(), "proposer", text(), text(), 2, 0),
        ]
        for event in events:
            assert from_json(to_json(event)) == event


def test_an_event_is_one_json_object_that_names_its_type_and_leaves_out_what_it_has_not() -> None:
    assert json.loads(to_json(TextDelta("s", 0.5, "red", answer=True))) == {
        "type": "delta",
        "span": "s",
        "time": 0.5,
        "text": "red",
        "kind": "text",
        "answer": True,
    }
    assert json.loads(to_json(SpanEnd("s", 1.0, "lost"))) == {
        "type": "span_end",
        "span": "s",
        "time": 1.0,
        "error": "lost",
    }


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"type": "other"}', '{"type": "delta"}', b"\xff"])
def test_what_is_no_event_is_refused(line: Any) -> None:
    with pytest.raises(ValueError):
        from_json(line)


async def test_the_first_event_tells_when_the_run_began_and_in_which_vocabulary() -> None:
    first, *rest = [event for event in await events_of(panel(A)) if isinstance(event, SpanStart)]
    assert (first.role, first.version, first.parent) == ("root", VERSION, None)
    assert first.started_at is not None and first.started_at > 1.7e9
    assert {(start.version, start.started_at) for start in rest} == {(None, None)}


async def test_every_call_starts_once_ends_once_and_says_nothing_after() -> None:
    events = await events_of(panel(panel(A, B), A))
    starts = [event.span for event in events if isinstance(event, SpanStart)]
    ends = [event.span for event in events if isinstance(event, SpanEnd)]
    assert len(set(starts)) == len(starts)
    assert sorted(starts) == sorted(ends)
    over: set[str] = set()
    begun: set[str] = set()
    for event in events:
        if isinstance(event, SpanStart):
            assert event.parent is None or event.parent in begun - over
            begun.add(event.span)
        assert event.span in begun - over
        if isinstance(event, SpanEnd):
            over.add(event.span)
    assert [event.time for event in events] == sorted(event.time for event in events)


async def test_the_words_of_a_call_are_the_text_it_ends_with() -> None:
    events = await events_of(panel(A, Scripted("c", "one two  three\n")))
    said: dict[str, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            said[event.span] = said.get(event.span, "") + event.text
    ends = {event.span: event.text for event in events if isinstance(event, SpanEnd) and event.span in said}
    assert said == ends


async def test_a_trace_is_the_tree_of_the_calls_with_their_words_and_costs() -> None:
    trace = folded(await events_of(panel(A, B)))
    assert trace.root
    assert [(call.start.model, call.text, call.error) for call in trace.calls] == [
        ("a", "red wine", None),
        ("b", "", "b: HTTP 500: on fire"),
        ("judge", "dark green", None),
    ]
    layer, judge = trace.root.children
    assert (layer.start.role, layer.start.layer, judge.start.role) == ("layer", 1, "aggregator")
    assert [child.start.index for child in layer.children] == [0, 1]
    assert trace.root.usage == Usage(20, 10, 0.5)
    assert trace.lost == [Lost("b", 1, "b: HTTP 500: on fire")]


async def test_a_trace_of_stored_events_is_the_trace_of_the_run() -> None:
    events = await events_of(panel(panel(A, B), A))
    live, stored = folded(events), folded([from_json(to_json(event)) for event in events])
    assert [(n.start, n.end, n.text, n.notes, n.first_word) for n in live.root.walk()] == [  # type: ignore[union-attr]
        (n.start, n.end, n.text, n.notes, n.first_word)
        for n in stored.root.walk()  # type: ignore[union-attr]
    ]
    assert (live.lost, live.time, live.first_word) == (stored.lost, stored.time, stored.first_word)


async def test_a_trace_is_true_at_any_moment_of_the_run() -> None:
    trace = Trace()
    seen: list[str] = []
    for event in await events_of(panel(Scripted("a", "one two three"))):
        trace.add(event)
        if isinstance(event, TextDelta) and trace.node(event.span).start.model == "a":
            seen.append(trace.node(event.span).text)
    assert seen == ["one ", "one two ", "one two three"]


async def test_words_before_a_retry_are_void() -> None:
    class Stumbles:
        name = "stumbles"
        turn = 0

        async def generate(self, request: Request, span: moa.Span) -> Response:
            self.turn += 1
            span.text("half of " if self.turn == 1 else "whole")
            if self.turn == 1:
                raise ModelError("cut", retryable=True)
            return Response(self.name, "whole")

    events = await events_of(panel(Retried(Stumbles(), 2, 0)))
    trace = Trace()
    texts = []
    for event in events:
        trace.add(event)
        if trace.node(event.span).start.model == "stumbles":
            texts.append(trace.node(event.span).text)
    assert texts == ["", "half of ", "", "whole", "whole"]


async def test_the_first_word_of_the_run_is_the_answers_not_a_proposals() -> None:
    events = await events_of(panel(A))
    trace = folded(events)
    first = next(event for event in events if isinstance(event, TextDelta) and event.answer)
    assert trace.first_word == first.time
    assert trace.calls[0].first_word is not None and trace.calls[0].first_word < first.time


async def test_thinking_is_kept_apart_from_words() -> None:
    class Thinks:
        name = "thinks"

        async def generate(self, request: Request, span: moa.Span) -> Response:
            span.text("hm", "reasoning")
            span.text("green")
            return Response(self.name, "green", reasoning="hm")

    trace = folded(await events_of(panel(A, judge=Thinks())))
    assert (trace.calls[1].text, trace.calls[1].reasoning) == ("green", "hm")


async def test_the_summary_is_plain_json_with_answer_references_losses_and_sums() -> None:
    trace = Trace()
    answer = await moa.generate(panel(A, B), QUESTION, trace.add)
    summary = json.loads(json.dumps(trace.summary(answer)))
    assert trace.root
    assert summary.pop("timing").keys() == {"total", "first_word"}
    assert summary == {
        "run": trace.root.start.run,
        "model": "panel",
        "answer": "dark green",
        "finish_reason": "stop",
        "usage": {"input_tokens": 20, "output_tokens": 10, "cost": 0.5},
        "references": [
            {
                "model": "a",
                "text": "red wine",
                "usage": {"input_tokens": 10, "output_tokens": 5, "cost": 0.25},
                "references": [],
            }
        ],
        "lost": [{"model": "b", "layer": 1, "error": "b: HTTP 500: on fire"}],
    }


async def test_a_conversation_changed_on_the_way_is_told_as_it_was_sent() -> None:
    class Deaf:
        name = "deaf"

        async def generate(self, request: Request, span: moa.Span) -> Response:
            return await A.generate(Request(request.messages[1:]), span)

    sent = [event.data for event in await events_of(Deaf()) if isinstance(event, Note)]
    assert sent == [RequestRewritten(({"role": "user", "content": "Which colour?"},))]
    assert not [event for event in await events_of(A) if isinstance(event, Note)]
