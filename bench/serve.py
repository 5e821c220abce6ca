"""What does `moa serve` cost, and what do stragglers and clients that go away cost it?

Time until it is ready; memory, requests a second and the delay that the server itself adds at 1, 64 and 256 clients
(three proposers of 0.2 s, then an aggregator of 0.2 s: the ideal is 0.4 s); how much longer an answer takes when one
proposer always fails, or is ten times slower and there is a grace of 0.1 s; and how soon the upstream sees its calls
end when the client goes away while proposals are made, and while the answer is read.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from common import arguments, median, mock, report

MIXTURES = """
[mixtures.three]
proposers = ["mock:d0.2-a", "mock:d0.2-b", "mock:d0.2-c"]
aggregator = "mock:d0.2-w32"
[mixtures.failing]
proposers = ["mock:d0.2-a", "mock:d0.2-b", "down:x"]
aggregator = "mock:d0.2-w32"
[mixtures.slow]
proposers = ["mock:d0.2-a", "mock:d0.2-b", "mock:d2.0-c"]
quorum = 2
grace = 0.1
aggregator = "mock:d0.2-w32"
[mixtures.held]
proposers = ["held:a", "held:b", "held:c"]
aggregator = "held:judge"
[mixtures.read]
proposers = ["mock:d0.0-a"]
aggregator = "held:speaking"
[providers.down]
base_url = "http://127.0.0.1:9/v1"
attempts = 1
breaker = {{ failures = 1000000 }}
[providers.held]
base_url = "{held}"
"""


@contextmanager
def served(config: Path) -> Iterator[tuple[str, int, float]]:
    """A running `moa serve`: its address, its process, and how many seconds it took until it was ready."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "moa", "serve", "--config", str(config), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        found = re.search(r"ready on (\S+)", process.stderr.readline())
        assert found, process.stderr.read()
        ready = time.perf_counter() - begun
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield found[1], process.pid, ready
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        drain.wait()


def rss(process: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


async def asked(session: aiohttp.ClientSession, url: str, mixture: str, streamed: bool = True) -> float:
    """How long an answer takes."""
    body = {"model": mixture, "messages": [{"role": "user", "content": "Why?"}], "stream": streamed}
    begun = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
        data = await reply.read()
        assert reply.status == 200 and b"error" not in data[:100], data[:300]
    return time.perf_counter() - begun


async def load(session: aiohttp.ClientSession, url: str, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Requests a second of so many clients, each asking again as soon as it is answered, and how long they waited."""
    took: list[float] = []
    begun = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - begun < seconds:
            took.append(await asked(session, url, "three"))

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(took) / (time.perf_counter() - begun), took


class Held:
    """An upstream that never ends by itself, and says when each call was ended by its caller."""

    def __init__(self) -> None:
        self.open = 0
        self.ended: list[float] = []
        self.busy = asyncio.Event()
        self.idle = asyncio.Event()
        self.calls = 1

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.open += 1
        try:
            if body["model"] == "speaking":
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await response.prepare(request)
                while True:
                    chunk = {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
                    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                    self.busy.set()
                    await asyncio.sleep(0.01)
            if self.open >= self.calls:
                self.busy.set()
            await asyncio.sleep(60)
            return web.Response()
        finally:
            self.ended.append(time.perf_counter())
            self.open -= 1
            if not self.open:
                self.idle.set()

    async def gone(self, url: str, mixture: str, calls: int) -> float:
        """How long after a client has gone away the last of its calls ended, in seconds."""
        self.ended.clear()
        self.busy.clear()
        self.idle.clear()
        self.calls = calls
        body = {"model": mixture, "messages": [{"role": "user", "content": "Why?"}], "stream": True}
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(_read(session, f"{url}/v1/chat/completions", body))
            await self.busy.wait()
            await asyncio.sleep(0.2)
            asking.cancel()
            left = time.perf_counter()
        await self.idle.wait()
        return max(self.ended) - left


async def _read(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> None:
    async with session.post(url, json=body) as reply:
        async for _ in reply.content.iter_any():
            pass


async def measure(url: str, process: int, ready: float, held: Held, runs: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"measured": "ready", "value": ready, "unit": "s"}]

    def row(measured: str, value: float, unit: str) -> None:
        rows.append({"measured": measured, "value": value, "unit": unit})

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        row("memory when idle", rss(process), "MB")
        await asked(session, url, "three")
        for clients in (1, 64, 256):
            rate, took = await load(session, url, clients, 3.0)
            row(f"{clients} clients: throughput", rate, "requests/s")
            row(f"{clients} clients: median added", 1000 * (median(took) - 0.4), "ms")
            row(f"{clients} clients: p95 added", 1000 * (sorted(took)[int(len(took) * 0.95)] - 0.4), "ms")
            row(f"{clients} clients: memory", rss(process), "MB")
        names = ("three", "failing", "slow")
        times = {name: median([await asked(session, url, name) for _ in range(runs)]) for name in names}
        row("all answer", times["three"], "s")
        row("one always fails, to all answer", times["failing"] / times["three"], "ratio")
        row("one ten times slower, added (grace 0.1 s)", times["slow"] - times["three"], "s")
    for mixture, calls, words in (("held", 3, "while proposals are made"), ("read", 1, "while the answer is read")):
        worst = max([await held.gone(url, mixture, calls) for _ in range(runs)])
        row(f"client gone {words}: all calls ended, at worst", 1000 * worst, "ms")
    return rows


async def main() -> None:
    options = arguments(__doc__)
    held = Held()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", held.chat)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        config = upstream.config(Path(folder), MIXTURES.format(held=address))
        starts = []
        for _ in range(options.runs):
            with served(config) as (_, _, ready):
                starts.append(ready)
        with served(config) as (url, process, _):
            rows = await measure(url, process, median(starts), held, options.runs)
    await runner.cleanup()
    report("moa serve", rows, options)


if __name__ == "__main__":
    asyncio.run(main())
