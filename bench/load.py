"""How many clients does one core serve before the server adds 50 ms for one in twenty, and what does a request cost it?

Each client asks again as soon as it is answered; they begin at moments spread over one ideal cycle by a seeded dice, so
they never march in step. Three proposers, then an aggregator, each 200 ms to the first word and 100 words a second for
64 words; the answer is streamed, the proposals are too ("watched") or are not asked for as streams ("unwatched"). Added
is over the ideal critical path, to the first word of the answer or to its end, whichever is worse.

`moa serve` has a core of its own. The clients (raw protocols, in this process) share the other with the mock. A
measurement is void and repeated, three times at most, if the mock was later than 5 ms for one piece in a hundred, or if
other processes had the server's core for more than a fiftieth of the time. The server keeps its runs, as it does unless
told not to; `--store off` shows what that costs.

Where the time goes: `--clients 240 --show off --seconds 20 --profile FILE` holds one load and has cProfile watch the
server, which is then slower (`python -m pstats FILE`). Without `--profile`, `perf record -g -p PID` or another sampling
profiler can be attached to the process that is named on standard error.
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
    """What so many clients saw, in seconds, and what one request cost the server in seconds of its processor."""

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
    """Hold a load for so many seconds after one cycle of warming up."""
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
    """The most clients that pass: doubled until they do not, then halved between, to within one in eight."""
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
