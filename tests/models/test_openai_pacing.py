"""Words that come together are said together, and streams are read less often the more of them are open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import moa
from helpers.http_client import until
from helpers.upstream import Reply, Upstream, chunk, event
from moa import Message, ModelError, Request
from moa.models.openai import pacing as pace
from moa.models.openai.model import OpenAI

REQUEST = Request((Message("user", "Which colour?"),))
WORDS = "one two three four five six seven eight nine ten"


async def read_stream(upstream: Upstream, model: str = "m") -> list[tuple[str, str]]:
    """The words of a call in the pieces they were said in; a failure as the last of them."""
    items: list[tuple[str, str]] = []

    def emit(one: moa.Event) -> None:
        if isinstance(one, moa.TextDelta):
            items.append((one.kind, one.text))

    try:
        await moa.generate(OpenAI(model, upstream.url), REQUEST, emit, "all")
    except ModelError as error:
        items.append(("error", str(error)))
    return items


def packet(*deltas: dict[str, Any]) -> bytes:
    return b"".join(event(chunk(delta)) for delta in deltas)


FINISH = event(chunk({}, "stop")) + b"data: [DONE]\n\n"


async def test_words_that_come_in_one_packet_are_one_event_for_each_kind() -> None:
    thoughts = [{"reasoning": "hm"}, {"reasoning": "m"}]
    calls = [{"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": part}}]} for part in "{}"]
    together = packet(*thoughts, {"content": "deep "}, {"content": "red"}, *calls) + FINISH
    with Upstream({"m": Reply(stream=[together])}) as upstream:
        assert await read_stream(upstream) == [("reasoning", "hmm"), ("text", "deep red"), ("tool_call", "{}")]


@pytest.mark.parametrize("wrong", [event({"error": {"message": "out of memory"}}), b"data: {oops\n\n"])
async def test_words_before_an_error_in_the_same_packet_are_said(wrong: bytes) -> None:
    with Upstream({"m": Reply(stream=[packet({"content": "deep "}, {"content": "red"}) + wrong])}) as upstream:
        pieces = await read_stream(upstream)
    assert [kind for kind, _ in pieces] == ["text", "error"]
    assert pieces[0] == ("text", "deep red")


async def test_where_many_streams_are_open_later_words_come_together_and_the_first_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "FEW", 0)
    monkeypatch.setattr(pace, "SHARE", 1.0)
    monkeypatch.setattr(pace, "LONGEST", 0.5)
    opened: list[pace.Pace] = []
    enter = pace.Pace.__enter__
    monkeypatch.setattr(pace.Pace, "__enter__", lambda one: opened.append(one) or enter(one))
    with Upstream({"m": Reply(WORDS, pace=0.1)}) as upstream:
        items = [text for _, text in await read_stream(upstream)]
        (stream,) = opened
        assert stream._socket
        used = stream._socket._transport.get_extra_info("socket")
        wakes = used.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    assert "".join(items) == WORDS
    assert len(items[0].split()) <= 3  # it would be five words or more if it waited
    assert len(items) <= 7
    assert wakes == 1  # the next call over this connection gets each byte at once


async def test_packets_that_arrive_at_the_same_moment_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FEW", 0)
    enter = pace.Pace.__enter__

    def enter_at_one_moment(one: pace.Pace) -> pace.Pace:
        one._now = lambda: 1.0
        return enter(one)

    monkeypatch.setattr(pace.Pace, "__enter__", enter_at_one_moment)
    with Upstream({"m": Reply(WORDS, pace=0.01)}) as upstream:
        assert "".join(text for _, text in await read_stream(upstream)) == WORDS


class Stopping(list[bytes]):
    """Words that come evenly, then nothing for a while; `resumed` says that the end was reached."""

    resumed = False

    def __iter__(self) -> Iterator[bytes]:
        for word in f"{WORDS} eleven twelve thirteen fourteen".split():
            yield event(chunk({"content": f"{word} "}))
        yield from [b""] * 40
        self.resumed = True
        yield FINISH


async def test_words_do_not_wait_for_others_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FEW", 0)
    monkeypatch.setattr(pace, "SHARE", 1.0)
    monkeypatch.setattr(pace, "LONGEST", 0.25)
    packets, late = Stopping(), []
    with Upstream({"m": Reply(stream=packets, pace=0.05)}) as upstream:
        await moa.generate(
            OpenAI("m", upstream.url),
            REQUEST,
            lambda one: late.append(packets.resumed) if isinstance(one, moa.TextDelta) else None,
            "all",
        )
    assert late and not any(late)


async def test_an_end_does_not_wait_for_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FEW", 0)
    monkeypatch.setattr(pace, "SHARE", 10.0)
    monkeypatch.setattr(pace, "LONGEST", 10.0)
    monkeypatch.setattr(pace, "PATIENCE", 1000.0)
    with Upstream({"m": Reply(WORDS, pace=0.03)}) as upstream:
        async with asyncio.timeout(20):
            assert "".join(text for _, text in await read_stream(upstream)) == WORDS


async def test_a_few_streams_are_read_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SHARE", 1.0)
    monkeypatch.setattr(pace, "LONGEST", 0.5)
    with Upstream({"m": Reply(WORDS, pace=0.1)}) as upstream:
        assert len(await read_stream(upstream)) > 5


async def test_many_streams_are_all_whole_and_leave_their_connections_to_the_next_calls() -> None:
    streams = 3 * pace.FEW
    with Upstream({"m": Reply(WORDS, pace=0.01)}) as upstream:
        for _ in range(2):
            pieces = await asyncio.gather(*(read_stream(upstream) for _ in range(streams)))
            assert ["".join(text for _, text in one) for one in pieces] == [WORDS] * streams
        assert len({call.caller for call in upstream.calls}) <= 1.2 * streams


async def test_a_call_that_is_given_up_while_its_stream_rests_is_gone_at_the_upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "FEW", 0)
    monkeypatch.setattr(pace, "SHARE", 1.0)
    monkeypatch.setattr(pace, "LONGEST", 0.2)
    with Upstream({"m": Reply(WORDS, pace=0.05)}) as upstream:
        call = asyncio.create_task(read_stream(upstream))
        await until(lambda: bool(upstream.calls))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: upstream.calls[0].dropped)
        await asyncio.sleep(0.2)  # its connection is resumed no more
