"""Measures the latency that the library and `moa serve` add to the models' own time for one client, in milliseconds.

Runs one model alone, then mixtures of 2 and 3 layers with `--proposers`, over the ideal critical path (ideal.py).
Void runs (late mock, busy core) are repeated, at most twice as many as `--runs`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import moa
from client import Client, request
from common import Cores, Mock, arguments, bind, cores, median, mock, report, run, served, span, waited
from ideal import Times, ideal

LATE, VOID = 0.001, 2
MIXTURE = """
[mixtures.{name}]
layers = {layers}
proposers = [{{ model = "{model}", samples = {proposers} }}]
aggregator = "{model}"
"""
Ask = Callable[[str], Awaitable[Times]]


async def repeated(ask: Ask, process: int, upstream: Mock, name: str, least: Times, runs: int) -> dict[str, Any]:
    """Return what `runs` runs added and how many were void, after a warm-up."""
    added: list[Times] = []
    void = -1
    while len(added) < runs:
        await asyncio.to_thread(upstream.late)
        preempted = waited(process)
        times = await ask(name)
        preempted = max(waited(process) - preempted, (await asyncio.to_thread(upstream.late)).most)
        if void >= 0 and (preempted < LATE or void >= VOID * runs):
            added.append(times.over(least))
        else:
            void += 1
    values = {"visible": "first shown", "word": "first word", "end": "end"}
    columns = {
        f"{title}, added ms": 1000 * median([getattr(one, key) for one in added]) for key, title in values.items()
    }
    return {**columns, "of the runs": span([1000 * one.end for one in added]), "ideal end s": least.end, "void": void}


@asynccontextmanager
async def in_library(config: Path, place: Cores) -> AsyncIterator[tuple[Ask, int]]:
    bind(place.measured)
    question = moa.Request((moa.Message("user", "Why is the sky blue?"),))

    async def ask(name: str) -> Times:
        model = moa.get_model(name, config)
        visible = word = 0.0
        begun = time.monotonic()
        async with moa.stream(model, question) as events:
            async for event in events:
                if isinstance(event, moa.TextDelta) and not word:
                    now = time.monotonic() - begun
                    visible = visible or now
                    word = now if event.answer else 0.0
        return Times(visible, word, time.monotonic() - begun)

    yield ask, os.getpid()


@asynccontextmanager
async def through_server(config: Path, place: Cores) -> AsyncIterator[tuple[Ask, int]]:
    bind(place.helpers)
    with served(config, place.measured) as server:
        client = await Client.to(server.url)

        async def ask(name: str) -> Times:
            return await client.ask(request(name))

        yield ask, server.process.pid
        client.close()


async def measured(options: argparse.Namespace, upstream: Mock, config: Path, names: dict[str, Times]) -> list[Any]:
    place = cores()
    rows = []
    for label, opened in (("library", in_library), ("moa serve", through_server)):
        async with opened(config, place) as (ask, process):
            for name, least in names.items():
                found = await repeated(ask, process, upstream, name, least, options.runs)
                shape = name.removeprefix("moa:").split("x") if name.startswith("moa:") else ["1", "-"]
                rows.append({"through": label, "layers": shape[0], "proposers": shape[1], **found})
    return rows


async def main() -> None:
    options = arguments(__doc__, proposers="3 6 12", words=64)
    model = f"d0.2-w{options.words}-p0.01"
    names = {f"mock:{model}": ideal(((model,),))}
    mixtures = ""
    for layers in (2, 3):
        for proposers in map(int, options.proposers.split()):
            names[f"moa:{layers}x{proposers}"] = ideal(((model,),) * layers)
            shape = {"name": f"{layers}x{proposers}", "layers": layers, "proposers": proposers}
            mixtures += MIXTURE.format(model=f"mock:{model}", **shape)
    with mock(cores().helpers) as upstream, tempfile.TemporaryDirectory() as folder:
        rows = await measured(options, upstream, upstream.config(Path(folder), mixtures), names)
    report("overhead", rows, options)


if __name__ == "__main__":
    run(main())
