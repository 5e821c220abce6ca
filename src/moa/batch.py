"""Asks many questions with a limit on how many are in progress: the next starts when one is done.

How many calls one provider gets at once is its own setting (`max_concurrency`); this bounds the questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from .errors import ModelError
from .model import Model
from .sinks import EventSink
from .span import generate
from .types import Request, Response

Job = TypeVar("Job")
Done = TypeVar("Done")

AT_ONCE = 32
"""Questions under way at once, unless something else is said."""


async def pooled(
    jobs: Iterable[Job], work: Callable[[Job], Awaitable[Done]], at_once: int = AT_ONCE
) -> AsyncIterator[tuple[Job, Done]]:
    """Each job with what came of it, as they get done. `jobs` may be without end: it is read as places come free.

    Whatever a job raises ends the whole; leaving early (`aclosing`) cancels what is under way.
    """
    taken = iter(jobs)
    done: asyncio.Queue[tuple[Job, Done]] = asyncio.Queue(at_once)

    async def worker() -> None:
        for job in taken:
            await done.put((job, await work(job)))

    workers = [asyncio.create_task(worker()) for _ in range(at_once)]
    ended = asyncio.gather(*workers)
    try:
        while not (ended.done() and done.empty()):
            coming = asyncio.ensure_future(done.get())
            await asyncio.wait((coming, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and ended.exception():
                coming.cancel()
                await ended
            if coming.done():
                yield coming.result()
            else:
                coming.cancel()
    finally:
        for one in workers:
            one.cancel()
        await asyncio.wait(workers)
        with suppress(Exception, asyncio.CancelledError):
            await ended


async def answers(
    model: Model, requests: Sequence[Request], *, at_once: int = AT_ONCE, emit: EventSink | None = None
) -> list[Response | ModelError]:
    """What a model answers to each request, in their order; a `ModelError` where it did not."""

    async def one(numbered: tuple[int, Request]) -> Response | ModelError:
        try:
            return await generate(model, numbered[1], emit)
        except ModelError as error:
            return error

    found: dict[int, Response | ModelError] = {}
    async with aclosing(pooled(enumerate(requests), one, at_once)) as results:  # type: ignore[type-var]
        async for (place, _), answer in results:
            found[place] = answer
    return [found[place] for place in range(len(requests))]
