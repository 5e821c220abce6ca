"""Does every request get a whole answer while each upstream call fails with p = 0.2, and is nothing left over?

10,000 requests, 200 at once, half of them streamed, to `moa serve` in a process of its own. Each call to the mock ends
by its dice as 429, 500, a cut reply, silence, garbage, or late. Every whole text of the mock ends in a mark, so an
answer that is not whole is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from common import Mock, Served, mock, served
from names import FAULTS, MARK

IDLE = 24
"""Descriptors of a server that nobody asks and that asks nobody, generously."""

CONFIG = """
read_timeout = 1.0
attempts = 3
circuit_breaker = {{ failures = 5, cooldown = 1.0 }}
[mixtures.chaos]
proposers = ["mock:{model}-a", "mock:{model}-b", "mock:{model}-c"]
aggregator = {{ model = "mock:{model}-judge", fallback = ["mock:{model}-deputy"] }}
grace = 0.5
[server]
max_concurrency = {at_once}
"""


class Asking:
    """The clients, and what became of their requests."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.failed: list[str] = []
        self.fallbacks = 0
        self.seconds: list[float] = []

    async def one(self, number: int) -> None:
        streamed = number % 2 == 0
        body = {
            "model": "moa:chaos",
            "messages": [{"role": "user", "content": f"Question {number}?"}],
            "stream": streamed,
        }
        begun = time.perf_counter()
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as reply:
                data = await reply.read()
            if reply.status != 200:
                raise ValueError(f"status {reply.status}: {data[:200]!r}")
            text, extension = _streamed(data) if streamed else _whole(data)
            if not text.endswith(MARK):
                raise ValueError(f"not whole: {text[-80:]!r} {extension}")
            self.fallbacks += extension.get("fallback") is not None
        except (aiohttp.ClientError, ValueError, KeyError, TimeoutError) as error:
            self.failed.append(f"{number} {'streamed' if streamed else 'whole'}: {type(error).__name__}: {error}")
        self.seconds.append(time.perf_counter() - begun)


def _whole(data: bytes) -> tuple[str, dict[str, Any]]:
    told = json.loads(data)
    return told["choices"][0]["message"]["content"], told["moa"]


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--p", type=float, default=0.2, help="how likely each upstream call fails")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = f"d0.04-w8-f{options.p}-{options.seed}"
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        config = upstream.config(Path(folder), CONFIG.format(model=model, at_once=options.at_once + 56))
        with served(config) as server:
            asking, told = asyncio.run(attack(options, upstream, server))
            upstream.process.terminate()
            upstream.process.wait()
            told["descriptors_left"] = settled(server.process.pid)  # connections kept alive end with the upstream
            server.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                told["exit_code"] = server.process.wait(30)
            return judged(options, asking, told, server.log.read_text())


async def attack(options: argparse.Namespace, upstream: Mock, server: Served) -> tuple[Asking, dict[str, Any]]:
    waiting = iter(range(options.requests))
    memory: dict[int, float] = {}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        asking = Asking(server.url, session)
        begun = time.perf_counter()

        async def client() -> None:
            for number in waiting:
                await asking.one(number)
                memory.setdefault(len(asking.seconds) * 10 // options.requests, server.rss)

        await asyncio.gather(*(client() for _ in range(options.at_once)))
        took = time.perf_counter() - begun
        faults = (await asyncio.to_thread(upstream.told))["faults"]
        left = {name: int(await metric(session, server.url, f"moa_{name}")) for name in ("active", "waiting", "tasks")}
    spent = sorted(asking.seconds)
    return asking, {
        "requests": options.requests,
        "at_once": options.at_once,
        "failed": len(asking.failed),
        "fallbacks": asking.fallbacks,
        "upstream_calls": sum(faults.values()),
        "faults": " ".join(f"{name}={faults.get(name, 0)}" for name in FAULTS),
        "seconds": round(took, 1),
        "median_s": round(spent[len(spent) // 2], 3),
        "p99_s": round(spent[int(len(spent) * 0.99)], 3),
        "rss_mb_half": round(memory.get(5, 0.0), 1),
        "rss_mb_end": round(memory.get(10, 0.0), 1),
        **{f"{name}_left": value for name, value in left.items()},
    }


def settled(server: int) -> int:
    """The open descriptors of a process, once they are no longer becoming fewer."""
    for _ in range(100):
        if descriptors(server) <= IDLE:
            break
        time.sleep(0.1)
    return descriptors(server)


def judged(options: argparse.Namespace, asking: Asking, told: dict[str, Any], log: str) -> int:
    """Print what was found; the exit code."""
    wrong = []
    if asking.failed:
        wrong.append(f"{len(asking.failed)} requests failed")
    if options.requests >= 5000 and told["rss_mb_end"] > told["rss_mb_half"] * 1.05:
        wrong.append("memory grew over the second half")
    if told["descriptors_left"] > IDLE:
        wrong.append(f"{told['descriptors_left']} descriptors are open")
    if told["active_left"] or told["waiting_left"] or told["tasks_left"] > 4:
        wrong.append("something is left over")
    if told.get("exit_code") != 0 or "Traceback" in log:
        wrong.append("the server did not end well")
    if options.json:
        print(json.dumps({**told, "wrong": wrong, "first": asking.failed[:5]}))
        return 1 if wrong else 0
    for name, value in told.items():
        print(f"{name:18} {value}")
    for line in asking.failed[:10]:
        print("FAILED", line)
    for line in [line for line in log.splitlines() if " INFO " not in line][1:20]:
        print("LOG", line)
    print("ok" if not wrong else "; ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
