"""Failures during a staircase: of a proposal, a step, the last layer, or a client that leaves."""

from __future__ import annotations

import asyncio

import pytest

import moa
from helpers.staircase import FIRST, MORE, QUESTION, THIRD, ending, make_panel, parts, simple
from moa import Layer, Message, ModelError, Prompt, Scripted

pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_a_proposal_that_fails_after_it_was_shown_is_withdrawn() -> None:
    panel = make_panel()
    a, b = panel.writers

    def fails() -> None:
        a.writes(ModelError("a: SECRET out of order", model="a"))
        b.ends("The end.")

    answer = await simple(panel, fails, THIRD)
    last = panel.judge.requests[1].messages[-1].text
    assert last.startswith("Answer 1 has been withdrawn; do not rely on what it said.\n\n<answer-")
    assert "SECRET" not in last
    assert panel.notes("staircase_retracted") == [{"model": "a", "number": 1}]
    assert [reference.model for reference in answer.references] == ["b"]
    assert answer.text == FIRST + THIRD


async def test_a_proposal_that_is_retried_is_withdrawn_and_shown_again() -> None:
    panel = make_panel(proposers=lambda writers: [moa.Retried(writer, attempts=2, pause=0) for writer in writers])
    a, b = panel.writers

    def retries() -> None:
        a.writes(ModelError("a: busy", model="a", retryable=True), "Other words.")
        a.ends()
        b.ends("The end.")

    answer = await simple(panel, retries, THIRD)
    last = panel.judge.requests[1].messages[-1]
    assert last.text.startswith("Answer 1 has been withdrawn")
    assert parts(last) == [("3", "1", "complete", "Other words."), ("2", "2", "complete", "The end.")]
    assert [reference.text for reference in answer.references] == ["Other words.", f"b says: {MORE}The end."]


async def test_the_text_of_a_failed_step_is_kept_and_the_last_step_continues_it() -> None:
    panel = make_panel()

    async def script() -> None:
        for writer in panel.writers:
            writer.writes(MORE)
        await panel.judge.nth_request(1)
        panel.judge.writes("The sky is ", ModelError("judge: gone", model="judge"))
        await panel.until(lambda: bool(panel.notes("staircase_step_failed")))
        ending(panel)()
        await panel.judge.nth_request(2)
        panel.judge.ends("blue.")

    answer = await panel.run(script)
    assert answer.text == panel.read == "The sky is blue."
    assert panel.judge.requests[1].messages[-2] == Message("assistant", "The sky is")
    assert panel.notes("staircase_step_failed") == [{"error": "judge: gone"}]


async def test_a_step_that_fails_before_its_first_token_changes_nothing() -> None:
    panel = make_panel()

    async def script() -> None:
        for writer in panel.writers:
            writer.writes(MORE)
        await panel.judge.nth_request(1)
        panel.judge.ends()  # as a model does that thinks longer than a step
        await panel.until(lambda: bool(panel.notes("staircase_step_failed")))
        ending(panel)()
        await panel.judge.nth_request(2)
        panel.judge.ends(THIRD)

    answer = await panel.run(script)
    assert answer.text == panel.read == THIRD
    assert panel.judge.requests[1] == Prompt("Merge.")(QUESTION, answer.references)


async def test_a_step_is_not_retried_once_it_was_streamed() -> None:
    panel = make_panel(model=lambda judge: moa.Retried(judge, attempts=3, pause=0))

    async def script() -> None:
        for writer in panel.writers:
            writer.writes(MORE)
        await panel.judge.nth_request(1)
        panel.judge.writes(ModelError("judge: busy", model="judge", retryable=True))
        await panel.judge.nth_request(2)
        panel.judge.writes("The sky is ", ModelError("judge: busy", model="judge", retryable=True))
        await panel.until(lambda: bool(panel.notes("staircase_step_failed")))
        ending(panel)()
        await panel.judge.nth_request(3)
        panel.judge.ends("blue.")

    answer = await panel.run(script)
    assert answer.text == panel.read == "The sky is blue."


async def test_if_the_last_step_fails_a_proposal_follows_after_a_line() -> None:
    panel = make_panel(guard=True)

    def fails() -> None:
        ending(panel)()
        panel.judge.writes(ModelError("judge: gone", model="judge"))

    answer = await simple(panel, fails)
    assert panel.read.startswith(
        f"{FIRST}\n\n[the aggregator failed: judge: gone; this is the proposal of a]\n\na says: "
    )
    assert answer.fallback and answer.text.startswith("a says: ")


async def test_with_too_few_proposals_the_run_fails_and_the_step_is_cancelled() -> None:
    panel = make_panel(layer={"quorum": 2})

    async def script() -> None:
        for writer in panel.writers:
            writer.writes(MORE)
        await panel.judge.nth_request(1)
        panel.writers[0].writes(ModelError("a: gone", model="a"))

    with pytest.raises(ExceptionGroup) as caught:
        await panel.run(script)
    assert isinstance(caught.value.exceptions[0], moa.LayerError)
    assert panel.judge.cancelled
    assert panel.writers[1].cancelled


async def test_if_the_last_layer_fails_the_proposals_before_it_are_the_references() -> None:
    panel = make_panel(before=[Layer([Scripted("early", "It is Rayleigh scattering.")])])

    def fails() -> None:
        for writer in panel.writers:
            writer.writes(ModelError(f"{writer.name}: gone", model=writer.name))

    answer = await simple(panel, fails, THIRD)
    last = panel.judge.requests[1].messages[-1]
    assert last.text.startswith("Answer 1 has been withdrawn; do not rely on what it said.\n\nAnswer 2 has")
    assert parts(last) == [("3", "1", "complete", "It is Rayleigh scattering.")]
    assert answer.text == FIRST + THIRD
    assert [reference.model for reference in answer.references] == ["early"]


async def test_leaving_the_stream_cancels_the_step_and_the_proposers() -> None:
    panel = make_panel()
    async with asyncio.timeout(4), moa.stream(panel.mixture, QUESTION):
        for writer in panel.writers:
            writer.writes(MORE)
        await panel.judge.nth_request(1)
    assert [model.cancelled for model in (*panel.writers, panel.judge)] == [True] * 3


async def test_a_bug_in_a_step_ends_the_run() -> None:
    panel = make_panel(1)

    async def script() -> None:
        panel.writers[0].writes(MORE)
        await panel.judge.nth_request(1)
        panel.judge.writes(ZeroDivisionError("a bug"))
        panel.writers[0].ends("The end.")

    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        await panel.run(script)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_a_run_that_is_to_finish_ends_with_the_complete_proposal() -> None:
    panel = make_panel()
    a, b = panel.writers
    read = ""
    async with asyncio.timeout(4), moa.stream(panel.mixture, QUESTION) as events:
        a.writes(MORE)
        b.writes(MORE)
        await panel.judge.nth_request(1)
        panel.judge.ends(FIRST, "length")
        a.ends("The end.")
        events.finish()
        await panel.judge.nth_request(2)
        panel.judge.ends(THIRD)
        async for seen in events:
            read += seen.text if isinstance(seen, moa.TextDelta) and seen.answer else ""
    assert read == events.response.text == FIRST + THIRD
    assert [reference.model for reference in events.response.references] == ["a"]
