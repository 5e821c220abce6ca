"""Provenance: each sentence of an answer is attributed to the proposals that contain it, or to none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moa
from moa.provenance.attribution import Proposal, Provenance, provenance, provenance_of_run
from moa.provenance.judge import judged
from moa.trace.tree import Trace

BRIDGE = Proposal(
    "lab:a",
    "The bridge opened in 1932. It carries eight lanes of traffic and was designed by Ralph Freeman. "
    "Cyclists have a path of their own on the western side.",
)
FERRY = Proposal(
    "lab:b", "The ferry leaves every hour. The bridge was opened to the public in 1934. Trains do not use it."
)


ANSWER = "Copper turns green. Iron rusts in the rain."


def relations(found: Provenance) -> list[dict[int, str]]:
    return [{source.proposal: source.relation for source in one.sources} for one in found.sentences]


def test_a_sentence_is_traced_to_the_passage_that_says_it() -> None:
    found = provenance("In short: yes. The ferry leaves every hour.", [BRIDGE, FERRY])
    source = found.sentences[1].sources[0]
    assert (source.proposal, source.relation, source.strength) == (1, "supports", 1.0)
    assert FERRY.text[source.start : source.end] == "The ferry leaves every hour."


def test_other_order_and_inflection_still_trace_it() -> None:
    found = provenance("Ralph Freeman designed it, and eight lanes carry traffic.", [BRIDGE, FERRY])
    assert relations(found) == [{0: "supports"}]


def test_what_no_proposal_says_is_the_aggregators_own() -> None:
    found = provenance("Bring an umbrella in autumn, for showers are frequent there.", [BRIDGE, FERRY])
    assert [one.own for one in found.sentences] == [True]
    assert found.shares == [0.0, 0.0]


def test_another_number_in_the_same_words_contradicts() -> None:
    found = provenance("The bridge opened in 1932.", [BRIDGE, FERRY])
    assert relations(found) == [{0: "supports", 1: "contradicts"}]
    assert found.sentences[0].sources[1].why == "1934 where the answer says 1932"


def test_a_denial_contradicts() -> None:
    assert relations(provenance("Trains use it.", [FERRY])) == [{0: "contradicts"}]


def test_shares_and_what_is_the_aggregators_own_make_the_whole_answer() -> None:
    answer = "The bridge opened in 1932. The ferry leaves every hour. Bring an umbrella, for it showers."
    found = provenance(answer, [BRIDGE, FERRY]).as_json()
    assert sum(one["share"] for one in found["proposals"]) + found["own"] == pytest.approx(1, abs=0.001)
    assert [one["lacks"] for one in found["sentences"]] == [[], [0], [0, 1]]


async def test_a_run_is_traced_to_the_proposals_of_its_last_layer() -> None:
    first = moa.Layer((moa.Scripted("early", "Tin melts at low heat."),))
    last = moa.Layer((moa.Scripted("red", "Iron rusts in the rain."), moa.Scripted("blue", "Copper turns green.")))
    panel = moa.Mixture(
        (first, last), moa.Synthesize(moa.Scripted("judge", "Copper turns green. Iron rusts in the rain."))
    )
    events: list[moa.Event] = []
    await moa.generate(panel, moa.Request((moa.Message("user", "Metals?"),)), events.append)
    trace = Trace.of(events)
    found = provenance_of_run(trace)
    assert [one.model for one in found.proposals] == ["red", "blue"]
    assert relations(found) == [{1: "supports"}, {0: "supports"}]
    assert [trace.node(one.span or "").text for one in found.proposals] == [one.text for one in found.proposals]


async def test_an_answer_of_one_model_has_no_sources() -> None:
    events: list[moa.Event] = []
    await moa.generate(moa.Scripted("a", "Red. Blue."), moa.Request((moa.Message("user", "?"),)), events.append)
    assert relations(provenance_of_run(Trace.of(events))) == [{}, {}]


def test_a_run_that_has_not_begun_has_no_sentences() -> None:
    assert provenance_of_run(Trace.of([])).as_json() == {"proposals": [], "own": 0.0, "sentences": []}


def test_scripts_without_spaces_are_traced_too() -> None:
    proposal = Proposal("a", "月亮的光来自太阳。它围绕地球转动。潮汐每天两次。")
    found = provenance("月亮围绕地球转动，潮汐每天两次。天气很好。", [proposal])
    assert relations(found) == [{0: "supports"}, {}]
    (source,) = found.sentences[0].sources
    assert "潮汐每天两次" in proposal.text[source.start : source.end]


def test_megabytes_stop_nobody() -> None:
    """Of a text as long as that the first thousand sentences are looked at, and the beginning of each."""
    answer, long = "Tin melts at 232 degrees. " * 1200, "Tin " * 1_000_000
    found = provenance(answer, [Proposal("a", long), Proposal("b", "Lead melts at 327 degrees. " * 50_000)])
    assert len(found.sentences) == 1000


def test_signs_alone_are_no_numbers() -> None:
    text = "Then x - 1 is y + 2 - z."
    assert relations(provenance(text, [Proposal("a", text)])) == [{0: "supports"}]


async def test_a_judge_decides_by_meaning_and_is_seen_and_priced_as_one() -> None:
    events: list[moa.Event] = []
    judge = moa.Scripted("judge", "1: -1 +2\n2: none")
    proposals = [Proposal("a", "Prices rose."), Proposal("b", "Everything became cheaper that year.")]
    found = await judged("Prices fell. Buy now.", proposals, judge, events.append)
    assert relations(found) == [{0: "contradicts", 1: "supports"}, {}]
    (call,) = Trace.of(events).calls
    assert (call.start.role, call.start.model) == ("judge", "judge")
    assert call.start.request is not None
    assert "Prices rose." in call.start.request.messages[0].text
    assert call.start.request.messages[1].text == "1: Prices fell.\n\n2: Buy now."


@pytest.mark.parametrize("reply", ["1: +1", "1: +1\n2: +3", "Both come from the first.", "1: +1\n2: perhaps"])
async def test_a_verdict_that_is_not_clear_is_never_guessed_at(reply: str) -> None:
    proposals = [Proposal("a", "Red."), Proposal("b", "Blue.")]
    with pytest.raises(moa.BadReply, match="one line for each of 2 sentences"):
        await judged("Red. Green.", proposals, moa.Scripted("judge", reply))


async def test_without_proposals_no_judge_is_asked() -> None:
    assert relations(await judged("Red.", [], moa.Scripted("judge", RuntimeError("asked")))) == [{}]


@pytest.mark.parametrize("text", ["Yes. " * 8000, "so " * 30_000], ids=["sentences", "words"])
def test_what_a_model_that_has_lost_its_way_says_again_and_again_is_traced_too(text: str) -> None:  # not in hours
    found = provenance(text, [Proposal("lab:a", text), FERRY])
    assert set(map(str, relations(found))) == {"{0: 'supports'}"}


SAID = (
    "the sky is",
    "not",
    "blue.",
    "12",
    "½ 5",
    "km",
    "kg!",
    "月亮",
    "是。",
    "| -",
    "#",
    "```",
    "\n",
    "x = y?",
    "É'İ ²",
    "-3",
)
WORDS = st.lists(st.sampled_from(SAID), max_size=30)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.lists(WORDS, max_size=3))
def test_whatever_is_said_every_place_is_in_its_text(answer: list[str], others: list[list[str]]) -> None:
    text, proposals = " ".join(answer), [Proposal("m", " ".join(one)) for one in others]
    found = provenance(text, proposals)
    for one in found.sentences:
        assert 0 <= one.start < one.end <= len(text)
        for source in one.sources:
            assert 0 <= source.start < source.end <= len(proposals[source.proposal].text)
            assert 0 < source.strength <= 1
    assert 0 <= sum(found.shares) <= 1.0001


@given(WORDS)
def test_a_text_is_its_own_source(words: list[str]) -> None:
    text = " ".join(words)
    found = provenance(text, [Proposal("m", text)])
    assert [one.sources[0].relation for one in found.sentences if one.sources] == ["supports"] * len(found.sentences)
