"""A model reads references all at once where they fit its context window, else a few at a time."""

from __future__ import annotations

import random
import re

import pytest

import moa
from moa import ContextOverflow, Layer, Message, Mixture, ModelError, Prompt, Request, Response, Scripted, Synthesize
from moa.types import estimate_tokens

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("system", "Be brief."), Message("user", "Which colour?")))
SHORT = Prompt("Merge.")


def answers(*texts: str) -> Layer:
    return Layer([Scripted(f"m{number}", text) for number, text in enumerate(texts, 1)])


def read_by(judge: Scripted) -> list[list[str]]:
    """The references of each call, in the order they were laid before the judge."""
    shown = [request.messages[0].text for request in judge.requests]
    return [re.findall(r'<answer-\w+ number="\d+">\n(.*?)\n</answer-', text, re.DOTALL) for text in shown]


def words(letter: str, tokens: int) -> str:
    return " ".join([letter * 3] * tokens)


def notes(trace: moa.Trace, kind: str) -> list[dict[str, object]]:
    assert trace.root
    return [note.data.as_json() for node in trace.root.walk() for note in node.notes if note.kind == kind]


def overflowing(limit: int) -> Scripted:
    """A model of unknown window whose upstream refuses prompts of more than so many characters."""

    def says(request: Request) -> str | ModelError:
        size = sum(len(message.text) for message in request.messages)
        return ContextOverflow("judge: prompt is too long", model="judge") if size > limit else f"read {size}"

    return Scripted("judge", says)


async def test_references_that_fit_are_read_all_at_once() -> None:
    judge = Scripted("judge", "green", context_window=8000)
    await moa.generate(Mixture((answers("one", "two", "three"),), Synthesize(judge, SHORT)), QUESTION)
    assert read_by(judge) == [["one", "two", "three"]]


async def test_references_that_do_not_fit_are_read_a_few_at_a_time_with_the_best_answer_so_far() -> None:
    texts = [words(letter, 60) for letter in "abcde"]
    judge = Scripted("judge", ["first", "second", "third", "fourth", "fifth"], context_window=300)
    trace = moa.Trace()
    answer = await moa.generate(Mixture((answers(*texts),), Synthesize(judge, SHORT)), QUESTION, trace.add)
    assert read_by(judge) == [texts[0:3], ["first", *texts[3:5]]]
    assert answer.text == "second"
    assert [(note["holds"], note["of"], note["done"]) for note in notes(trace, "references_windowed")] == [(3, 5, 0)]
    assert [reference.text for reference in answer.references] == texts


async def test_every_window_holds_the_callers_conversation() -> None:
    texts = [words(letter, 60) for letter in "abcdef"]
    judge = Scripted("judge", "best", context_window=300)
    history = (*QUESTION.messages, Message("assistant", "Red."), Message("user", "Sure?"))
    await moa.generate(Mixture((answers(*texts),), Synthesize(judge, SHORT)), Request(history))
    assert len(judge.requests) > 1
    for request in judge.requests:
        assert request.messages[0].text.startswith("Be brief.\n\n")
        assert request.messages[1:] == history[1:]


async def test_no_reference_of_any_length_is_cut_lost_or_read_twice() -> None:
    dice = random.Random(7)
    for _ in range(60):
        texts = [f"{number}: {words('w', dice.randint(1, 120))}." for number in range(dice.randint(1, 12))]
        best = [f"best {turn}" for turn in range(1, 20)]
        judge = Scripted("judge", best, context_window=dice.choice([None, 200, 400]))
        trace = moa.Trace()
        answer = await moa.generate(Mixture((answers(*texts),), Synthesize(judge, SHORT)), QUESTION, trace.add)
        shown = [text for call in read_by(judge) for text in call if not text.startswith("best ")]
        left_out = [texts[int(str(note["model"])[1:]) - 1] for note in notes(trace, "reference_dropped")]
        assert sorted(shown + left_out) == sorted(texts)
        assert shown == [text for text in texts if text in shown]
        assert answer.text == f"best {len(judge.requests)}"
        for request in judge.requests:
            if judge.context_window:
                assert sum(estimate_tokens(message.text) for message in request.messages) < judge.context_window


async def test_a_reference_that_fits_no_window_is_dropped_and_noted() -> None:
    judge = Scripted("judge", "green", context_window=200)
    trace = moa.Trace()
    mixture = Mixture((answers("short", words("x", 500)),), Synthesize(judge, SHORT))
    answer = await moa.generate(mixture, QUESTION, trace.add)
    assert answer.text == "green"
    assert read_by(judge) == [["short"]]
    assert notes(trace, "reference_dropped") == [{"model": "m2", "reason": "too long for the context window of judge"}]


async def test_if_the_last_reference_is_dropped_the_best_answer_so_far_is_streamed_as_the_answer() -> None:
    judge = Scripted("judge", "green and gold", context_window=200)
    events: list[moa.Event] = []
    mixture = Mixture((answers("short", words("x", 500)),), Synthesize(judge, SHORT))
    answer = await moa.generate(mixture, QUESTION, events.append, "answer")
    watched = "".join(event.text for event in events if isinstance(event, moa.TextDelta) and event.answer)
    assert (answer.text, watched) == ("green and gold", "green and gold")


async def test_only_the_text_of_the_last_window_is_the_answer() -> None:
    judge = Scripted("judge", ["first", "second"], context_window=300)
    events: list[moa.Event] = []
    mixture = Mixture((answers(*(words(letter, 60) for letter in "abcd")),), Synthesize(judge, SHORT))
    await moa.generate(mixture, QUESTION, events.append, "all")
    assert "".join(event.text for event in events if isinstance(event, moa.TextDelta) and event.answer) == "second"


async def test_if_no_reference_fits_the_error_says_what_to_do() -> None:
    judge = Scripted("judge", "green", context_window=200)
    mixture = Mixture((answers(words("x", 500), words("y", 500)),), Synthesize(judge, SHORT))
    with pytest.raises(ContextOverflow, match="judge: none of the 2 references fits the context window"):
        await moa.generate(mixture, QUESTION)
    assert judge.requests == []


async def test_a_prompt_too_long_for_a_proposer_loses_only_that_proposer_and_sends_it_nothing() -> None:
    small, large = Scripted("small", "no", context_window=100), Scripted("large", "yes")
    trace = moa.Trace()
    request = Request((Message("user", words("x", 500)),))
    answer = await moa.generate(Mixture((Layer((small, large)),), Synthesize(Scripted("j", "ok"))), request, trace.add)
    assert [reference.text for reference in answer.references] == ["yes"]
    assert small.requests == []
    assert trace.lost[0].error.startswith(
        "small: the prompt is about 504 tokens, but the context window has 100, including the answer"
    )


async def test_an_upstream_that_counts_more_tokens_than_we_do_gets_half_as_many_references() -> None:
    judge = overflowing(900)
    texts = [words(letter, 60) for letter in "abcd"]
    await moa.generate(Mixture((answers(*texts),), Synthesize(judge, SHORT)), QUESTION)
    assert [len(call) for call in read_by(judge)] == [4, 2, 3]  # refused, read, the best so far and two more
    assert [text for call in read_by(judge)[1:] for text in call if not text.startswith("read")] == texts


async def test_a_long_conversation_does_not_crowd_out_references_that_fit_one_at_a_time() -> None:
    """Halving the whole prompt, not the number of references, would leave no room for any of them."""
    judge = overflowing(4500)
    request = Request((Message("user", words("q", 1000)),))  # 4,000 characters
    answer = await moa.generate(Mixture((answers("a" * 300, "b" * 300),), Synthesize(judge, SHORT)), request)
    assert [len(call) for call in read_by(judge)] == [2, 1, 1 + 1]
    assert answer.text.startswith("read ")


async def test_a_window_leaves_room_for_the_answer_that_the_readers_own_settings_allow() -> None:
    judge = Scripted("judge", "best", context_window=1000)
    wordy = moa.WithDefaults(judge, max_tokens=400)
    texts = [words("a", 180) for _ in range(4)]
    await moa.generate(Mixture((answers(*texts),), Synthesize(wordy, SHORT)), QUESTION)
    for request in judge.requests:
        assert request.max_tokens == 400
        assert sum(estimate_tokens(message.text) for message in request.messages) <= 600


async def test_a_readers_own_instruction_counts_against_its_window() -> None:
    judge = Scripted("judge", "best", context_window=600)
    stern = moa.WithDefaults(judge, system=words("s", 200))
    await moa.generate(Mixture((answers(*[words("a", 90) for _ in range(4)]),), Synthesize(stern, SHORT)), QUESTION)
    assert len(judge.requests) > 1
    for request in judge.requests:
        assert sum(estimate_tokens(message.text) for message in request.messages) <= 600 - 600 // 8


async def test_proposers_of_a_later_layer_read_a_few_at_a_time_too() -> None:
    second = Scripted("second", ["draft", "better"], context_window=300)
    mixture = Mixture(
        (answers(*(words(letter, 60) for letter in "abcd")), Layer((second,), prompt=SHORT)),
        Synthesize(Scripted("j", "ok")),
    )
    answer = await moa.generate(mixture, QUESTION)
    assert [reference.text for reference in answer.references] == ["better"]
    assert answer.references == (
        Response(
            "second", "better", references=tuple(Response(f"m{n}", words(w, 60)) for n, w in enumerate("abcd", 1))
        ),
    )
