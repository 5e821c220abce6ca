"""Every request gets a complete answer although each upstream call fails with probability 0.2, and nothing leaks.

Requests, half of them streamed, go to `moa serve` in its own process. Calls to the mock fail at random with 429, 500, a
cut reply, silence, garbage, or a delay. Each complete text ends in a mark, which shows partial ones.
`MOA_TEST_REQUESTS=10000` is the long run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common import Mock, Served, mock, served
from names import MARK

IDLE = 24
"""Upper bound for the descriptors of an idle server."""

CONFIG = """
read_timeout = 1.0
attempts = 3
circuit_breaker = {{ failures = 5, cooldown = 1.0 }}
[mixtures.chaos]
proposers = ["mock:{model}-a", "mock:{model}-b", "mock:{model}-c"]
aggregator = {{ model = "mock:{model}-judge", fallback = ["mock:{model}-deputy"] }}
grace = 0.5
[server]
max_concurrency = {max_concurrency}
"""


class Clients:
    """Clients of the server, and the results of their requests."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.failed: list[str] = []
        self.done = 0

    async def ask(self, number: int) -> None:
        streamed = number % 2 == 0
        body = {
            "model": "moa:chaos",
            "messages": [{"role": "user", "content": f"Question {number}?"}],
            "stream": streamed,
        }
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as reply:
                data = await reply.read()
            if reply.status != 200:
                raise ValueError(f"status {reply.status}: {data[:200]!r}")
            text, extension = _streamed(data) if streamed else _whole(data)
            if not text.endswith(MARK):
                raise ValueError(f"not whole: {text[-80:]!r} {extension}")
        except (aiohttp.ClientError, ValueError, KeyError, TimeoutError) as error:
            self.failed.append(f"{number} {'streamed' if streamed else 'whole'}: {type(error).__name__}: {error}")
        self.done += 1


def _whole(data: bytes) -> tuple[str, dict[str, Any]]:
    reply = json.loads(data)
    return reply["choices"][0]["message"]["content"], reply["moa"]


def _streamed(data: bytes) -> tuple[str, dict[str, Any]]:
    lines = [line[6:] for line in data.decode().split("\n") if line.startswith("data: ")]
    if lines[-1] != "[DONE]":
        raise ValueError(f"no [DONE]: {lines[-1][:200]}")
    chunks = [json.loads(line) for line in lines[:-1]]
    if wrong := next((chunk["error"] for chunk in chunks if "error" in chunk), None):
        raise ValueError(f"error in the stream: {wrong}")
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    return text, next(chunk["moa"] for chunk in chunks if "moa" in chunk)


def descriptors(process: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


async def metric(session: aiohttp.ClientSession, url: str, name: str) -> float:
    async with session.get(f"{url}/metrics") as reply:
        return float(re.search(rf"^{name} (\S+)$", await reply.text(), re.MULTILINE)[1])  # type: ignore[index]


REQUESTS = int(os.environ.get("MOA_TEST_REQUESTS", "400"))
CLIENTS = 200


@pytest.mark.slow
def test_every_request_is_answered_whole_while_a_fifth_of_all_calls_fail(tmp_path: Path) -> None:
    with mock() as upstream:
        config = upstream.config(tmp_path, CONFIG.format(model="d0.04-w8-f0.2-7", max_concurrency=CLIENTS + 56))
        with served(config) as server:
            clients, result = asyncio.run(attack(upstream, server))
            upstream.process.terminate()
            upstream.process.wait()
            left = settled(server.process.pid)  # connections kept alive end with the upstream
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(60)
            log = server.log.read_text()
    print(result)
    assert clients.failed == []
    assert sum(result["faults"].values()) - result["faults"].get("", 0) > 0, "no upstream call failed"
    assert left <= IDLE, f"{left} descriptors are open"
    assert (result["active"], result["waiting"]) == (0, 0) and result["tasks"] <= 4
    assert (code, "Traceback" in log) == (0, False)
    if REQUESTS >= 5000:
        assert result["rss_mb_end"] <= result["rss_mb_half"] * 1.05, "memory grew over the second half"


async def attack(upstream: Mock, server: Served) -> tuple[Clients, dict[str, Any]]:
    """Send all requests. Return their results, and the state of the server and the mock afterwards."""
    waiting = iter(range(REQUESTS))
    memory: dict[int, float] = {}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        clients = Clients(server.url, session)

        async def client() -> None:
            for number in waiting:
                await clients.ask(number)
                memory.setdefault(clients.done * 10 // REQUESTS, server.rss)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        faults = (await asyncio.to_thread(upstream.state))["faults"]
        left = {name: int(await metric(session, server.url, f"moa_{name}")) for name in ("active", "waiting", "tasks")}
    return clients, {"faults": faults, "rss_mb_half": memory.get(5, 0.0), "rss_mb_end": memory.get(10, 0.0), **left}


def settled(server: int) -> int:
    """Return the number of open descriptors of a process once it no longer falls."""
    for _ in range(100):
        if descriptors(server) <= IDLE:
            break
        time.sleep(0.1)
    return descriptors(server)
