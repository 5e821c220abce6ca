"""Measures the time from the last proposal to the first token of the answer, with and without prewarming.

Runs two llama.cpp servers on one core each (`separate`), or one on both cores (`shared`), new ones for each run.
`--reads` selects modes: `plain` (no prewarming), `arrival` (each complete proposal), `words` (also while it streams).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import moa
from common import arguments, median, report, run
from moa.notes import Prewarmed

SERVER = Path(__file__).with_name("llama.py")
QUESTION = "How do I become a good generative AI engineer? Give me a plan for the next two years, with reasons."
CONFIG = """
[providers.proposing]
base_url = "{proposing}"
price = {{ input = 0, output = 0 }}
max_concurrency = {at_once}
[providers.aggregating]
base_url = "{aggregating}"
price = {{ input = {price}, output = 0 }}
prewarm = "{prewarm}"
[mixtures.panel]
reference_order = "arrival"
[[mixtures.panel.proposers]]
model = "proposing:smollm2"
samples = {proposals}
temperature = 0.7
max_tokens = {tokens}
extra = {{ ignore_eos = true, repeat_penalty = 1.1 }}
[mixtures.panel.aggregator]
model = "aggregating:smollm2"
temperature = 0
max_tokens = 48
"""
MODES = {"plain": "off", "arrival": "paid", "words": "free"}


@contextmanager
def served(cores: str, slots: int) -> Iterator[str]:
    """Start a llama.cpp server and yield its base URL."""
    command = [sys.executable, str(SERVER), "--cores", cores, "--slots", str(slots)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


async def measure(setup: str, mode: str, at_once: int, options: Any) -> dict[str, Any]:
    """Run once; return the moment of the last proposal, the wait for the first token, and the total, in seconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proposing = stack.enter_context(served("0" if setup == "separate" else "0,1", at_once))
        aggregating = stack.enter_context(served("1", 1)) if setup == "separate" else proposing
        config = folder / "moa.toml"
        config.write_text(
            CONFIG.format(
                proposing=proposing,
                aggregating=aggregating,
                at_once=at_once,
                price=1 if MODES[mode] == "paid" else 0,
                prewarm=MODES[mode],
                proposals=options.proposals,
                tokens=options.tokens,
            )
        )
        events: list[moa.Event] = []
        request = moa.Request((moa.Message("user", QUESTION),), seed=options.seed)
        begun = time.perf_counter()
        answer = await moa.generate(moa.get_model("moa:panel", config), request, events.append, "answer")
        total = time.perf_counter() - begun
    proposers = {one.span for one in events if isinstance(one, moa.SpanStart) and one.role == "proposer"}
    last = max(one.time for one in events if isinstance(one, moa.SpanEnd) and one.span in proposers)
    first = next(one.time for one in events if isinstance(one, moa.TextDelta) and one.answer)
    return {
        "last": last,
        "wait": first - last,
        "total": total,
        "answer": answer.text,
        "proposals": [one.text for one in answer.references],
        "ahead": sum(
            one.data.tokens for one in events if isinstance(one, moa.Note) and isinstance(one.data, Prewarmed)
        ),
    }


async def measured(setup: str, at_once: int, options: Any) -> list[dict[str, Any]]:
    """Run every mode in turn, `runs` times, and return one row for each."""
    took: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES if mode in options.reads.split()}
    for _ in range(options.runs):
        for mode in took:
            took[mode].append(await measure(setup, mode, at_once, options))
    plain = took["plain"]
    rows = []
    for mode, runs in took.items():
        pairs = [(one, other) for one, other in zip(runs, plain, strict=True) if one["proposals"] == other["proposals"]]
        same = sum(one["answer"] == other["answer"] for one, other in pairs)
        rows.append(
            {
                "servers": setup,
                "proposals": "one after another" if at_once == 1 else "side by side",
                "reads": mode,
                "last proposal s": median([one["last"] for one in runs]),
                "then first word s": median([one["wait"] for one in runs]),
                "ratio": median([one["wait"] / other["wait"] for one, other in zip(runs, plain, strict=True)]),
                "total s": median([one["total"] for one in runs]),
                "total ratio": median([one["total"] / other["total"] for one, other in zip(runs, plain, strict=True)]),
                "read ahead": round(median([one["ahead"] for one in runs])),
                "same answer": f"{same} of {len(pairs)}",
            }
        )
    return rows


async def main() -> None:
    options = arguments(__doc__, proposals=6, tokens=250, seed=1, only="", reads=" ".join(MODES))
    rows = []
    for setup, at_once in (("separate", 1), ("separate", 6), ("shared", 6)):
        if options.only in f"{setup} {at_once}":
            rows += await measured(setup, min(at_once, options.proposals), options)
    report("first word after the last proposal", rows, options)


run(main())
