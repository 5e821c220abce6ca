"""A staircase from its setting to a client's screen, and with a real model."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import moa
from helpers.server import serving
from helpers.staircase import FIRST, MORE, STEP, THIRD
from helpers.upstream import Body, Reply, chunk, event
from moa import Layer, Message, Mixture, Request, Scripted, Staircase, Synthesize, WithDefaults
from moa.config.build import Builder
from moa.config.load import Config
from moa.config.messages import config_error
from moa.costs.forecast import INSTRUCTION
from moa.doctor.examination import examine
from moa.estimates.worst_case import bound
from moa.trace.narration import Narration

TOML = """
default = "moa:duo"

[providers.up]
base_url = "{url}"
attempts = 1
price = { input = 1, output = 1 }
context_window = 100_000

[mixtures.duo]
proposers = [{ model = "up:a", max_tokens = 100 }, { model = "up:b", max_tokens = 40 }]
aggregator = { model = "up:judge", max_tokens = 500 }
staircase = 16
"""


def configured(more: str = "") -> Config:
    return Config.model_validate(tomllib.loads(TOML.replace("{url}", "http://127.0.0.1:9/v1") + more))


def test_it_is_a_setting_of_a_mixture() -> None:
    mixture = Builder(configured(), Path.cwd()).model("moa:duo")
    assert isinstance(mixture, Mixture)
    assert mixture.strategy(Staircase) == Staircase(16)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("staircase = 16", "staircase = 3"),
        ("staircase = 16", 'staircase = 16\nreference_order = "shuffled"'),
        ("staircase = 16", 'staircase = 16\nearly_exit = { skip = "aggregator" }'),
        ('{ model = "up:judge", max_tokens = 500 }', '{ kind = "vote" }'),
        ('"up:judge",', '"up:judge", kind = "pick",'),
    ],
)
def test_a_staircase_that_is_too_short_or_does_not_fit_the_mixture_is_refused(old: str, new: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(tomllib.loads(TOML.replace("{url}", "http://127.0.0.1:9/v1").replace(old, new)))
    assert config_error(caught.value).setting == "mixtures.duo.staircase"


def test_what_a_question_costs_at_most_has_the_steps_in_it() -> None:
    most = bound(configured(), "moa:duo")
    assert most.calls == 2 + 7 + 1  # 100 tokens are 7 steps
    read = 1000 + 140 + INSTRUCTION
    assert most.cost == pytest.approx((2 * 1000 + 140 + 7 * (read + 500 + 16) + read + 500) / 1e6)


async def test_the_doctor_examines_the_mixture_with_whole_proposals() -> None:
    def canary(request: Request) -> str:
        found = re.findall(r"finch-\w+", request.question)
        return f"A canary is yellow as a rule, {found[0]}. {MORE}"

    models = [Scripted("a", canary), Scripted("b", lambda request: canary(request).upper()), Scripted("judge", THIRD)]
    mixture = Mixture((Layer(models[:2]),), Synthesize(models[2]), "panel", strategies=[Staircase(STEP)])
    report = await examine(mixture)
    assert report.ok, report.lines


def test_no_proposal_is_shown_once_the_answer_has_begun() -> None:
    narration = Narration()
    result = [
        narration.add(one)
        for one in (
            moa.SpanStart("r", "root", 0, "root", "panel"),
            moa.SpanStart("r", "layer", 0, "layer", "layer 1", "root", 1),
            moa.SpanStart("r", "a", 0, "proposer", "a", "layer", index=0),
            moa.TextDelta("a", 1, "red "),
            moa.TextDelta("root", 2, "Purple ", answer=True),
            moa.TextDelta("a", 3, "and blue"),
            moa.TextDelta("root", 4, "it is.", answer=True),
        )
    ]
    assert [piece.text for pieces in result for piece in pieces] == ["[a]\nred ", "Purple ", "it is."]


def test_through_the_server_the_answer_begins_before_the_last_proposal_has_ended() -> None:
    begun = asyncio.Event()

    async def proposes(body: Body) -> Reply:
        return Reply(MORE * 3, pace=0.001)

    async def judges(body: Body) -> Reply:
        if len(body["messages"]) > 2:
            return Reply(THIRD)
        begun.set()
        return Reply(stream=[event(chunk({"content": FIRST})), event(chunk({}, "length")), b"data: [DONE]\n\n"])

    async def waits(body: Body) -> Reply:
        """Its last words come after the answer has begun."""
        return Reply(stream=last_words())

    async def last_words() -> AsyncIterator[bytes]:
        yield event(chunk({"content": MORE * 2}))
        async with asyncio.timeout(30):
            await begun.wait()
        yield event(chunk({"content": MORE})) + event(chunk({}, "stop")) + b"data: [DONE]\n\n"

    ask = {"model": "moa:duo", "messages": [{"role": "user", "content": "Why?"}], "stream": True}
    with serving({"a": proposes, "b": waits, "judge": judges}, TOML) as (served, upstream):
        deltas = [
            one["choices"][0]["delta"] for one in served.post("/v1/chat/completions", ask).events if one["choices"]
        ]
    assert "".join(delta.get("content") or "" for delta in deltas) == FIRST + THIRD
    first, *_, last = upstream.to("judge")
    (slow,) = upstream.to("b")
    assert slow.ended is not None
    assert first.started < slow.ended <= last.started
    assert first.body["max_tokens"] == 16
    assert last.messages[: len(first.messages)] == first.messages
    assert MORE.strip() in json.dumps(last.messages[-1])


@pytest.mark.slow
@pytest.mark.embedded
async def test_a_real_model_goes_on_with_its_answer() -> None:
    from moa.models.llamacpp.model import LlamaCpp
    from moa.models.llamacpp.weights import SMOLLM2

    model = LlamaCpp(SMOLLM2, "local:smollm2")
    proposers = [WithDefaults(model, max_tokens=96, seed=seed, temperature=0.7) for seed in (1, 2)]
    judge = WithDefaults(model, max_tokens=96, temperature=0)
    mixture = Mixture((Layer(proposers),), Synthesize(judge), "panel", strategies=[Staircase(24)])
    trace, read = moa.Trace(), ""
    async with moa.stream(mixture, Request((Message("user", "How does one bake a good bread?"),))) as events:
        async for seen in events:
            trace.add(seen)
            read += seen.text if isinstance(seen, moa.TextDelta) and seen.answer else ""
    answer = events.response
    steps = [node.start.request for node in trace.calls if node.start.role == "aggregator"]
    assert answer.text == read
    assert len(steps) > 1
    for old, new in itertools.pairwise(one.messages for one in steps if one):
        assert list(new[: len(old) - 1]) == list(old[:-1])  # of a step that said nothing new, the turn is asked anew
    assert trace.first_word is not None
    assert trace.first_word < max(node.end.time for node in trace.calls if node.start.role == "proposer" and node.end)
