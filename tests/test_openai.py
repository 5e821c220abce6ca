"""Models over HTTP, against a real upstream on loopback: what is sent, what is read, what every failure says."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

import moa
from moa import BadReply, ContextOverflow, CutStream, Message, MissingKey, ModelError, Request, RequestError, Usage
from moa.model import Words
from moa.models.failures import failure, seconds
from moa.models.openai import OpenAI
from moa.prices import Price
from upstream import Reply, Upstream, chunk, event, usage

REQUEST = Request((Message("user", "Which colour?"),))
KEY = "sk-a-secret-of-mine-0123456789"
DONE = b"data: [DONE]\n\n"


def at(upstream: Upstream, model: str = "m", **options: Any) -> OpenAI:
    return OpenAI(model, upstream.url, f"lab:{model}", **options)


async def ask(model: moa.Model, words: Words = "none", request: Request = REQUEST) -> moa.Response:
    return await moa.generate(model, request, words=words)


async def failed(model: moa.Model, words: Words = "none", request: Request = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, words, request)
    return caught.value


def streaming(*packets: bytes) -> Reply:
    return Reply(stream=packets)


def said(*words: str) -> list[bytes]:
    return [event(chunk({"content": word})) for word in words]


FINISH = event(chunk({}, "stop"))


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the upstream sees on a thread of its own."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


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
    assert [one.text for one in events if isinstance(one, moa.Delta)] == ["deep ", "red"]


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
    assert [one.data for one in notes if isinstance(one, moa.Note)] == [{"options": ["seed"]}]


async def test_a_request_that_no_json_can_hold_is_a_request_error() -> None:
    with Upstream({"m": "red"}) as upstream:
        with pytest.raises(RequestError, match="lab:m: the request cannot be written as JSON"):
            await ask(at(upstream), request=Request(REQUEST.messages, extra={"top_k": {1, 2}}))
        assert upstream.calls == []


@pytest.mark.parametrize("words", ["none", "all"])
async def test_calls_one_after_another_share_a_connection(words: Words) -> None:
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


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_split_at_every_byte_is_the_same_answer() -> None:
    body = b": hello\r\n\r\nevent: message\nid: 1\ndata:" + json.dumps(chunk({"content": "Grün"})).encode()
    body = body.replace(b"\\u00fc", "ü".encode()) + b"\n\n" + FINISH + DONE
    with Upstream({"m": streaming(*(body[place : place + 1] for place in range(len(body))))}) as upstream:
        assert (await ask(at(upstream), "all")).text == "Grün"


@pytest.mark.parametrize(
    "packets",
    [
        [*said("deep ", "red"), FINISH, DONE],
        [*said("deep ", "red"), FINISH],
        [*said("deep ", "red"), DONE],
        [event(chunk({"role": "assistant", "content": ""})), *said("deep red"), FINISH, DONE],
        [event(chunk({"role": "assistant", "content": None})), *said("deep red"), FINISH, b"data: [DONE]\r\n\r\n"],
        [event(chunk({"content": "deep red"}, "stop"))],
        [b": keep-alive\n\n", *said("deep "), b": keep-alive\n\n", *said("red"), FINISH, DONE],
        [*said("deep red"), FINISH, DONE, *said(" and more")],
    ],
    ids=["usual", "no [DONE]", "no finish", "role first", "null first", "one chunk", "comments", "after [DONE]"],
)
async def test_every_kind_of_whole_stream_is_an_answer(packets: list[bytes]) -> None:
    with Upstream({"m": streaming(*packets)}) as upstream:
        answer = await ask(at(upstream), "all")
    assert answer == moa.Response("lab:m", "deep red", Usage(4, 2, estimated=True))


async def test_thinking_before_the_content_is_told_apart_from_it() -> None:
    events: list[moa.Event] = []
    both = {"reasoning": "hmm", "reasoning_content": "hmm"}
    with Upstream({"m": streaming(event(chunk(both)), *said("red"), FINISH, DONE)}) as upstream:
        answer = await moa.generate(at(upstream), REQUEST, events.append, "all")
    assert (answer.text, answer.reasoning) == ("red", "hmm")
    deltas = [(one.kind, one.text) for one in events if isinstance(one, moa.Delta)]
    assert deltas == [("reasoning", "hmm"), ("text", "red")]


@pytest.mark.parametrize(
    "last",
    [
        [event({**chunk({}, "stop"), "usage": usage({"messages": []}, "deep red") | {"prompt_tokens": 9}}), DONE],
        [FINISH, event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}), DONE],
    ],
    ids=["inline", "in a last chunk"],
)
async def test_the_upstreams_own_count_is_used_wherever_it_comes(last: list[bytes]) -> None:
    with Upstream({"m": streaming(*said("deep red"), *last)}) as upstream:
        assert (await ask(at(upstream), "all")).usage == Usage(9, 2)


async def test_a_connection_cut_after_a_few_words_is_a_cut_stream() -> None:
    with Upstream({"m": Reply("one two three four five", cut_after=2)}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert (str(error), error.retryable) == (
        "lab:m: the stream was cut after 8 characters; ask again, or name another model",
        True,
    )


@pytest.mark.parametrize(
    "packets",
    [said("deep "), [*said("deep "), b'data: {"choices": [{"del'], [*said("deep "), b"data: {}\n\n"]],
    ids=["between events", "inside an event", "after a chunk of nothing"],
)
async def test_a_stream_that_ends_without_a_finish_is_a_cut_stream(packets: list[bytes]) -> None:
    with Upstream({"m": streaming(*packets)}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert str(error) == "lab:m: the stream was cut after 5 characters; ask again, or name another model"


async def test_a_stream_of_nothing_is_a_cut_stream() -> None:
    with Upstream({"m": streaming()}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert str(error) == "lab:m: the stream was cut before the first word; ask again, or name another model"


async def test_a_cut_after_the_finish_takes_nothing_away() -> None:
    with Upstream({"m": Reply("red", cut_after=2)}) as upstream:
        assert (await ask(at(upstream), "all")).text == "red"


async def test_a_whole_reply_that_is_cut_is_a_cut_stream() -> None:
    short = Reply(raw=b'{"choices": [', headers={"Content-Encoding": "gzip"})
    with Upstream({"m": short}) as upstream:
        error = await failed(at(upstream))
    assert isinstance(error, CutStream)
    assert str(error) == "lab:m: the connection was cut before the reply was complete"


async def test_a_connection_that_the_server_closes_after_its_reply_fails_no_later_call() -> None:
    """As llama.cpp does: it promises to keep the connection, and closes it when the next call comes."""
    reply = json.dumps({"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n".encode()
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        asked = await reader.readuntil(b"\r\n\r\n")
        length = re.findall(rb"(?i)content-length: (\d+)", asked)[0]
        await reader.readexactly(int(length))
        writer.write(head + reply)
        if connections < 3:
            await reader.read(1)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server:
        model = OpenAI("m", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        assert [(await ask(model)).text for _ in range(3)] == ["red"] * 3
    assert connections == 3


async def test_an_upstream_that_hangs_up_without_a_word_may_be_asked_again() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failed(OpenAI("m", f"http://127.0.0.1:{port}/v1"))
    assert isinstance(error, CutStream)
    assert (str(error), error.retryable) == ("m: the connection was cut before the reply was complete", True)


async def test_an_error_in_the_middle_of_a_stream_is_an_error_not_an_answer() -> None:
    error_event = event({"error": {"message": "out of memory", "code": 500}})
    with Upstream({"m": streaming(*said("deep "), error_event, DONE)}) as upstream:
        error = await failed(at(upstream), "all")
    assert (str(error), error.status, error.retryable) == ("lab:m: out of memory", 500, True)


async def test_a_chunk_that_is_not_json_is_a_bad_reply() -> None:
    with Upstream({"m": streaming(*said("deep "), b"data: {oops\n\n")}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, BadReply)
    assert str(error) == "lab:m: the reply is not JSON but '{oops'; ask again, or name another model"


@pytest.mark.parametrize("words", ["none", "all"])
async def test_an_upstream_that_says_nothing_for_too_long_is_given_up(words: Words) -> None:
    silent = Reply("red", delay=3600) if words == "none" else Reply("deep red", pace=3600)
    with Upstream({"m": silent}) as upstream:
        error = await failed(at(upstream, timeout=0.1), words)
        await until(lambda: upstream.calls[0].dropped)
    assert (str(error), error.retryable) == ("lab:m: no word for 0.1 s; the provider's timeout can be longer", True)


async def test_a_slow_trickle_is_not_silence() -> None:
    with Upstream({"m": Reply(" ".join("abcdefgh"), pace=0.1)}) as upstream:
        assert (await ask(at(upstream, timeout=0.5), "all")).text == "a b c d e f g h"


async def test_an_upstream_that_answers_whole_where_a_stream_was_asked_for_is_understood() -> None:
    events: list[moa.Event] = []
    message = {"role": "assistant", "content": "red", "reasoning": "hmm"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    whole = Reply(raw=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with Upstream({"m": whole}) as upstream:
        answer = await moa.generate(at(upstream), REQUEST, events.append, "all")
    assert answer.text == "red"
    deltas = [(one.kind, one.text) for one in events if isinstance(one, moa.Delta)]
    assert deltas == [("reasoning", "hmm"), ("text", "red")]


async def test_an_upstream_that_streams_where_a_whole_answer_was_asked_for_is_understood() -> None:
    body = b"".join([*said("deep ", "red"), FINISH, DONE])
    with Upstream({"m": Reply(raw=body, headers={"Content-Type": "text/event-stream"})}) as upstream:
        assert (await ask(at(upstream))).text == "deep red"


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_proposal_of_a_megabyte_is_whole(words: Words) -> None:
    text = "ä " * 350_000 + "end"
    with Upstream(
        {"m": lambda _: streaming(event(chunk({"content": text}, "stop"))) if words == "all" else text}
    ) as up:
        assert (await ask(at(up), words)).text == text


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_compressed_reply_is_read(words: Words) -> None:
    if words == "all":
        plain, kind = b"".join([*said("red"), FINISH, DONE]), "text/event-stream"
    else:
        plain, kind = json.dumps({"choices": [{"message": {"content": "red"}}]}).encode(), "application/json"
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    with Upstream({"m": Reply(raw=gzip.compress(plain), headers=headers)}) as upstream:
        assert (await ask(at(upstream), words)).text == "red"
        assert "gzip" in upstream.calls[0].headers["Accept-Encoding"]


async def test_an_upstream_that_keeps_the_stream_open_after_its_end_holds_nothing_up() -> None:
    with Upstream({"m": Reply(stream=[b"".join([*said("red"), FINISH, DONE])], pace=3600)}) as upstream:
        async with asyncio.timeout(5):
            assert (await ask(at(upstream), "all")).text == "red"


# --- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["none", "all"])
async def test_cancelling_closes_the_call_at_the_upstream(words: Words) -> None:
    with Upstream({"m": Reply("deep red", delay=0 if words == "all" else 3600, pace=3600)}) as upstream:
        task = asyncio.create_task(ask(at(upstream), words))
        await until(lambda: bool(upstream.calls))
        assert not upstream.calls[0].dropped
        task.cancel()
        await until(lambda: upstream.calls[0].dropped)
        assert task.cancelled()


async def test_leaving_a_stream_early_closes_the_call_at_the_upstream() -> None:
    with Upstream({"m": Reply(" ".join(["word"] * 1000), pace=0.02)}) as upstream:
        async with moa.stream(at(upstream), REQUEST) as events:
            async for one in events:
                if isinstance(one, moa.Delta):
                    break
        await until(lambda: upstream.calls[0].dropped)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "lab:m: HTTP 400: no; if it refuses an option, name that in the provider's unsupported"),
        (401, "lab:m: HTTP 401: no; check the key in LAB_KEY"),
        (402, "lab:m: HTTP 402: no"),
        (403, "lab:m: HTTP 403: no; may the key in LAB_KEY use this model?"),
        (404, "lab:m: HTTP 404: no; is 'm' a model of {url}, and is base_url right?"),
        (429, "lab:m: HTTP 429: no; a lower max_concurrency of the provider may help"),
        (500, "lab:m: HTTP 500: no; the fault is the upstream's, so ask later or name another model"),
        (503, "lab:m: HTTP 503: no; the fault is the upstream's, so ask later or name another model"),
    ],
)
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_a_refusal_is_one_line_with_the_model_and_what_to_do(
    status: int, words: str, watch: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    with Upstream({"m": Reply("no", status=status)}) as upstream:
        error = await failed(at(upstream, api_key_env="LAB_KEY"), watch)
        assert (str(error), error.status, error.model) == (words.format(url=upstream.url), status, "lab:m")


async def test_a_missing_key_is_suspected_where_none_is_named() -> None:
    for status in (401, 403):
        with Upstream({"m": Reply("no", status=status)}) as upstream:
            assert str(await failed(at(upstream))) == f"lab:m: HTTP {status}: no; name its key with api_key_env"


async def test_a_refusal_in_many_lines_is_one_line_and_no_longer_than_one_reads() -> None:
    with Upstream({"m": Reply("one\ntwo\n" + "x" * 5000, status=402)}) as upstream:
        words = str(await failed(at(upstream)))
    assert words.startswith("lab:m: HTTP 402: one two xxx")
    assert len(words) == 300


async def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    with Upstream({"m": Reply("slow down", status=429, headers={"Retry-After": "7"})}) as upstream:
        error = await failed(at(upstream))
    assert error.retry_after == 7
    assert str(error) == (
        "lab:m: HTTP 429: slow down; it asks to wait 7 s; a lower max_concurrency of the provider may help"
    )
    later = seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert later is not None
    assert 0 < later <= 90
    assert seconds(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "-5", "Mon, 99 Foo 2026", "Mon, 01 Jan 2026 00:00:00"])
def test_a_retry_after_that_means_nothing_is_no_wait(value: str | None) -> None:
    assert not seconds(value)


PAGE = b"<!DOCTYPE html>\n<html><head><title>Bad\n Gateway</title></head><body>nginx</body></html>"


async def test_a_page_instead_of_json_is_named_with_status_502() -> None:
    with Upstream({"m": Reply(status=502, raw=PAGE, headers={"Content-Type": "text/html"})}) as upstream:
        error = await failed(at(upstream))
    assert error.retryable
    assert str(error) == (
        "lab:m: HTTP 502: an HTML page, 'Bad Gateway'; the fault is the upstream's, so ask later or name another model"
    )


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_page_instead_of_json_is_named_with_status_200(words: Words) -> None:
    with Upstream({"m": Reply(raw=PAGE, headers={"Content-Type": "text/html"})}) as upstream:
        error = await failed(at(upstream), words)
        assert isinstance(error, BadReply)
        assert str(error) == (
            f"lab:m: the reply is not JSON but an HTML page, 'Bad Gateway'; is {upstream.url} the right base_url? "
            "It usually ends in /v1"
        )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "lab:m: the reply is not JSON but ''; ask again, or name another model"),
        (b"\xff\xfe", "lab:m: the reply is not JSON but '��'; ask again, or name another model"),
        (b"[]", "lab:m: the reply has no choices: []; ask again, or name another model"),
        (b'{"choices": []}', "lab:m: the reply has no choices: {'choices': []}; ask again, or name another model"),
        (
            b'{"choices": [{"message": {"content": null}}]}',
            "lab:m: the reply is empty; ask again, or name another model",
        ),
        (b'{"choices": [{"message": {"content": 7}}]}', "lab:m: the content of the reply is not text: 7"),
        (b'{"choices": [{"message": {"content": "\\ud800"}}]}', None),
    ],
)
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_a_reply_that_is_no_answer_is_a_bad_reply(raw: bytes, words: str | None, watch: Words) -> None:
    with Upstream({"m": Reply(raw=raw, headers={"Content-Type": "application/json"})}) as upstream:
        error = await failed(at(upstream), watch)
    assert isinstance(error, BadReply)
    assert words is None or str(error) == words


async def test_a_refusal_without_a_word_says_so() -> None:
    with Upstream({"m": Reply(status=402, raw=b"")}) as upstream:
        assert str(await failed(at(upstream))) == "lab:m: HTTP 402: no reason given"


async def test_a_prompt_that_is_too_long_says_so_with_the_window() -> None:
    told = "This model's maximum context length is 4096 tokens"
    with Upstream({"m": Reply(f"{told}.", status=400)}) as upstream:
        error = await failed(at(upstream))
    assert isinstance(error, ContextOverflow)
    assert (error.window, error.status) == (4096, 400)
    assert str(error) == f"lab:m: HTTP 400: {told}; shorten the prompt, or name a model with a larger context window"


async def test_a_redirect_is_not_followed_and_says_where_it_points() -> None:
    with Upstream({"m": "red"}) as there:
        headers = {"Location": f"{there.url}/chat/completions"}
        with Upstream({"m": Reply(status=308, raw=b"", headers=headers)}) as here:
            error = await failed(at(here))
        assert str(error) == f"lab:m: HTTP 308: redirects are not followed; put its address into base_url: {there.url}"
        assert there.calls == []


# --- no upstream ------------------------------------------------------------------------------------------------------


async def test_a_closed_port_asks_whether_the_server_is_running() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        error = await failed(OpenAI("m", url, "lab:m"))
    assert error.retryable
    assert str(error) == (
        f"lab:m: cannot reach {url} (Connection refused); is the server running, and is base_url right?"
    )


async def test_a_host_that_nobody_knows_is_named() -> None:
    error = await failed(OpenAI("m", "http://no-such-host.invalid/v1", "lab:m"))
    assert str(error) == (
        "lab:m: cannot find the host no-such-host.invalid; is base_url right, and is there a network?"
    )


async def test_https_to_a_server_that_speaks_http_says_so() -> None:
    with Upstream({"m": "red"}) as upstream:
        url = upstream.url.replace("http:", "https:")
        error = await failed(OpenAI("m", url, "lab:m"))
    assert not error.retryable
    assert str(error).startswith(f"lab:m: no secure connection to {url} (")
    assert str(error).endswith("; is it http rather than https?")


def test_a_certificate_that_is_not_trusted_names_the_way_to_trust_it() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    key: Any = SimpleNamespace(host="lab.example", port=443, is_ssl=True, ssl=True)
    error = aiohttp.ClientConnectorCertificateError(key, refused)
    words, kind, retryable = failure(error, "https://lab.example/v1", 1)
    assert (kind, retryable) == (ModelError, False)
    assert words == (
        "the certificate of lab.example is not trusted (self-signed certificate); "
        "if it is to be trusted, name its authority's certificate in SSL_CERT_FILE"
    )


# --- the key is never told --------------------------------------------------------------------------------------------

LEAKS = {
    "refusal": Reply(f"Incorrect API key provided: {KEY}", status=401),
    "refusal, cut where the key stands": Reply("x" * 270 + KEY, status=401),
    "page": Reply(status=500, raw=f"<html><title>{KEY}</title></html>".encode()),
    "text": Reply(status=500, raw=f"bad key {KEY}".encode()),
    "no json": Reply(raw=f"bad key {KEY}".encode()),
    "no choices": Reply(raw=json.dumps({"key": KEY}).encode()),
    "no text": Reply(raw=json.dumps({"choices": [{"message": {"content": {"key": KEY}}}]}).encode()),
    "error in 200": Reply(raw=json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
    "error in the stream": streaming(event({"error": {"message": f"bad key {KEY}"}})),
    "chunk": streaming(event([KEY])),
    "overflow": Reply(f"context length of {KEY}", status=400),
    "redirect": Reply(status=302, raw=b"", headers={"Location": f"http://elsewhere.invalid/{KEY}"}),
}


@pytest.mark.parametrize("reply", LEAKS.values(), ids=LEAKS.keys())
@pytest.mark.parametrize("watch", ["none", "all"])
async def test_an_upstream_that_repeats_the_key_does_not_make_us_repeat_it(
    reply: Reply, watch: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    events: list[moa.Event] = []
    trace = moa.Trace()
    with Upstream({"m": reply, "n": "blue"}) as upstream:
        model = at(upstream, api_key_env="LAB_KEY")
        layer = moa.Layer((model, at(upstream, "n")))
        mixture = moa.Mixture((layer,), moa.Synthesize(at(upstream, "n")))
        answer = await moa.generate(mixture, REQUEST, lambda one: (events.append(one), trace.add(one))[0], watch)
        error = await failed(model, watch)
    told = (
        repr((error, str(error), events, trace.lost, trace.summary(answer)))
        + b"".join(moa.events.to_json(one) for one in events).decode()
    )
    assert KEY[:12] not in told


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

    server = await asyncio.start_server(aggregator, "127.0.0.1", 0)
    other = OpenAI("z", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "far:z")
    async with server:
        with Upstream({"a": red}) as upstream:
            mixture = moa.Mixture([moa.Layer([at(upstream, "a")])], moa.Synthesize(other))
            assert (await ask(mixture)).text == "violet"
    assert len(reached) == 1  # the call went out over the connection that was there


async def test_nothing_is_opened_where_the_key_is_missing() -> None:
    before = asyncio.all_tasks()
    OpenAI("z", "http://127.0.0.1:9/v1", "far:z", "A_KEY_THAT_IS_NOT_SET").reach()
    assert asyncio.all_tasks() == before
