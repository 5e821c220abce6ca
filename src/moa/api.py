"""The three-line door: a model by its name, and an answer to a question."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .model import Model
from .span import generate
from .types import Message, Request, Response

if TYPE_CHECKING:
    from .config.build import Builder
    from .config.load import Config
    from .wrappers.cache import Cache

Result = TypeVar("Result")

THREAD = "moa"
"""The thread on which `ask` has its work done."""


def get_model(name: str | None = None, config: str | Path | None = None, *, calls: Cache | None = None) -> Model:
    """The model of a name: `provider:model`, `moa:mixture`, or the configured default.

    `config` is a `moa.toml`; without it the usual places are searched. With `calls` (such as `SQLiteCache()`), every
    single model that it is made of remembers its answers there. Raises `ConfigError`.
    """
    builder = get_builder(config, calls)
    return builder.model(name or builder.config.default)


def get_builder(config: str | Path | None = None, calls: Cache | None = None) -> Builder:
    """What makes the models of a configuration; the same one for the same `calls` while the file does not change."""
    from .config.load import find

    path = Path(config) if config is not None else find()
    path = path.absolute() if path else None
    stamp = path.stat().st_mtime_ns if path and path.is_file() else 0
    return _builder(path, stamp, calls)


def ask(
    model: str | Model,
    prompt: str | Sequence[Message],
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    config: str | Path | None = None,
) -> Response:
    """Ask and wait: the only synchronous function. Works in a script, in a thread, and in a notebook.

    `prompt` is a question or a conversation. Raises `ConfigError` or `ModelError`, and `RuntimeError` where it would
    wait for itself: within a model that `ask` is asking.
    """
    if threading.current_thread().name == THREAD:
        raise RuntimeError("moa.ask within a model would wait for itself; in a model, await span.call(...)")
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    if system is not None:
        messages = (Message("system", system), *messages)
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    chosen = get_model(model, config) if isinstance(model, str) else model
    future = begin(generate(chosen, request))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def begin(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Start work from code that is not asynchronous, on the one long-lived loop."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _builder(path: Path | None, stamp: int, calls: Cache | None) -> Builder:
    from .config.build import Builder

    config, found = _config(path, stamp)
    return Builder(config, found.parent if found else Path(), calls)


@cache
def _config(path: Path | None, stamp: int) -> tuple[Config, Path | None]:
    from .config.load import load

    return load(path)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One long-lived loop on a thread of its own, so that a caller may have a loop already."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=THREAD, daemon=True)
    thread.start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_loop.cache_clear)  # a forked child has none of its parent's threads

    owner = os.getpid()

    def close() -> None:
        if os.getpid() != owner:
            return
        asyncio.run_coroutine_threadsafe(_shut(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()

    atexit.register(close)
    return loop


async def _shut() -> None:
    loop = asyncio.get_running_loop()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
