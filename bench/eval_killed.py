"""An evaluation is killed (SIGKILL) at random moments and begun again: is a call made twice, is the report the same?

Open prompts go to a mixture and to one of its members, and a judge compares their answers in both orders. The mock
counts every call by what it was asked. A call whose answer the process had remembered before it was killed must not be
made again: each that is, is "repeated", and ends this program with an error. An answer that was still on its way, in
the network or in the process, is asked for again ("on the wire", the oldest of them sent "ms" before the kill); calls
that the kill cut off before they had an answer are asked again too. The report is held byte for byte against that of
an evaluation that nobody disturbed.
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
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from common import arguments, report

SAME = ("report.html", "answers.jsonl", "scores.jsonl", "figures.json", "samples.jsonl")
MODELS = ("-m", "lab:a", "-m", "moa:panel", "--judge", "lab:judge")


class Counting:
    """A mock upstream on loopback that answers the same question in the same way, and knows when it did."""

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
        told = verdict if body["model"] == "judge" else " ".join(dice.choices(WORDS, k=dice.randint(5, 40)))
        text = f"#{key} {told}"
        usage = {"prompt_tokens": dice.randint(10, 99), "completion_tokens": dice.randint(5, 50)}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self.answered[key].append(time.monotonic())
        self.repeated += key in self.remembered
        return web.json_response({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})


WORDS = "a mind is what the river keeps of rain when all its weather has gone by and stones begin to speak".split()  # noqa: SIM905


def main() -> None:
    options = arguments(__doc__, runs=1, kills=10, prompts=40, delay=0.05, seed=0)
    rows = [measured(options, options.seed + number) for number in range(options.runs)]
    report(f"an evaluation killed {options.kills} times", rows, options)
    if any(row["repeated"] or row["report"] != "the same" for row in rows):
        sys.exit(1)


def measured(options: Any, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Counting(options.delay) as upstream:
        quiet, disturbed = Path(folder, "quiet"), Path(folder, "disturbed")
        for place in (quiet, disturbed):
            prepared(place, upstream.url, options.prompts)
        assert evaluating(quiet).wait() == 0
        calls = upstream.count
        upstream.answered.clear()
        upstream.cut = 0
        dice = random.Random(seed)
        wire: list[float] = []
        for threshold in sorted(dice.sample(range(1, calls), options.kills)):
            begun = time.monotonic()
            process = evaluating(disturbed)
            while upstream.count < threshold and process.poll() is None:
                time.sleep(0.001)
            time.sleep(dice.uniform(0, options.delay))
            killed = time.monotonic()
            process.kill()
            process.wait()
            upstream.remembered = remembered(disturbed)
            lost = (times[-1] for key, times in upstream.answered.items() if key not in upstream.remembered)
            wire += [max(0.0, killed - at) for at in lost if at >= begun]
        assert evaluating(disturbed).wait() == 0
        differing = [name for name in SAME if read(quiet, name) != read(disturbed, name)]
        return {
            "prompts": options.prompts,
            "calls": calls,
            "kills": options.kills,
            "cut off": upstream.cut,
            "on the wire": len(wire),
            "ms": 1000 * max(wire, default=0.0),
            "repeated": upstream.repeated,
            "report": f"other {', '.join(differing)}" if differing else "the same",
        }


def prepared(folder: Path, url: str, prompts: int) -> None:
    folder.mkdir()
    panel = 'proposers = ["lab:a", "lab:b", "lab:c"]\naggregator = "lab:big"\n'
    lab = f'base_url = "{url}"\nprice = {{ input = 1, output = 2 }}\nmax_concurrency = 16\n'
    (folder / "moa.toml").write_text(f"[providers.lab]\n{lab}[mixtures.panel]\n{panel}")
    lines = [json.dumps({"prompt": f"What is worth knowing of the number {number}?"}) for number in range(prompts)]
    (folder / "mine.jsonl").write_text("\n".join(lines))


def evaluating(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "moa", "eval", "run", "mine.jsonl", *MODELS, "--out", "out"]
    environment = {**os.environ, "MOA_STORE": str(folder / "runs.sqlite"), "MOA_CONFIG": str(folder / "moa.toml")}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)


def remembered(folder: Path) -> set[str]:
    """The keys of the calls whose answers are in the file of remembered answers."""
    path = folder / "calls.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        return set(
            re.findall(r"#([0-9a-f]{16}) ", " ".join(text for (text,) in db.execute("SELECT response FROM calls")))
        )


def read(folder: Path, name: str) -> bytes:
    return (folder / "out" / name).read_bytes()


if __name__ == "__main__":
    main()
