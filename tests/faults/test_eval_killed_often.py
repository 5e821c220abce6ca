"""An evaluation that is killed at random moments and restarted repeats no call, and its report is the same.

Open prompts go to a mixture and to one of its members, and a judge compares their answers in both orders. The mock
counts every call by its content. A call whose answer was cached before the kill must not be repeated; calls that were
open at the kill are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest
from aiohttp import web

SAME = ("report.html", "answers.jsonl", "scores.jsonl", "metrics.json", "samples.jsonl")
MODELS = ("-m", "lab:a", "-m", "moa:panel", "--judge", "lab:judge")


class Counting:
    """A mock upstream on loopback that gives the same reply to the same question, and counts the calls."""

    def __init__(self, delay: float) -> None:
        self.answered: dict[str, list[float]] = defaultdict(list)
        self.remembered: set[str] = set()
        self.repeated = 0
        self.cut = 0
        self.url = ""
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def count(self) -> int:
        return sum(map(len, self.answered.values()))

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        dice = random.Random(key)
        try:
            await asyncio.sleep(dice.uniform(0.5, 1.5) * self._delay)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        verdict = f"Verdict: {dice.choice(('1', '2', 'tie'))}"
        words = verdict if body["model"] == "judge" else " ".join(dice.choices(WORDS, k=dice.randint(5, 40)))
        text = f"#{key} {words}"
        usage = {"prompt_tokens": dice.randint(10, 99), "completion_tokens": dice.randint(5, 50)}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self.answered[key].append(time.monotonic())
        self.repeated += key in self.remembered
        return web.json_response({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


WORDS = "a mind is what the river keeps of rain when all its weather has gone by and stones begin to speak".split()  # noqa: SIM905


KILLS = int(os.environ.get("MOA_TEST_KILLS", "4"))
PROMPTS = 15
DELAY = 0.05


@pytest.mark.slow
def test_a_killed_evaluation_repeats_no_call_and_writes_the_same_report(tmp_path: Path) -> None:
    with Counting(DELAY) as upstream:
        quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
        for folder in (quiet, disturbed):
            prepare(folder, upstream.url, PROMPTS)
        assert start(quiet).wait() == 0
        calls = upstream.count
        upstream.answered.clear()
        dice = random.Random(0)
        for threshold in sorted(dice.sample(range(1, calls), KILLS)):
            process = start(disturbed)
            while upstream.count < threshold and process.poll() is None:
                time.sleep(0.001)
            time.sleep(dice.uniform(0, DELAY))
            process.kill()
            process.wait()
            upstream.remembered = remembered(disturbed)
        assert start(disturbed).wait() == 0
        assert upstream.repeated == 0
        assert [name for name in SAME if read(quiet, name) != read(disturbed, name)] == []


def prepare(folder: Path, url: str, prompts: int) -> None:
    folder.mkdir()
    panel = 'proposers = ["lab:a", "lab:b", "lab:c"]\naggregator = "lab:big"\n'
    lab = f'base_url = "{url}"\nprice = {{ input = 1, output = 2 }}\nmax_concurrency = 16\n'
    (folder / "moa.toml").write_text(f"[providers.lab]\n{lab}[mixtures.panel]\n{panel}")
    lines = [json.dumps({"prompt": f"What is worth knowing of the number {number}?"}) for number in range(prompts)]
    (folder / "mine.jsonl").write_text("\n".join(lines))


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "moa", "eval", "run", "mine.jsonl", *MODELS, "--output-dir", "out"]
    environment = {**os.environ, "MOA_STORE": str(folder / "runs.sqlite"), "MOA_CONFIG": str(folder / "moa.toml")}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)


def remembered(folder: Path) -> set[str]:
    """Return the keys of the calls in the cache file."""
    path = folder / "calls.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        return set(
            re.findall(r"#([0-9a-f]{16}) ", " ".join(text for (text,) in db.execute("SELECT response FROM calls")))
        )


def read(folder: Path, name: str) -> bytes:
    return (folder / "out" / name).read_bytes()
