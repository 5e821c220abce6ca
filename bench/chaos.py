"""Does every request get a whole answer while each upstream call fails with p = 0.2, and is nothing left over?

10,000 requests, 200 at once, half of them streamed, to `moa serve` in a process of its own. Each call to the upstream,
another process, ends by a seeded dice as 429, 500, a cut reply, silence, garbage, or late. Every whole text of the
upstream ends in a mark, so an answer that is not whole is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

MARK = "[whole]"
IDLE = 24
"""Descriptors of a server that nobody asks and that asks nobody, generously."""

FAULTS = ("429", "500", "cut", "stall", "garbage", "slow")
CONFIG = """
default = "moa:chaos"
[providers.up]
base_url = "{url}"
timeout = 1.0
attempts = 3
breaker = {{ failures = 5, rest = 1.0 }}
price = {{ input = 1, output = 1 }}
[mixtures.chaos]
proposers = ["up:a", "up:b", "up:c"]
aggregator = {{ model = "up:judge", fallback = ["up:deputy"] }}
grace = 0.5
[server]
at_once = {at_once}
"""


class Faulty:
    """The upstream. The n-th call is always answered in the same way, whoever makes it."""

    def __init__(self, seed: int, p: float) -> None:
        self.seed, self.p = seed, p
        self.count: Counter[str] = Counter()
        self.calls = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls += 1
        dice = random.Random(f"{self.seed}/{self.calls}")
        fault = dice.choice(FAULTS) if dice.random() < self.p else "none"
        self.count[fault] += 1
        words = [f"{body['model']} says word{n} " for n in range(dice.randint(3, 12))] + [MARK]
        match fault:
            case "429":
                return web.json_response(
                    {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0.05"}
                )
            case "500":
                return web.json_response({"error": {"message": "oops"}}, status=500)
            case "garbage":
                return web.Response(body=dice.choice((b"<html>busy</html>", b'{"choices": 3}', b"\xff\xfe", b"")))
            case "stall":
                await asyncio.sleep(5)
            case "slow":
                await asyncio.sleep(0.4)
        usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
        if body.get("stream"):
            return await self._stream(request, words, usage, fault == "cut")
        message = {"role": "assistant", "content": "".join(words)}
        whole = {"id": "1", "object": "chat.completion", "model": body["model"], "usage": usage}
        data = json.dumps({**whole, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        if fault != "cut":
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        return _closed(request, response)

    async def _stream(
        self, request: web.Request, words: list[str], usage: dict[str, int], cut: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for place, word in enumerate(words):
            if cut and place == len(words) // 2:
                return _closed(request, response)
            await response.write(_event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}))
        await response.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return response

    async def told(self, request: web.Request) -> web.Response:
        return web.json_response(self.count)

    async def serve(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/told", self.told)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
        await asyncio.Event().wait()


def _event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _closed(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport:
        request.transport.close()
    return response


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


def rss(process: int) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


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
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(Faulty(options.seed, options.p).serve())
    upstream = subprocess.Popen(
        [sys.executable, __file__, "--upstream", "--seed", str(options.seed), "--p", str(options.p)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert upstream.stdout
    address = upstream.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "moa.toml"
        config.write_text(CONFIG.format(url=address, at_once=options.at_once + 56))
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "moa", "serve", "--config", str(config), "--port", "0"]
        with log.open("w") as errors:
            server = subprocess.Popen(command, stderr=errors)
        try:
            while not (found := re.search(r"ready on (\S+)", log.read_text())):
                time.sleep(0.02)
            asking, told = asyncio.run(attack(options, address, found[1], server.pid))
            upstream.terminate()
            upstream.wait()
            told["descriptors_left"] = settled(server.pid)  # connections kept alive end with the upstream
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                told["exit_code"] = server.wait(30)
            return judged(options, asking, told, log.read_text())
        finally:
            for process in (server, upstream):
                process.kill()
                process.wait()


async def attack(options: argparse.Namespace, address: str, url: str, server: int) -> tuple[Asking, dict[str, Any]]:
    waiting = iter(range(options.requests))
    memory: dict[int, float] = {}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        asking = Asking(url, session)
        begun = time.perf_counter()

        async def client() -> None:
            for number in waiting:
                await asking.one(number)
                memory.setdefault(len(asking.seconds) * 10 // options.requests, rss(server))

        await asyncio.gather(*(client() for _ in range(options.at_once)))
        took = time.perf_counter() - begun
        async with session.get(address.removesuffix("/v1") + "/told") as reply:
            faults = await reply.json()
        left = {name: int(await metric(session, url, f"moa_{name}")) for name in ("active", "waiting", "tasks")}
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
