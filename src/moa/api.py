"""The high-level API: `get_model()`, `ask()` and `ask_many()`."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ModelError
from .model import Model
from .sinks import EventSink
from .span import generate
from .types import Message, Request, Response

if TYPE_CHECKING:
    from .config.build import Builder
    from .config.load import Config
    from .wrappers.cache import Cache

Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_CONCURRENCY = 32
"""Default number of concurrent questions. Calls to a provider are limited by its own `max_concurrency`."""

THREAD = "moa"
"""The name of the thread that runs the work of `ask`."""


def get_model(name: str | None = None, config: str | Path | None = None, *, cache: Cache | None = None) -> Model:
    """Return the model with a name: `provider:model`, `moa:mixture`, or the configured default.

    `config` is a `moa.toml`; without it the default one is used. With `cache` (such as `SQLiteCache()`), every single
    model in it caches its answers there. Raises `ConfigError`.
    """
    builder = get_builder(config, cache)
    return builder.model(name or builder.config.default)


def get_builder(config: str | Path | None = None, cache: Cache | None = None) -> Builder:
    """Return the builder of a configuration; the same one for the same `cache` until the file changes."""
    from .config.load import find

    path = Path(config) if config is not None else find()
    path = path.absolute() if path else None
    stamp = path.stat().st_mtime_ns if path and path.is_file() else 0
    return _builder(path, stamp, cache)


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
    """Ask a question and wait for the answer, without async code. Works in scripts, threads and notebooks.

    `prompt` is a question or a conversation. Raises `ConfigError` or `ModelError`, and `RuntimeError` if it is called
    within a model, where it would deadlock.
    """
    if threading.current_thread().name == THREAD:
        raise RuntimeError("moa.ask would deadlock within a model; use: await span.call(...)")
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    if system is not None:
        messages = (Message("system", system), *messages)
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    future = begin(generate(_model(model, config), request))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def ask_many(
    model: str | Model,
    requests: Sequence[Request],
    *,
    max_concurrency: int = MAX_CONCURRENCY,
    emit: EventSink | None = None,
    config: str | Path | None = None,
) -> list[Response | ModelError]:
    """Return the response to each request, in order; a `ModelError` in place of one that failed."""
    asked = _model(model, config)

    async def answer(numbered: tuple[int, Request]) -> Response | ModelError:
        try:
            return await generate(asked, numbered[1], emit)
        except ModelError as error:
            return error

    answers: dict[int, Response | ModelError] = {}
    async with aclosing(map_unordered(answer, enumerate(requests), max_concurrency)) as results:  # type: ignore[type-var]
        async for (index, _), response in results:
            answers[index] = response
    return [answers[index] for index in range(len(requests))]


async def map_unordered(
    work: Callable[[Job], Awaitable[Result]], jobs: Iterable[Job], max_concurrency: int = MAX_CONCURRENCY
) -> AsyncIterator[tuple[Job, Result]]:
    """Yield each job with its result, as they complete. `jobs` may be endless: it is read as workers become free.

    An error of a job ends the iteration. Leaving early (`aclosing`) cancels the jobs in progress.
    """
    pending = iter(jobs)
    done: asyncio.Queue[tuple[Job, Result]] = asyncio.Queue(max_concurrency)

    async def worker() -> None:
        for job in pending:
            await done.put((job, await work(job)))

    workers = [asyncio.create_task(worker()) for _ in range(max_concurrency)]
    ended = asyncio.gather(*workers)
    try:
        while not (ended.done() and done.empty()):
            next_done = asyncio.ensure_future(done.get())
            await asyncio.wait((next_done, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and ended.exception():
                next_done.cancel()
                await ended
            if next_done.done():
                yield next_done.result()
            else:
                next_done.cancel()
    finally:
        for task in workers:
            task.cancel()
        await asyncio.wait(workers)
        with suppress(Exception, asyncio.CancelledError):
            await ended


def begin(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Start a coroutine from synchronous code, on the loop of the background thread."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


def _model(model: str | Model, config: str | Path | None) -> Model:
    return get_model(model, config) if isinstance(model, str) else model


@functools.cache
def _builder(path: Path | None, stamp: int, cache: Cache | None) -> Builder:
    from .config.build import Builder

    config, file = _config(path, stamp)
    return Builder(config, file.parent if file else Path(), cache)


@functools.cache
def _config(path: Path | None, stamp: int) -> tuple[Config, Path | None]:
    from .config.load import load

    return load(path)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of a background thread, so that a caller may run a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=THREAD, daemon=True)
    thread.start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_loop.cache_clear)  # threads do not survive a fork

    owner = os.getpid()

    def close() -> None:
        if os.getpid() != owner:
            return
        asyncio.run_coroutine_threadsafe(_shut_down(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()

    atexit.register(close)
    return loop


async def _shut_down() -> None:
    loop = asyncio.get_running_loop()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
