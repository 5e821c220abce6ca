"""Models over HTTP: every stream is read, or found to be none, and one that nobody wants any more is hung up on."""

from __future__ import annotations

import asyncio
import gzip
import json
import re

import pytest

import moa
from helpers.http_client import DONE, FINISH, REQUEST, ask, at, failed, streaming, text_chunks, until
from helpers.upstream import Reply, Upstream, chunk, event, listening, usage
from moa import BadReply, CutStream, Usage
from moa.models.openai.model import OpenAI
from moa.span import StreamMode

# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_split_at_every_byte_is_the_same_answer() -> None:
    body = b": hello\r\n\r\nevent: message\nid: 1\ndata:" + json.dumps(chunk({"content": "Grün"})).encode()
    body = body.replace(b"\\u00fc", "ü".encode()) + b"\n\n" + FINISH + DONE
    with Upstream({"m": streaming(*(body[place : place + 1] for place in range(len(body))))}) as upstream:
        assert (await ask(at(upstream), "all")).text == "Grün"


@pytest.mark.parametrize(
    "packets",
    [
        [*text_chunks("deep ", "red"), FINISH, DONE],
        [*text_chunks("deep ", "red"), FINISH],
        [*text_chunks("deep ", "red"), DONE],
        [event(chunk({"role": "assistant", "content": ""})), *text_chunks("deep red"), FINISH, DONE],
        [
            event(chunk({"role": "assistant", "content": None})),
            *text_chunks("deep red"),
            FINISH,
            b"data: [DONE]\r\n\r\n",
        ],
        [event(chunk({"content": "deep red"}, "stop"))],
        [b": keep-alive\n\n", *text_chunks("deep "), b": keep-alive\n\n", *text_chunks("red"), FINISH, DONE],
        [*text_chunks("deep red"), FINISH, DONE, *text_chunks(" and more")],
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
    with Upstream({"m": streaming(event(chunk(both)), *text_chunks("red"), FINISH, DONE)}) as upstream:
        answer = await moa.generate(at(upstream), REQUEST, events.append, "all")
    assert (answer.text, answer.reasoning) == ("red", "hmm")
    deltas = [(one.kind, one.text) for one in events if isinstance(one, moa.TextDelta)]
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
    with Upstream({"m": streaming(*text_chunks("deep red"), *last)}) as upstream:
        assert (await ask(at(upstream), "all")).usage == Usage(9, 2)


async def test_a_connection_cut_after_a_few_words_is_a_cut_stream() -> None:
    with Upstream({"m": Reply("one two three four five", cut_after=2)}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert (str(error), error.retryable) == (
        "lab:m: the stream was cut after 8 characters; retry, or choose another model",
        True,
    )


@pytest.mark.parametrize(
    "packets",
    [
        text_chunks("deep "),
        [*text_chunks("deep "), b'data: {"choices": [{"del'],
        [*text_chunks("deep "), b"data: {}\n\n"],
    ],
    ids=["between events", "inside an event", "after a chunk of nothing"],
)
async def test_a_stream_that_ends_without_a_finish_is_a_cut_stream(packets: list[bytes]) -> None:
    with Upstream({"m": streaming(*packets)}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert str(error) == "lab:m: the stream was cut after 5 characters; retry, or choose another model"


async def test_a_stream_of_nothing_is_a_cut_stream() -> None:
    with Upstream({"m": streaming()}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, CutStream)
    assert str(error) == "lab:m: the stream was cut before the first token; retry, or choose another model"


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
        request_head = await reader.readuntil(b"\r\n\r\n")
        length = re.findall(rb"(?i)content-length: (\d+)", request_head)[0]
        await reader.readexactly(int(length))
        writer.write(head + reply)
        if connections < 3:
            await reader.read(1)
        writer.close()
        await writer.wait_closed()

    async with listening(once) as url:
        model = OpenAI("m", url)
        assert [(await ask(model)).text for _ in range(3)] == ["red"] * 3
    assert connections == 3


async def test_an_upstream_that_hangs_up_without_a_word_may_be_asked_again() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(hang_up) as url:
        error = await failed(OpenAI("m", url))
    assert isinstance(error, CutStream)
    assert (str(error), error.retryable) == ("m: the connection was cut before the reply was complete", True)


async def test_an_error_in_the_middle_of_a_stream_is_an_error_not_an_answer() -> None:
    error_event = event({"error": {"message": "out of memory", "code": 500}})
    with Upstream({"m": streaming(*text_chunks("deep "), error_event, DONE)}) as upstream:
        error = await failed(at(upstream), "all")
    assert (str(error), error.status, error.retryable) == ("lab:m: out of memory", 500, True)


async def test_a_chunk_that_is_not_json_is_a_bad_reply() -> None:
    with Upstream({"m": streaming(*text_chunks("deep "), b"data: {oops\n\n")}) as upstream:
        error = await failed(at(upstream), "all")
    assert isinstance(error, BadReply)
    assert str(error) == "lab:m: the reply is not JSON but '{oops'; retry, or choose another model"


@pytest.mark.parametrize("words", ["none", "all"])
async def test_an_upstream_that_says_nothing_for_too_long_is_given_up(words: StreamMode) -> None:
    silent = Reply("red", delay=3600) if words == "none" else Reply("deep red", pace=3600)
    with Upstream({"m": silent}) as upstream:
        error = await failed(at(upstream, timeout=0.5), words)
        await until(lambda: [call.dropped for call in upstream.calls] == [True])
    assert (str(error), error.retryable) == (
        "lab:m: no data received for 0.5 s; raise read_timeout of the provider",
        True,
    )


async def test_a_slow_trickle_is_not_silence() -> None:
    """All of it takes longer than what the provider may be silent for."""
    with Upstream({"m": Reply(" ".join("abcdefghijkl"), pace=0.1)}) as upstream:
        assert (await ask(at(upstream, timeout=1), "all")).text == "a b c d e f g h i j k l"


async def test_an_upstream_that_answers_whole_where_a_stream_was_asked_for_is_understood() -> None:
    events: list[moa.Event] = []
    message = {"role": "assistant", "content": "red", "reasoning": "hmm"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    whole = Reply(raw=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with Upstream({"m": whole}) as upstream:
        answer = await moa.generate(at(upstream), REQUEST, events.append, "all")
    assert answer.text == "red"
    deltas = [(one.kind, one.text) for one in events if isinstance(one, moa.TextDelta)]
    assert deltas == [("reasoning", "hmm"), ("text", "red")]


async def test_an_upstream_that_streams_where_a_whole_answer_was_asked_for_is_understood() -> None:
    body = b"".join([*text_chunks("deep ", "red"), FINISH, DONE])
    with Upstream({"m": Reply(raw=body, headers={"Content-Type": "text/event-stream"})}) as upstream:
        assert (await ask(at(upstream))).text == "deep red"


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_proposal_of_a_megabyte_is_whole(words: StreamMode) -> None:
    text = "ä " * 350_000 + "end"
    with Upstream(
        {"m": lambda _: streaming(event(chunk({"content": text}, "stop"))) if words == "all" else text}
    ) as up:
        assert (await ask(at(up), words)).text == text


@pytest.mark.parametrize("words", ["none", "all"])
async def test_a_compressed_reply_is_read(words: StreamMode) -> None:
    if words == "all":
        plain, kind = b"".join([*text_chunks("red"), FINISH, DONE]), "text/event-stream"
    else:
        plain, kind = json.dumps({"choices": [{"message": {"content": "red"}}]}).encode(), "application/json"
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    with Upstream({"m": Reply(raw=gzip.compress(plain), headers=headers)}) as upstream:
        assert (await ask(at(upstream), words)).text == "red"
        assert "gzip" in upstream.calls[0].headers["Accept-Encoding"]


async def test_an_upstream_that_keeps_the_stream_open_after_its_end_holds_nothing_up() -> None:
    with Upstream({"m": Reply(stream=[b"".join([*text_chunks("red"), FINISH, DONE])], pace=3600)}) as upstream:
        async with asyncio.timeout(30):
            assert (await ask(at(upstream), "all")).text == "red"


# --- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["none", "all"])
async def test_cancelling_closes_the_call_at_the_upstream(words: StreamMode) -> None:
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
                if isinstance(one, moa.TextDelta):
                    break
        await until(lambda: upstream.calls[0].dropped)
