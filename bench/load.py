"""Finds the most clients with a 95th percentile of added latency below 50 ms, and the CPU cost of a request.

`--clients N` holds one load instead, `--show off` or `fields` selects whether proposals are streamed, `--store off`
stores no runs, and `--profile FILE` runs the server under cProfile. Void ones (late mock, busy core) are repeated.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client import Client, request
from common import Mock, Served, arguments, bind, cores, median, mock, percentile, report, run, served, waited
from ideal import Times, ideal

MODEL = "d0.2-w64-p0.01"
LEAST = ideal(((MODEL,), (MODEL,)))
LIMIT, LATE, LOST, VOID = 0.050, 0.005, 0.02, 3
CONFIG = f"""
[mixtures.panel]
proposers = ["mock:{MODEL}-a", "mock:{MODEL}-b", "mock:{MODEL}-c"]
aggregator = "mock:{MODEL}"
[server]
max_concurrency = 4096
show_proposals = "%s"
"""
SHOWN = {"unwatched": "off", "watched": "fields"}


@dataclass(frozen=True)
class Load:
    """One load: added latencies and CPU time per request in seconds, requests per second, and the mock's delay."""

    clients: int
    word: float
    end: float
    cpu: float
    rate: float
    late: float
    void: int

    @property
    def passed(self) -> bool:
        return max(self.word, self.end) < LIMIT


async def loaded(server: Served, upstream: Mock, clients: int, seconds: float) -> Load:
    """Hold a load for `seconds` after a warm-up, and repeat void measurements."""
    for void in range(VOID + 1):
        added, cpu, late, lost = await held(server, upstream, clients, seconds)
        if (late < LATE and lost < LOST) or void == VOID:
            word, end = (percentile([getattr(times, what) for times in added], 95) for what in ("word", "end"))
            found = Load(clients, word, end, cpu, len(added) / seconds, late, void)
            print(found, file=sys.stderr)
            return found
    raise AssertionError


async def held(server: Served, upstream: Mock, clients: int, seconds: float) -> tuple[tuple[list[Times], float], float]:
    dice = random.Random(clients)
    body = request("moa:panel")
    begun = time.monotonic()
    since = begun + 2 * LEAST.end
    until = since + seconds
    added: list[Times] = []

    async def one() -> None:
        client = await Client.to(server.url)
        await asyncio.sleep(dice.random() * LEAST.end)
        while time.monotonic() < until:
            times = await client.ask(body)
            if since <= time.monotonic() < until:
                added.append(times.over(LEAST))
        client.close()

    running = asyncio.gather(*(one() for _ in range(clients)))
    await asyncio.sleep(since - time.monotonic())
    await asyncio.to_thread(upstream.late)
    spent, lost = server.cpu, waited(server.process.pid)
    await asyncio.sleep(until - time.monotonic())
    spent, lost = server.cpu - spent, waited(server.process.pid) - lost
    late = await asyncio.to_thread(upstream.late)
    await running
    return added, spent / len(added), late.p99, lost / seconds


async def most(server: Served, upstream: Mock, least: int, seconds: float) -> Load:
    """Return the largest load that passes: double until one fails, then bisect to within an eighth."""
    best, failed = None, 0
    clients = least
    while not failed or (best and failed - best.clients > max(best.clients // 8, 1)):
        load = await loaded(server, upstream, clients, seconds)
        if load.passed:
            best = load
        else:
            failed = clients
            if best is None:
                return load
        clients = (best.clients + failed) // 2 if best and failed else clients * 2
    assert best
    return best


async def main() -> None:
    options = arguments(__doc__, least=16, clients=0, seconds=6.0, show="", profile="", store="on")
    place = cores()
    bind(place.helpers)
    rows: list[dict[str, Any]] = []
    python = [sys.executable, *(["-m", "cProfile", "-o", options.profile] if options.profile else [])]
    with mock(place.helpers) as upstream, tempfile.TemporaryDirectory() as folder:
        for name, shown in SHOWN.items():
            if options.show not in ("", shown):
                continue
            loads: list[Load] = []
            for _ in range(options.runs):
                config = upstream.config(Path(folder), CONFIG % shown)
                with served(config, place.measured, options.store == "on", python) as server:
                    print(f"the server's process is {server.process.pid}", file=sys.stderr)
                    if options.clients:
                        loads.append(await loaded(server, upstream, options.clients, options.seconds))
                    else:
                        least = max(options.least, loads[-1].clients // 2 if loads else 0)
                        loads.append(await most(server, upstream, least, options.seconds))
            rows.append(_row(name, loads, bool(options.clients)))
    report("load", rows, options)


def _row(name: str, loads: list[Load], given: bool) -> dict[str, Any]:
    return {
        "proposals": name,
        "clients" if given else "most clients": int(median([load.clients for load in loads])),
        "of the runs": " ".join(str(load.clients) for load in loads),
        "p95 added to first word ms": 1000 * median([load.word for load in loads]),
        "to end ms": 1000 * median([load.end for load in loads]),
        "CPU ms a request": 1000 * median([load.cpu for load in loads]),
        "requests a second": median([load.rate for load in loads]),
        "mock late p99 ms": 1000 * max(load.late for load in loads),
        "void": sum(load.void for load in loads),
    }


if __name__ == "__main__":
    run(main())
