"""Bugs of other packages that cost time or money, each as a claim about this library."""

from __future__ import annotations

import asyncio

import pytest

import moa
from helpers.evals import QUESTION, mixed, over
from helpers.upstream import Body, Reply, Upstream
from moa import Layer, LayerError, Mixture, ModelError, Retried, Scripted, Synthesize, Usage
from moa.models.openai.model import OpenAI
from moa.models.openai.pool import connections


async def test_thirty_proposers_run_side_by_side_on_however_few_cores() -> None:
    """A thread pool with one thread per core ran them one after another."""
    everyone = asyncio.Barrier(30)

    async def says(body: Body) -> str:
        if body["model"] != "judge":
            async with asyncio.timeout(20):
                await everyone.wait()
        return str(body["model"])

    with Upstream(says) as upstream:
        answer = await moa.generate(mixed(upstream, [f"m{number}" for number in range(30)]), QUESTION)
    assert len(answer.references) == 30


@pytest.mark.usefixtures("virtual_time")
async def test_times_of_calls_side_by_side_are_not_added_up() -> None:
    trace = moa.Trace()
    layer = Layer([Scripted(f"m{number}", "x", delay=0.05) for number in range(10)])
    await moa.generate(Mixture((layer,), Synthesize(Scripted("j", "y"))), QUESTION, trace.add)
    assert trace.time == pytest.approx(0.05, abs=0.01)


async def test_one_failing_proposer_costs_no_more_calls_than_its_attempts() -> None:
    """Retries within retries made one failing proposer cost eighteen calls and forty seconds."""
    with Upstream({"a": Reply("boom", status=500), "b": "blue", "judge": "green"}) as upstream:
        failing = Retried(OpenAI("a", upstream.url), 3, pause=0.01)
        inner = Mixture((Layer((failing, *over(upstream, "b"))),), Synthesize(over(upstream, "judge")[0]))
        outer = Mixture((Layer((Retried(inner, 3, 0.01),)),), Synthesize(over(upstream, "judge")[0]))
        await moa.generate(outer, QUESTION)
    assert [len(upstream.to(name)) for name in ("a", "b", "judge")] == [3, 1, 2]


async def test_a_mixture_all_of_whose_proposers_fail_is_not_tried_again_as_a_whole() -> None:
    with Upstream({"a": Reply("boom", status=500)}) as upstream:
        failing = Retried(OpenAI("a", upstream.url), 2, pause=0.01)
        with pytest.raises(LayerError):
            await moa.generate(Retried(Mixture((Layer((failing,)),), Synthesize(failing)), 3, 0.01), QUESTION)
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refused_request_is_not_sent_again(status: int) -> None:
    with Upstream({"a": Reply("no", status=status)}) as upstream, pytest.raises(ModelError, match=f"HTTP {status}"):
        await moa.generate(Retried(OpenAI("a", upstream.url), 5, pause=0.01), QUESTION)
    assert len(upstream.calls) == 1


async def test_enough_answers_do_not_wait_for_the_slowest() -> None:
    with Upstream({"a": "red", "b": Reply("late", delay=60), "judge": "green"}) as upstream:
        layer = Layer(over(upstream, "a", "b"), quorum=1, grace=0.05)
        mixture = Mixture((layer,), Synthesize(over(upstream, "judge")[0]))
        answer = await asyncio.wait_for(moa.generate(mixture, QUESTION), 10)
    assert [reference.text for reference in answer.references] == ["red"]
    assert upstream.to("b")[0].dropped


async def test_tokens_of_every_call_are_counted() -> None:
    with Upstream({"a": "one two", "b": "one two three", "judge": "one"}) as upstream:
        answer = await moa.generate(mixed(upstream, ["a", "b"]), QUESTION)
    calls = sum(len(str(message["content"]).split()) for call in upstream.calls for message in call.messages)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (calls, 6)


async def test_a_cost_that_is_not_known_is_not_nothing() -> None:
    free = Scripted("a", "red", usage=Usage(1, 1))
    answer = await moa.generate(Mixture((Layer((free,)),), Synthesize(free)), QUESTION)
    assert answer.usage.cost is None


async def test_one_pool_of_connections_serves_every_call() -> None:
    """A client per call meant a TLS handshake per call."""
    with Upstream({"a": "red", "judge": "green"}) as upstream:
        before = await connections()
        await moa.generate(mixed(upstream, ["a"], ["a"]), QUESTION)
        assert await connections() is before
