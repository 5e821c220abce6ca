"""The last proposals become one answer: synthesized, picked or voted."""

from __future__ import annotations

import random

import pytest

import moa
from moa import (
    Aggregator,
    BadReply,
    ContextOverflow,
    Layer,
    Message,
    Mixture,
    Pick,
    Prompt,
    Request,
    Response,
    Scripted,
    Synthesize,
    Usage,
    Vote,
)

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("system", "Be brief."), Message("user", "Which colour?")), temperature=0.2, seed=3)


def mixture(aggregator: Aggregator, *texts: str) -> Mixture:
    usage = Usage(10, 5, 0.25)
    return Mixture((Layer([Scripted(f"m{n}", text, usage=usage) for n, text in enumerate(texts, 1)]),), aggregator)


def noted(events: list[moa.Event], kind: str) -> list[dict[str, object]]:
    return [event.data.as_json() for event in events if isinstance(event, moa.Note) and event.kind == kind]


def answer_text(events: list[moa.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, moa.TextDelta) and event.answer)


async def test_synthesize_answers_with_the_models_text_and_uses_the_requests_options() -> None:
    judge = Scripted("judge", "green")
    answer = await moa.generate(mixture(Synthesize(judge, Prompt("Merge.")), "red", "blue"), QUESTION)
    assert answer.text == "green"
    assert (judge.requests[0].temperature, judge.requests[0].seed) == (0.2, 3)
    assert "Be brief.\n\nMerge.\n\n<answer-" in judge.requests[0].messages[0].text


@pytest.mark.parametrize("verdict", ["2", " 2\n", "2.", "**2**", "#2", "(2)", '"2"', "[2]", "`2`", "02"])
async def test_pick_answers_with_the_proposal_that_the_model_names_unchanged(verdict: str) -> None:
    events: list[moa.Event] = []
    answer = await moa.generate(
        mixture(Pick(Scripted("judge", verdict)), "red", " blue\n"), QUESTION, events.append, "all"
    )
    assert (answer.text, answer_text(events)) == (" blue\n", " blue\n")
    assert noted(events, "picked") == [{"number": 2, "model": "m2"}]
    assert [reference.text for reference in answer.references] == ["red", " blue\n"]


@pytest.mark.parametrize(
    "verdict",
    ["0", "3", "-1", "1 2", "1, 2", "two", "Answer 2", "2 is best", "1.5", ".5", "1/2", "٢", "²", "1" * 50, "?"],
)
async def test_a_verdict_that_is_not_exactly_one_valid_number_is_an_error(verdict: str) -> None:
    with pytest.raises(BadReply, match="judge: must reply with a number from 1 to 2, got "):
        await moa.generate(mixture(Pick(Scripted("judge", verdict)), "red", "blue"), QUESTION)


async def test_a_malformed_verdict_goes_to_the_fallback_and_the_trace_shows_it() -> None:
    writer = Scripted("writer", "green")
    events: list[moa.Event] = []
    pick = Pick(Scripted("judge", "Both are good."), Synthesize(writer))
    answer = await moa.generate(mixture(pick, "red", "blue"), QUESTION, events.append, "all")
    assert (answer.text, answer_text(events)) == ("green", "green")
    assert noted(events, "fallback") == [{"error": "judge: must reply with a number from 1 to 2, got 'Both are good.'"}]
    assert "\nblue\n" in writer.requests[0].messages[0].text


async def test_proposals_too_long_to_choose_from_at_once_go_to_the_fallback() -> None:
    pick = Pick(Scripted("judge", ContextOverflow("judge: too long")), Synthesize(Scripted("writer", "green")))
    events: list[moa.Event] = []
    assert (await moa.generate(mixture(pick, "red", "blue"), QUESTION, events.append)).text == "green"
    assert noted(events, "fallback") == [{"error": "judge: too long"}]
    with pytest.raises(ContextOverflow):
        await moa.generate(mixture(Pick(Scripted("judge", ContextOverflow("judge: too long"))), "red"), QUESTION)


async def test_the_picking_model_gets_no_options_and_its_text_is_not_the_answer() -> None:
    judge = Scripted("judge", "1")
    events: list[moa.Event] = []
    await moa.generate(mixture(Pick(judge), "red", "blue"), QUESTION, events.append, "all")
    assert (judge.requests[0].temperature, judge.requests[0].seed) == (None, 3)
    assert "Reply with the number of the best answer and nothing else." in judge.requests[0].messages[0].text
    assert answer_text(events) == "red"


async def test_a_picked_proposal_is_paid_for_once() -> None:
    judge = Scripted("judge", "1", usage=Usage(20, 1, 0.5))
    answer = await moa.generate(mixture(Pick(judge), "red", "blue"), QUESTION)
    assert answer.usage == Usage(40, 11, 1.0)


async def test_the_answer_that_most_proposals_give_wins_the_vote() -> None:
    events: list[moa.Event] = []
    answer = await moa.generate(mixture(Vote(), "41", "42", "42."), QUESTION, events.append, "all")
    assert (answer.text, answer_text(events)) == ("42", "42")
    assert noted(events, "voted") == [{"votes": (("42", 2), ("41", 1))}]
    assert answer.usage == Usage(30, 15, 0.75)


async def test_case_punctuation_and_white_space_do_not_count_in_a_vote() -> None:
    answer = await moa.generate(mixture(Vote(), "Rome", "**paris**", " Paris.\n", "PARIS!"), QUESTION)
    assert answer.text == "**paris**"


async def test_punctuation_inside_an_answer_counts_in_a_vote() -> None:
    assert (await moa.generate(mixture(Vote(), "1.5", "15", "15"), QUESTION)).text == "15"
    assert (await moa.generate(mixture(Vote(), "1.5", "15", "1.5"), QUESTION)).text == "1.5"


async def test_answers_of_punctuation_alone_are_votes_too() -> None:
    assert (await moa.generate(mixture(Vote(), "?", "!", "!"), QUESTION)).text == "!"


async def test_a_tie_goes_to_the_answer_that_comes_first() -> None:
    assert (await moa.generate(mixture(Vote(), "b", "a", "a", "b"), QUESTION)).text == "b"


async def test_a_vote_is_the_most_frequent_proposal_whatever_the_proposals() -> None:
    dice = random.Random(3)
    for _ in range(100):
        texts = [dice.choice("abcd") for _ in range(dice.randint(1, 9))]
        answer = await moa.generate(mixture(Vote(), *texts), QUESTION)
        most = max(texts.count(text) for text in texts)
        assert answer.text == next(text for text in texts if texts.count(text) == most)


async def test_a_custom_aggregator_is_a_class_with_two_members() -> None:
    class Longest:
        models: tuple[moa.Model, ...] = ()

        async def aggregate(self, request: Request, references: object, span: moa.Span) -> Response:
            assert isinstance(references, tuple)
            return max(references, key=lambda reference: len(reference.text))

    answer = await moa.generate(mixture(Longest(), "red", "turquoise", "blue"), QUESTION)
    assert (answer.model, answer.text) == ("mixture", "turquoise")
