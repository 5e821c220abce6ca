"""Whole mixtures over HTTP, from a `moa.toml` to the bytes that a recording upstream receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.upstream import Body, Reply, Says, Upstream
from moa import LayerError, Lost, Message, Request
from moa.span import StreamMode

SIX = ("a", "b", "c", "d", "e", "f")
CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", "Name a colour."),
    Message("assistant", "Red."),
    Message("user", "Another one."),
)
REQUEST = Request(CONVERSATION)


def panel(upstream: Upstream, settings: str = "layers = 3", provider: str = "attempts = 1") -> moa.Model:
    """Configure six proposers and an aggregator."""
    names = ", ".join(f'"lab:{name}"' for name in SIX)
    text = f"""
        [providers.lab]
        base_url = "{upstream.url}"
        {provider}

        [mixtures.panel]
        proposers = [{names}]
        aggregator = "lab:judge"
        {settings}
    """
    return configured(text)


def configured(text: str) -> moa.Model:
    path = Path("moa.toml")
    path.write_text(text)
    return moa.get_model("moa:panel", config=path)


def says(body: Body) -> str:
    """Return a text that names the model and its layer."""
    name, content = body["model"], body["messages"][0]["content"]
    if name == "judge":
        return "the one answer"
    return f"second by {name}" if "first by" in content else f"first by {name}"


def found(text: str, *pieces: str) -> list[str]:
    """Return the pieces in the order of their occurrences in the text."""
    places = [(place, piece) for piece in pieces for place in range(len(text)) if text.startswith(piece, place)]
    return [piece for _, piece in sorted(places)]


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that the upstream's thread makes true."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# --- three layers, six proposers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["none", "answer", "all"])
async def test_three_layers_of_six_are_thirteen_calls(words: StreamMode) -> None:
    with Upstream(says) as upstream:
        answer = await moa.generate(panel(upstream), REQUEST, words=words)
        assert [call.model for call in upstream.calls[12:]] == ["judge"]
        assert [sorted(call.model for call in upstream.calls[n : n + 6]) for n in (0, 6)] == [[*SIX], [*SIX]]
    assert answer.text == "the one answer"


async def test_each_layer_reads_all_answers_of_the_layer_before_in_order_once_and_no_others() -> None:
    firsts, seconds = [f"first by {name}" for name in SIX], [f"second by {name}" for name in SIX]
    with Upstream(says) as upstream:
        await moa.generate(panel(upstream), REQUEST)
        read = [found(str(call.messages), *firsts, *seconds) for call in upstream.calls]
    assert read == [[]] * 6 + [firsts] * 6 + [seconds]


async def test_the_conversation_is_in_every_call_and_the_callers_system_message_stands_first() -> None:
    turns = [{"role": message.role, "content": message.content} for message in CONVERSATION]
    with Upstream(says) as upstream:
        await moa.generate(panel(upstream), REQUEST)
        calls = upstream.calls
    assert len(calls) == 13
    assert [call.messages for call in calls[:6]] == [turns] * 6
    for call in calls[6:]:
        system, *others = call.messages
        assert system["role"] == "system"
        assert system["content"].startswith("Be brief.\n\n")
        assert others == turns[1:]


async def test_the_answer_is_the_aggregators_words_and_carries_the_tree_it_came_from() -> None:
    events: list[moa.Event] = []
    with Upstream(says) as upstream:
        answer = await moa.generate(panel(upstream), REQUEST, events.append, "all")
    assert answer.text == "the one answer"
    assert "".join(one.text for one in events if isinstance(one, moa.TextDelta) and one.answer) == "the one answer"
    assert [(one.model, one.text) for one in answer.references] == [(f"lab:{n}", f"second by {n}") for n in SIX]
    for reference in answer.references:
        assert [(one.model, one.text) for one in reference.references] == [(f"lab:{n}", f"first by {n}") for n in SIX]


async def test_usage_is_the_sum_of_what_the_upstream_counted_for_all_calls() -> None:
    with Upstream(says) as upstream:
        answer = await moa.generate(panel(upstream, provider="price = { input = 1, output = 2 }"), REQUEST)
        calls = sum(len(message["content"].split()) for call in upstream.calls for message in call.messages)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (calls, 13 * 3, False)
    assert answer.usage.cost == pytest.approx((calls + 2 * 13 * 3) / 1e6)


async def test_the_proposers_of_a_layer_are_asked_side_by_side() -> None:
    meeting = asyncio.Barrier(6)

    async def meets(body: Body) -> str:
        if body["model"] != "judge":
            await meeting.wait()  # passes only if six calls arrive at the same time
        return says(body)

    with Upstream(meets) as upstream:
        async with asyncio.timeout(20):
            answer = await moa.generate(panel(upstream), REQUEST)
    assert answer.text == "the one answer"


async def test_a_provider_is_asked_no_more_calls_at_once_than_its_limit() -> None:
    inside, most = 0, 0

    async def counts(body: Body) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(5):
            await asyncio.sleep(0)
        inside -= 1
        return says(body)

    with Upstream(counts) as upstream:
        await moa.generate(panel(upstream, provider="max_concurrency = 2"), REQUEST)
        assert len(upstream.calls) == 13
    assert most <= 2


async def test_references_go_after_the_conversation_where_the_mixture_says_so() -> None:
    turns = [{"role": message.role, "content": message.content} for message in CONVERSATION]
    with Upstream(lambda body: "answer" if body["model"] == "judge" else "a proposal") as upstream:
        await moa.generate(panel(upstream, 'references_in = "user"'), REQUEST)
        messages = upstream.calls[6].messages
    assert messages[:-1] == turns[:-1]
    assert messages[-1]["content"].startswith("Another one.\n\n")
    assert messages[-1]["content"].count("a proposal") == 6


# --- one of six is lost -----------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Says, str]] = {
    "500": (
        Reply("on fire", status=500),
        "lab:d: HTTP 500: on fire; the upstream failed, so retry later or choose another model",
    ),
    "401": (Reply("no", status=401), "lab:d: HTTP 401: no; set api_key_env to the name of its key"),
    "hangs": (Reply("tardy", delay=3600), "no answer within 1.5 s"),
    "cut": (
        Reply("halved and then cut", cut_after=2),
        "lab:d: the stream was cut after 11 characters; retry, or choose another model",
    ),
    "empty": (
        Reply(message={"role": "assistant", "content": None}, text=" "),
        "lab:d: the reply is empty; retry, or choose another model",
    ),
    "error in the stream": (
        Reply(stream=[b'data: {"error": {"message": "broke down"}}\n\n']),
        "lab:d: broke down",
    ),
}


@pytest.mark.parametrize(("broken", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_one_proposer_of_six_is_lost_by_name_with_the_reason_and_the_answer_arrives(
    broken: Says, why: str
) -> None:
    trace = moa.Trace()
    others: dict[str, Says] = {name: f"answer of {name}" for name in SIX}
    with Upstream({**others, "d": broken, "judge": "the one answer"}) as upstream:
        answer = await moa.generate(panel(upstream, "quorum = 5\ntimeout = 1.5"), REQUEST, trace.add, "all")
        aggregated = upstream.to("judge")[0]
        assert len(upstream.calls) == 7
    assert trace.lost == [Lost("lab:d", 1, why)]
    assert trace.summary(answer)["lost"] == [{"model": "lab:d", "layer": 1, "error": why}]
    assert answer.text == "the one answer"
    assert [one.model for one in answer.references] == [f"lab:{name}" for name in "abcef"]
    assert found(aggregated.system, *(f"answer of {name}" for name in SIX)) == [f"answer of {name}" for name in "abcef"]
    for word in ("fire", "HTTP", "halved", "tardy", "broke", "empty"):
        assert word not in str(aggregated.body)


async def test_a_proposer_past_the_deadline_is_hung_up_on() -> None:
    others: dict[str, Says] = {name: f"answer of {name}" for name in SIX}
    with Upstream({**others, "d": Reply("tardy", delay=3600), "judge": "the one answer"}) as upstream:
        await moa.generate(panel(upstream, "timeout = 1.5"), REQUEST)
        await until(lambda: upstream.to("d")[0].dropped)
        assert [call.dropped for call in upstream.calls if call.model != "d"] == [False] * 6


async def test_a_proposer_that_fails_once_is_asked_again_and_not_lost() -> None:
    failures = [Reply("busy", status=503, headers={"Retry-After": "0"})]
    others: dict[str, Says] = {name: f"answer of {name}" for name in SIX}
    trace = moa.Trace()
    with Upstream(
        {**others, "d": lambda _: failures.pop() if failures else "answer of d", "judge": "done"}
    ) as upstream:
        answer = await moa.generate(panel(upstream, provider="attempts = 2", settings=""), REQUEST, trace.add)
        assert len(upstream.to("d")) == 2
    assert [one.text for one in answer.references] == [f"answer of {name}" for name in SIX]
    assert trace.lost == []


async def test_when_all_six_fail_the_error_has_six_causes_and_nothing_is_aggregated() -> None:
    with Upstream({name: Reply(f"{name} broke", status=500) for name in SIX}) as upstream:
        with pytest.raises(LayerError) as caught:
            await moa.generate(panel(upstream), REQUEST)
        assert sorted(call.model for call in upstream.calls) == [*SIX]
    advice = "the upstream failed, so retry later or choose another model"
    causes = [f"lab:{name}: HTTP 500: {name} broke; {advice}" for name in SIX]
    assert caught.value.lost == tuple(Lost(f"lab:{name}", 1, cause) for name, cause in zip(SIX, causes, strict=True))
    assert caught.value.exit_code == 1
    assert str(caught.value).splitlines() == [
        "layer 1: 0 of 6 proposers answered, 1 needed",
        *(f"  {cause}" for cause in causes),
    ]


async def test_a_proposal_of_a_megabyte_is_handed_on_whole() -> None:
    long = "word " * 200_000 + "end"
    others: dict[str, Says] = {name: f"answer of {name}" for name in SIX}
    with Upstream({**others, "d": long, "judge": "done"}) as upstream:
        await moa.generate(panel(upstream, settings=""), REQUEST)
        assert upstream.to("judge")[0].system.count(long) == 1


# --- settings reach the bytes sent ------------------------------------------------------------------------------------


def options(body: Body) -> Body:
    """Return the parameters of a request besides the model and the conversation."""
    return {key: value for key, value in body.items() if key not in ("model", "messages")}


async def test_every_setting_of_a_member_is_in_the_bytes_sent_and_what_it_leaves_open_is_the_mixtures() -> None:
    text = """
        [providers.lab]
        base_url = "{url}"

        [mixtures.panel]
        temperature = 0.7
        max_tokens = 100
        extra = { top_k = 40, min_p = 0.1 }
        proposers = [
            "lab:plain",
            { model = "lab:own", system = "You are a poet.", temperature = 0, top_p = 0.5, max_tokens = 9, seed = 5, stop = ["END"], extra = { top_k = 1 } },
            { model = "lab:thrice", samples = 3, seed = 10 },
            { model = "lab:twice", samples = 2 },
        ]
        [mixtures.panel.aggregator]
        model = "lab:judge"
        system = "You are a judge."
        temperature = 0.2
        seed = 3
        stop = ["FIN"]
    """  # noqa: E501
    with Upstream(lambda body: f"answer of {body['model']}") as upstream:
        await moa.generate(configured(text.replace("{url}", upstream.url)), REQUEST)
        sent = {name: [options(call.body) for call in upstream.to(name)] for name in ("plain", "own", "judge")}
        thrice = sorted((options(call.body) for call in upstream.to("thrice")), key=lambda body: body["seed"])
        twice = sorted(options(call.body)["seed"] for call in upstream.to("twice"))
        systems = [upstream.to(name)[0].system for name in ("plain", "own", "judge")]
    shared: dict[str, Any] = {"temperature": 0.7, "max_tokens": 100, "top_k": 40, "min_p": 0.1}
    assert sent["plain"] == [shared]
    assert sent["own"] == [
        {"temperature": 0, "top_p": 0.5, "max_tokens": 9, "seed": 5, "stop": ["END"], "top_k": 1, "min_p": 0.1}
    ]
    assert thrice == [{**shared, "seed": seed} for seed in (10, 11, 12)]
    assert twice == [0, 1]
    assert sent["judge"] == [{**shared, "temperature": 0.2, "seed": 3, "stop": ["FIN"]}]
    assert systems[:2] == ["Be brief.", "Be brief.\n\nYou are a poet."]
    assert systems[2].startswith("Be brief.\n\n")
    assert systems[2].endswith("\n\nYou are a judge.")


async def test_the_callers_options_are_the_aggregators_and_its_seed_moves_every_sample() -> None:
    request = Request(CONVERSATION, temperature=0.1, top_p=0.3, max_tokens=7, seed=100, stop=("END",), extra={"k": 1})
    text = """
        [providers.lab]
        base_url = "{url}"
        [mixtures.panel]
        temperature = 0.7
        proposers = ["lab:a", { model = "lab:b", samples = 2 }]
        aggregator = "lab:judge"
    """
    with Upstream(lambda body: f"answer of {body['model']}") as upstream:
        await moa.generate(configured(text.replace("{url}", upstream.url)), request)
        sent = sorted((call.model, call.body["seed"]) for call in upstream.calls)
        proposer, judge = upstream.to("a")[0].body, upstream.to("judge")[0].body
    assert sent == [("a", 100), ("b", 100), ("b", 101), ("judge", 100)]
    assert options(proposer) == {"temperature": 0.7, "seed": 100}
    assert options(judge) == {
        "temperature": 0.1,
        "top_p": 0.3,
        "max_tokens": 7,
        "seed": 100,
        "stop": ["END"],
        "k": 1,
    }


async def test_a_mixture_in_a_mixture_is_asked_as_a_model() -> None:
    text = """
        [providers.lab]
        base_url = "{url}"
        [mixtures.small]
        proposers = ["lab:a", "lab:b"]
        aggregator = "lab:inner"
        [mixtures.panel]
        layers = [["lab:c", "moa:small"], ["lab:d"]]
        aggregator = "lab:judge"
    """
    with Upstream(lambda body: f"answer of {body['model']}") as upstream:
        answer = await moa.generate(configured(text.replace("{url}", upstream.url)), REQUEST)
        assert sorted(call.model for call in upstream.calls) == ["a", "b", "c", "d", "inner", "judge"]
        inner, outer, judge = (upstream.to(name)[0].system for name in ("inner", "d", "judge"))
    items = [f"answer of {name}" for name in ("a", "b", "c", "inner", "d")]
    assert found(inner, *items) == ["answer of a", "answer of b"]
    assert found(outer, *items) == ["answer of c", "answer of inner"]
    assert found(judge, *items) == ["answer of d"]
    assert answer.text == "answer of judge"
