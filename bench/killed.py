"""Is a run lost when `moa serve` is killed with signal 9 in the midst of twenty of them? Again and again, in one store.

Twenty clients ask one question after another and note each event that they are told. After each kill, at a moment that
a seeded dice chooses or, every second time, as soon as a client hears that its run is over, the store must open and be
sound; each run whose end was told must be there with exactly the
events that were told; all others must be marked as unfinished, and be there up to a moment before the kill.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

import moa
from common import Served, arguments, mock, report, run, served
from moa.events import to_json

AT_ONCE = 20
MIXTURES = """
[mixtures.m0]
proposers = ["mock:d0.02-w8-a", "mock:d0.02-w8-b"]
aggregator = "mock:d0.01-w8"
[mixtures.m1]
proposers = ["mock:d0.05-w40-p0.004-a", "mock:d0.05-w80-p0.004-b", "mock:d0.1-w40-p0.004-c"]
aggregator = "mock:d0.05-w100-p0.004"
[mixtures.m2]
layers = 3
proposers = ["mock:d0.1-w100-p0.005-a", "mock:d0.1-w100-p0.005-b"]
aggregator = "mock:d0.2-w200-p0.005"
"""


@dataclass
class RunView:
    """A run as its client was told of it: when it was `begun` (`time.monotonic`), its events, and if it `ended`."""

    id: str
    begun: float
    told: list[bytes] = field(default_factory=list)
    ended: bool = False


async def client(url: str, dice: random.Random, seen: list[RunView], ended: asyncio.Event) -> None:
    """Ask one question after another until the server is gone."""
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        while True:
            body = {"model": f"moa:m{dice.randrange(3)}", "prompt": f"Question {dice.random()}?"}
            async with session.post("/api/runs", json=body) as reply:
                one = RunView((await reply.json())["run_id"], time.monotonic())
            seen.append(one)
            async with session.get(f"/api/runs/{one.id}/events") as events:
                kind = b""
                async for line in events.content:
                    if line.startswith(b"event: "):
                        kind = line[7:].strip()
                    elif line.startswith(b"data: ") and kind != b"end":
                        one.told.append(line[6:].strip())
                    elif line.startswith(b"data: "):
                        one.ended = True
                        ended.set()


async def killed(server: Served, store: Path, dice: random.Random, at_an_end: bool) -> tuple[list[RunView], float]:
    """What its clients had been told when the server was killed, and when that was."""
    seen: list[RunView] = []
    ended = asyncio.Event()

    async def until_gone(number: int) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            await client(server.url, random.Random(f"{dice.random()}/{number}"), seen, ended)

    clients = [asyncio.create_task(until_gone(number)) for number in range(AT_ONCE)]
    while len(seen) < AT_ONCE or not store.exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
    await asyncio.sleep(dice.uniform(0.3, 2.5))
    if at_an_end:
        ended.clear()
        await ended.wait()
    server.process.send_signal(signal.SIGKILL)
    moment = time.monotonic()
    await asyncio.to_thread(server.process.wait)
    await asyncio.gather(*clients)
    return seen, moment


@dataclass
class Found:
    """What became of the runs: how many had `ended`, and were `lost` all the same; how many were `going_on`, and of
    these are there and marked as `unfinished`, or not `there` at all as they began so many seconds (`young`) before."""

    kills: int = 0
    ended: int = 0
    lost: int = 0
    going_on: int = 0
    unfinished: int = 0
    missing: int = 0
    young: float = 0.0

    def look(self, path: Path, seen: list[RunView], killed: float, earlier: set[str]) -> None:
        """Take in what the store has of all that was seen. `earlier` are the runs that were there before."""
        self.kills += 1
        with moa.Store(path) as store:
            states = {one.id: one.state for one in store.runs()}
            assert earlier <= states.keys(), "a run that was there is not there any more"
            assert "running" not in states.values()
            earlier |= states.keys()
            for one in seen:
                stored = [to_json(event) for event in store.events(one.id)] if one.id in states else []
                self._count(one, states.get(one.id), stored, killed)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def _count(self, one: RunView, state: str | None, stored: list[bytes], killed: float) -> None:
        if one.ended:
            self.ended += 1
            self.lost += state != "answered" or stored != one.told
            return
        self.going_on += 1
        both = min(len(stored), len(one.told))
        assert stored[:both] == one.told[:both], "what is stored is not what was told"
        self.unfinished += state == "unfinished"
        if state is None:
            self.missing += 1
            self.young = max(self.young, killed - one.begun)


async def main() -> None:
    options = arguments(__doc__, runs=30, seed=1)
    dice = random.Random(options.seed)
    found = {"at any moment": Found(), "at the end of a run": Found()}
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        config = upstream.config(Path(folder), MIXTURES)
        store = config.with_name("runs.sqlite")
        earlier: set[str] = set()
        for number in range(options.runs):
            when = "at the end of a run" if number % 2 else "at any moment"
            with served(config) as server:
                seen, moment = await killed(server, store, dice, bool(number % 2))
            await asyncio.to_thread(found[when].look, store, seen, moment, earlier)
    rows = [
        {
            "killed": when,
            "times": one.kills,
            "ended": one.ended,
            "of them lost": one.lost,
            "going on": one.going_on,
            "unfinished": one.unfinished,
            "not there": one.missing,
            "begun at most ms before": 1000 * one.young,
        }
        for when, one in found.items()
    ]
    report("killed", rows, options)


if __name__ == "__main__":
    run(main())
