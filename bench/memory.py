"""Measures the memory of `moa serve` before, during and after rounds of clients that stream proposals, in MB."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from client import Client, request
from common import Mock, Served, arguments, bind, cores, median, mock, report, run, served
from load import CONFIG, held


async def round_of(server: Served, upstream: Mock, clients: int, seconds: float) -> tuple[float, float]:
    """Return the maximum while the clients are connected, and the memory after they have left."""
    asking = asyncio.create_task(held(server, upstream, clients, seconds))
    most = 0.0
    while not asking.done():
        most = max(most, server.rss)
        await asyncio.sleep(0.05)
    await asking
    await asyncio.sleep(1.0)
    return most, server.rss


async def main() -> None:
    options = arguments(__doc__, clients=256, seconds=3.0, rounds=3)
    place = cores()
    bind(place.helpers)
    found: list[dict[str, Any]] = []
    with mock(place.helpers) as upstream, tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):
            with served(upstream.config(Path(folder), CONFIG % "fields"), place.measured) as server:
                idle = server.rss
                client = await Client.to(server.url)
                await client.ask(request("moa:panel"))
                client.close()
                before = server.rss
                rounds = [
                    await round_of(server, upstream, options.clients, options.seconds) for _ in range(options.rounds)
                ]
                found.append(
                    {
                        "idle": idle,
                        "before": before,
                        "added at most": max(most for most, _ in rounds) - before,
                        "stays after 1 round": rounds[0][1] - before,
                        f"after {options.rounds}": rounds[-1][1] - before,
                    }
                )
    rows = [{"clients": options.clients, **{key: median([row[key] for row in found]) for key in found[0]}}]
    report("memory, MB", rows, options)


if __name__ == "__main__":
    run(main())
