"""A server that is killed loses no run that a client saw end.

Twenty clients ask one question after another and keep each event they receive. After each kill (at a random moment, or
every second time as soon as a client saw its run end) the store opens and is intact. Each run that a client saw end is
there with exactly those events. All others are marked as unfinished, if they were written at all.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

import moa
from common import Served, mock, served
from moa.events import to_json

CLIENTS = 20
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
class ClientView:
    """A run as its client saw it: when it was started (`time.monotonic`), its events, and whether it ended."""

    id: str
    started: float
    events: list[bytes] = field(default_factory=list)
    ended: bool = False


async def client(url: str, dice: random.Random, views: list[ClientView], ended: asyncio.Event) -> None:
    """Ask one question after another until the server is gone."""
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        while True:
            body = {"model": f"moa:m{dice.randrange(3)}", "prompt": f"Question {dice.random()}?"}
            async with session.post("/api/runs", json=body) as reply:
                view = ClientView((await reply.json())["run_id"], time.monotonic())
            views.append(view)
            async with session.get(f"/api/runs/{view.id}/events") as events:
                kind = b""
                async for line in events.content:
                    if line.startswith(b"event: "):
                        kind = line[7:].strip()
                    elif line.startswith(b"data: ") and kind != b"end":
                        view.events.append(line[6:].strip())
                    elif line.startswith(b"data: "):
                        view.ended = True
                        ended.set()


async def kill(server: Served, store: Path, dice: random.Random, at_an_end: bool) -> tuple[list[ClientView], float]:
    """Kill the server. Return what its clients had received, and when it was killed (`time.monotonic`)."""
    views: list[ClientView] = []
    ended = asyncio.Event()

    async def until_gone(number: int) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            await client(server.url, random.Random(f"{dice.random()}/{number}"), views, ended)

    clients = [asyncio.create_task(until_gone(number)) for number in range(CLIENTS)]
    while len(views) < CLIENTS or not store.exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
    await asyncio.sleep(dice.uniform(0.3, 2.5))
    if at_an_end:
        ended.clear()
        await ended.wait()
    server.process.send_signal(signal.SIGKILL)
    moment = time.monotonic()
    await asyncio.to_thread(server.process.wait)
    await asyncio.gather(*clients)
    return views, moment


@dataclass
class Result:
    """The final state of the runs: the ended ones, the lost ones among them, and those stored as unfinished."""

    ended: int = 0
    lost: int = 0
    unfinished: int = 0

    def add(self, path: Path, views: list[ClientView], killed: float, earlier: set[str]) -> None:
        """Compare the store with what clients received. `earlier` are the ids of runs that were stored before."""
        with moa.Store(path) as store:
            states = {run.id: run.state for run in store.runs()}
            assert earlier <= states.keys(), "a run that was stored before is missing"
            assert "running" not in states.values()
            earlier |= states.keys()
            for view in views:
                stored = [to_json(event) for event in store.events(view.id)] if view.id in states else []
                self._count(view, states.get(view.id), stored, killed)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def _count(self, view: ClientView, state: str | None, stored: list[bytes], killed: float) -> None:
        if view.ended:
            self.ended += 1
            self.lost += state != "answered" or stored != view.events
            return
        both = min(len(stored), len(view.events))
        assert stored[:both] == view.events[:both], "the stored events are not those the client saw"
        self.unfinished += state == "unfinished"
        assert state is not None or killed - view.started < 5.0, "a run that went on for seconds was not stored"


KILLS = int(os.environ.get("MOA_TEST_KILLS", "4"))
"""Number of kills; `MOA_TEST_KILLS=30` for a long run."""


@pytest.mark.slow
async def test_no_run_that_a_client_saw_end_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    dice = random.Random(1)
    result = Result()
    with mock() as upstream:
        config = upstream.config(tmp_path, MIXTURES)
        store = config.with_name("runs.sqlite")
        earlier: set[str] = set()
        for number in range(KILLS):
            with served(config) as server:
                views, moment = await kill(server, store, dice, bool(number % 2))
            await asyncio.to_thread(result.add, store, views, moment, earlier)
    assert result.ended > 0 and result.unfinished > 0, "the server was killed too early to test anything"
    assert result.lost == 0
