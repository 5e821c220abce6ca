"""The embedded model, also with a small context, as the tests of llama.cpp use it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from moa.model import prewarm
from moa.models.llamacpp import engine, weights
from moa.models.llamacpp.model import LlamaCpp
from moa.models.llamacpp.weights import SMOLLM2
from moa.types import Message, PrewarmResult, Request

MODEL = LlamaCpp(SMOLLM2, "local:smollm2")
LONG = "How does one bake a good bread? " + "Think about it. " * 60


def ask(text: str = "Say hello.", **options: Any) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 8, "temperature": 0, **options})


def the_engine(model: LlamaCpp = MODEL) -> engine.Engine:
    file = model.file if isinstance(model.file, Path) else weights.fetch(model.file)
    return engine.load(file, engine.Settings(model.context, model.slots, model.threads))


def tokens_read(model: LlamaCpp = MODEL) -> int:
    return the_engine(model).tokens_read()


async def prewarm_when_idle(model: LlamaCpp, request: Request) -> PrewarmResult:
    """Have the model read a prompt as soon as the engine has finished the previous answer."""
    async with asyncio.timeout(30):
        while (result := await prewarm(model, request)) is None:  # noqa: ASYNC110 - the engine has no idle event
            await asyncio.sleep(0.01)
    return result
