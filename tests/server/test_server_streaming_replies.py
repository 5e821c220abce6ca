"""Streamed replies whose client disconnects."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message, Send

from moa.errors import ModelError
from moa.server.errors import error_response
from moa.server.http import StreamingReply, cancel_on_disconnect, json


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_leaves_at_the_last_word_leaves_no_task_behind(turns: int) -> None:
    sent_last, closed = asyncio.Event(), False

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"data: 1\n\n"
        finally:
            closed = True

    async def receive() -> Message:
        await sent_last.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            sent_last.set()

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, result: complaints.append(result))
    await StreamingReply(chunks(), error_response)({"type": "http"}, receive, send)
    assert closed
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_keep_alive_that_is_due_as_the_run_fails_does_not_take_its_status() -> None:
    failing = asyncio.Event()
    sent: list[int | None] = []

    async def chunks() -> AsyncIterator[bytes]:
        await failing.wait()
        raise ModelError("m: out of order", model="m")
        yield

    class Watched(StreamingReply):
        def _check_silence(self, send: Send) -> None:
            if self._last_write + self._interval <= asyncio.get_running_loop().time():
                failing.set()
            super()._check_silence(send)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message.get("status"))

    failing_at_once = Watched(chunks(), error_response, interval=0.01)
    await failing_at_once({"type": "http"}, receive, send)
    assert sent == [502, None]


async def test_a_client_that_leaves_with_the_last_word_cancels_nothing_that_follows() -> None:
    last = asyncio.Event()

    async def receive() -> Message:
        await last.wait()
        return {"type": "http.disconnect"}

    async def work() -> Response:
        await last.wait()
        return json({})

    asyncio.get_running_loop().call_soon(last.set)
    assert (await cancel_on_disconnect(receive, work())).status_code == 200
    for _ in range(3):
        await asyncio.sleep(0)
