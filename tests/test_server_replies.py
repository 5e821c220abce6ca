"""How a streamed reply ends when its client does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message

from moa.server.refusals import failed
from moa.server.replies import Streamed


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_leaves_at_the_last_word_leaves_no_task_behind(turns: int) -> None:
    said, closed = asyncio.Event(), False

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"data: 1\n\n"
        finally:
            closed = True

    async def receive() -> Message:
        await said.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            said.set()

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    await Streamed(chunks(), failed)({"type": "http"}, receive, send)
    assert closed
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
