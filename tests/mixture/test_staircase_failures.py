"""What fails in the middle of a staircase: a proposal, a step, the last layer, or the patience of who asked."""

from __future__ import annotations

import asyncio

import pytest

import moa
from helpers.staircase import FIRST, MORE, QUESTION, THIRD, ending, panel, parts, simple
from moa import Layer, Message, ModelError, Prompt, Scripted


async def test_a_proposal_that_fails_after_it_was_read_is_withdrawn() -> None:
    one = panel()
    a, b = one.writers

    def fails() -> None:
        a.writes(ModelError("a: SECRET out of order", model="a"))
        b.ends("The end.")

    answer = await simple(one, fails, THIRD)
    last = one.judge.heard[1].messages[-1].text
    assert last.startswith("Answer 1 has been withdrawn; do not rely on what it said.\n\n<answer-")
    assert "SECRET" not in last
    assert one.notes("staircase_retracted") == [{"model": "a", "number": 1}]
    assert [reference.model for reference in answer.references] == ["b"]
    assert answer.text == FIRST + THIRD


async def test_a_proposal_that_is_begun_again_is_withdrawn_and_shown_anew() -> None:
    one = panel(proposers=lambda writers: [moa.Retried(one, attempts=2, pause=0) for one in writers])
    a, b = one.writers

    def retries() -> None:
        a.writes(ModelError("a: busy", model="a", retryable=True), "Other words.")
        a.ends()
        b.ends("The end.")

    answer = await simple(one, retries, THIRD)
    last = one.judge.heard[1].messages[-1]
    assert last.text.startswith("Answer 1 has been withdrawn")
    assert parts(last) == [("3", "1", "complete", "Other words."), ("2", "2", "complete", "The end.")]
    assert [reference.text for reference in answer.references] == ["Other words.", f"b says: {MORE}The end."]


async def test_a_step_that_fails_keeps_what_was_read_and_the_last_one_goes_on() -> None:
    one = panel()

    async def script() -> None:
        for writer in one.writers:
            writer.writes(MORE)
        await one.judge.asked(1)
        one.judge.writes("The sky is ", ModelError("judge: gone", model="judge"))
        await one.until(lambda: bool(one.notes("staircase_step_failed")))
        ending(one)()
        await one.judge.asked(2)
        one.judge.ends("blue.")

    answer = await one.run(script)
    assert answer.text == one.read == "The sky is blue."
    assert one.judge.heard[1].messages[-2] == Message("assistant", "The sky is")
    assert one.notes("staircase_step_failed") == [{"error": "judge: gone"}]


async def test_a_first_step_that_fails_before_its_first_word_costs_nothing_but_time() -> None:
    one = panel()

    async def script() -> None:
        for writer in one.writers:
            writer.writes(MORE)
        await one.judge.asked(1)
        one.judge.ends()  # as a model does that thinks longer than a step
        await one.until(lambda: bool(one.notes("staircase_step_failed")))
        ending(one)()
        await one.judge.asked(2)
        one.judge.ends(THIRD)

    answer = await one.run(script)
    assert answer.text == one.read == THIRD
    assert one.judge.heard[1] == Prompt("Merge.")(QUESTION, answer.references)


async def test_a_step_is_not_begun_again_once_somebody_reads_it() -> None:
    one = panel(model=lambda judge: moa.Retried(judge, attempts=3, pause=0))

    async def script() -> None:
        for writer in one.writers:
            writer.writes(MORE)
        await one.judge.asked(1)
        one.judge.writes(ModelError("judge: busy", model="judge", retryable=True))
        await one.judge.asked(2)
        one.judge.writes("The sky is ", ModelError("judge: busy", model="judge", retryable=True))
        await one.until(lambda: bool(one.notes("staircase_step_failed")))
        ending(one)()
        await one.judge.asked(3)
        one.judge.ends("blue.")

    answer = await one.run(script)
    assert answer.text == one.read == "The sky is blue."


async def test_a_last_step_that_fails_gives_way_to_a_proposal_after_a_line() -> None:
    one = panel(guard=True)

    def fails() -> None:
        ending(one)()
        one.judge.writes(ModelError("judge: gone", model="judge"))

    answer = await simple(one, fails)
    assert one.read.startswith(
        f"{FIRST}\n\n[the aggregator failed: judge: gone; this is the proposal of a]\n\na says: "
    )
    assert answer.fallback and answer.text.startswith("a says: ")


async def test_with_too_few_proposals_the_run_fails_and_the_step_is_cancelled() -> None:
    one = panel(layer={"quorum": 2})

    async def script() -> None:
        for writer in one.writers:
            writer.writes(MORE)
        await one.judge.asked(1)
        one.writers[0].writes(ModelError("a: gone", model="a"))

    with pytest.raises(ExceptionGroup) as caught:
        await one.run(script)
    assert isinstance(caught.value.exceptions[0], moa.LayerError)
    assert one.judge.cancelled
    assert one.writers[1].cancelled


async def test_a_last_layer_that_fails_leaves_the_answer_to_the_proposals_before_it() -> None:
    one = panel(before=[Layer([Scripted("early", "It is Rayleigh scattering.")])])

    def fails() -> None:
        for writer in one.writers:
            writer.writes(ModelError(f"{writer.name}: gone", model=writer.name))

    answer = await simple(one, fails, THIRD)
    last = one.judge.heard[1].messages[-1]
    assert last.text.startswith("Answer 1 has been withdrawn; do not rely on what it said.\n\nAnswer 2 has")
    assert parts(last) == [("3", "1", "complete", "It is Rayleigh scattering.")]
    assert answer.text == FIRST + THIRD
    assert [reference.model for reference in answer.references] == ["early"]


async def test_leaving_the_stream_cancels_the_step_and_the_proposers() -> None:
    one = panel()
    async with asyncio.timeout(4), moa.stream(one.mixture, QUESTION):
        for writer in one.writers:
            writer.writes(MORE)
        await one.judge.asked(1)
    assert [model.cancelled for model in (*one.writers, one.judge)] == [True] * 3


async def test_a_bug_in_a_step_is_no_failed_step() -> None:
    one = panel(1)

    async def script() -> None:
        one.writers[0].writes(MORE)
        await one.judge.asked(1)
        one.judge.writes(ZeroDivisionError("a bug"))
        one.writers[0].ends("The end.")

    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        await one.run(script)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_told_to_finish_it_ends_with_the_proposal_that_is_there() -> None:
    one = panel()
    a, b = one.writers
    read = ""
    async with asyncio.timeout(4), moa.stream(one.mixture, QUESTION) as events:
        a.writes(MORE)
        b.writes(MORE)
        await one.judge.asked(1)
        one.judge.ends(FIRST, "length")
        a.ends("The end.")
        events.finish()
        await one.judge.asked(2)
        one.judge.ends(THIRD)
        async for seen in events:
            read += seen.text if isinstance(seen, moa.TextDelta) and seen.answer else ""
    assert read == events.response.text == FIRST + THIRD
    assert [reference.model for reference in events.response.references] == ["a"]
