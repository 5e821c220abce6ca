"""Models over HTTP, against a real upstream on loopback: what is sent, what it costs, how the way there is opened."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

import pytest

import moa
from helpers.http_client import KEY, REQUEST, ask, at, failed
from helpers.upstream import Upstream, listening
from moa import ContextOverflow, Message, MissingKey, Request, RequestError, Usage
from moa.costs.prices import Price
from moa.models.openai.model import OpenAI
from moa.notes import OptionsDropped
from moa.span import StreamMode

# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_a_prompt_of_megabytes_is_sent_whole_and_without_a_warning() -> None:
    question = "Which colour? " * 100_000
    with Upstream({"m": "red"}) as upstream:
        await ask(at(upstream), request=Request((Message("user", question),)))
        assert upstream.calls[0].messages[0]["content"] == question
        assert int(upstream.calls[0].headers["Content-Length"]) > len(question)


async def test_a_whole_answer_is_asked_for_when_nobody_watches() -> None:
    with Upstream({"m": "deep red"}) as upstream:
        answer = await ask(at(upstream))
        assert answer == moa.Response("lab:m", "deep red", Usage(2, 2))
        assert [call.body for call in upstream.calls] == [
            {"model": "m", "messages": [{"role": "user", "content": "Which colour?"}]}
        ]


async def test_a_stream_with_its_usage_is_asked_for_when_somebody_watches() -> None:
    events: list[moa.Event] = []
    with Upstream({"m": "deep red"}) as upstream:
        answer = await moa.generate(at(upstream), REQUEST, events.append, "answer")
        assert answer == moa.Response("lab:m", "deep red", Usage(2, 2))
        sent = upstream.calls[0].body
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert "".join(one.text for one in events if isinstance(one, moa.TextDelta)) == "deep red"


async def test_the_key_is_read_from_the_environment_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream({"m": "red"}) as upstream:
        model = at(upstream, api_key_env="LAB_KEY")
        for key in ("first-key", "second-key\n"):
            monkeypatch.setenv("LAB_KEY", key)
            await ask(model)
        assert [call.headers["Authorization"] for call in upstream.calls] == ["Bearer first-key", "Bearer second-key"]


async def test_a_missing_key_names_its_variable_and_nothing_is_sent() -> None:
    with Upstream({"m": "red"}) as upstream:
        error = await failed(at(upstream, api_key_env="LAB_KEY"))
        assert isinstance(error, MissingKey)
        assert (str(error), error.exit_code) == ("lab:m: set its API key: export LAB_KEY=...", 2)
        assert upstream.calls == []


async def test_what_a_known_window_cannot_hold_is_never_sent() -> None:
    with Upstream({"m": "red"}) as upstream:
        error = await failed(at(upstream, context_window=50), request=Request((Message("user", "why " * 100),)))
        assert upstream.calls == []
    assert isinstance(error, ContextOverflow)
    assert str(error).startswith("lab:m: the prompt is about 104 tokens and the context window holds 50; shorten it")


async def test_no_key_is_sent_where_none_is_named() -> None:
    with Upstream({"m": "red"}) as upstream:
        await ask(at(upstream, headers={"X-Title": "mine"}))
        headers = upstream.calls[0].headers
        assert "Authorization" not in headers
        assert headers["X-Title"] == "mine"


async def test_options_are_renamed_and_those_an_endpoint_refuses_are_left_out_visibly() -> None:
    notes: list[moa.Event] = []
    request = Request(REQUEST.messages, max_tokens=5, seed=1, extra={"top_k": 3})
    with Upstream({"m": "red"}) as upstream:
        model = at(upstream, unsupported=("seed", "stream_options"), renamed={"max_tokens": "max_completion_tokens"})
        await moa.generate(model, request, notes.append, "all")
        body = upstream.calls[0].body
    assert {key: body[key] for key in body if key not in ("model", "messages")} == {
        "max_completion_tokens": 5,
        "top_k": 3,
        "stream": True,
    }
    assert [one.data for one in notes if isinstance(one, moa.Note)] == [OptionsDropped(("seed",))]


async def test_a_request_that_no_json_can_hold_is_a_request_error() -> None:
    with Upstream({"m": "red"}) as upstream:
        with pytest.raises(RequestError, match="lab:m: the request cannot be written as JSON"):
            await ask(at(upstream), request=Request(REQUEST.messages, extra={"top_k": {1, 2}}))
        assert upstream.calls == []


@pytest.mark.parametrize("words", ["none", "all"])
async def test_calls_one_after_another_share_a_connection(words: StreamMode) -> None:
    with Upstream({"m": "deep red"}) as upstream:
        for _ in range(3):
            await ask(at(upstream), words)
        assert len({call.caller for call in upstream.calls}) == 1


async def test_a_netrc_file_does_not_speak_in_place_of_the_key(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("LAB_KEY", KEY)
    with Upstream({"m": "red"}) as upstream:
        await ask(at(upstream, api_key_env="LAB_KEY"))
        await ask(at(upstream))
        assert [call.headers.get("Authorization") for call in upstream.calls] == [f"Bearer {KEY}", None]


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream({"m": "red"}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:my%20word@").removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert (await ask(OpenAI("m", "http://far-away.invalid/v1"))).text == "red"
        headers = proxy.calls[0].headers
        assert headers["Host"] == "far-away.invalid"
        assert headers["Proxy-Authorization"] == "Basic bWU6bXkgd29yZA=="


# --- cost -------------------------------------------------------------------------------------------------------------


async def test_the_price_of_the_configuration_gives_the_cost() -> None:
    with Upstream({"m": "deep red"}) as upstream:
        assert (await ask(at(upstream, price=Price(1.0, 2.0)))).usage == Usage(2, 2, 6e-6)


async def test_the_public_price_of_the_provider_gives_the_cost() -> None:
    with Upstream({"gpt-4o-2024-05-13": "deep red"}) as upstream:
        answer = await ask(at(upstream, "gpt-4o-2024-05-13", priced_as="openai"))
    assert answer.usage.cost == pytest.approx((2 * 5 + 2 * 15) / 1e6)


async def test_a_cost_that_nobody_knows_is_unknown() -> None:
    with Upstream({"m": "deep red"}) as upstream:
        assert (await ask(at(upstream, priced_as="openai"))).usage == Usage(2, 2, None)


# --- the way there is open before the call ----------------------------------------------------------------------------


async def test_a_mixture_opens_the_way_to_its_aggregator_while_the_proposers_think() -> None:
    reached, met = [], threading.Event()

    async def aggregator(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer)
        met.set()
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))  # type: ignore[index]
        body = json.dumps({"choices": [{"message": {"content": "violet"}, "finish_reason": "stop"}]})
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        writer.close()
        await writer.wait_closed()

    async def red(body: Any) -> str:
        assert await asyncio.to_thread(met.wait, 10)  # a proposal is not made before somebody stands at the other door
        return "red"

    async with listening(aggregator) as url:
        with Upstream({"a": red}) as upstream:
            mixture = moa.Mixture([moa.Layer([at(upstream, "a")])], moa.Synthesize(OpenAI("z", url, "far:z")))
            assert (await ask(mixture)).text == "violet"
    assert len(reached) == 1  # the call went out over the connection that was there


async def test_nothing_is_opened_where_the_key_is_missing() -> None:
    before = asyncio.all_tasks()
    OpenAI("z", "http://127.0.0.1:9/v1", "far:z", "A_KEY_THAT_IS_NOT_SET").preconnect()
    assert asyncio.all_tasks() == before
