"""A model over HTTP against a real upstream on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import moa
from helpers.upstream import Reply, Upstream, chunk, event
from moa import Message, ModelError, Request
from moa.models.openai.model import OpenAI
from moa.span import StreamMode

REQUEST = Request((Message("user", "Which colour?"),))
KEY = "sk-a-secret-of-mine-0123456789"
DONE = b"data: [DONE]\n\n"


def at(upstream: Upstream, model: str = "m", **options: Any) -> OpenAI:
    return OpenAI(model, upstream.url, f"lab:{model}", **options)


async def ask(model: moa.Model, words: StreamMode = "none", request: Request = REQUEST) -> moa.Response:
    return await moa.generate(model, request, words=words)


async def failed(model: moa.Model, words: StreamMode = "none", request: Request = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, words, request)
    return caught.value


def streaming(*packets: bytes) -> Reply:
    return Reply(stream=packets)


def text_chunks(*words: str) -> list[bytes]:
    return [event(chunk({"content": word})) for word in words]


FINISH = event(chunk({}, "stop"))


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that the upstream's thread makes true."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
