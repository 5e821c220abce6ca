"""Measures the overhead of `moa eval run` with a mixture of six proposers, over the minimum set by `--at-once`.

Every call takes `--seconds`, and the start of the command counts. Exits with 1 beyond `--times` the minimum.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Mock, arguments, cores, median, mock, report, span

PROPOSERS = 6


def main() -> None:
    options = arguments(__doc__, runs=1, prompts=805, seconds=0.5, at_once=32, times=1.15)
    with mock(cores().helpers) as upstream:
        taken = [measured(upstream, options) for _ in range(options.runs)]
    calls = options.prompts * (PROPOSERS + 1)
    least = calls * options.seconds / options.at_once
    times = median(taken) / least
    row = {
        "prompts": options.prompts,
        "calls": calls,
        "at once": options.at_once,
        "least s": least,
        "taken s": median(taken),
        "spread": span(taken),
        "times": times,
    }
    report("moa eval run through a mixture", [row], options)
    if times > options.times:
        sys.exit(1)


def measured(upstream: Mock, options: Any) -> float:
    """Return how many seconds the command takes with an empty cache."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = ", ".join(f'"mock:d{options.seconds}-w1-p0-{number}"' for number in range(PROPOSERS))
        aggregator = f'aggregator = "mock:d{options.seconds}-w1-p0-all"'
        upstream.config(folder, f"[mixtures.panel]\nproposers = [{names}]\n{aggregator}\n")
        text = (folder / "moa.toml").read_text()
        limit = f"max_concurrency = {options.at_once}\n[mixtures.panel]"
        (folder / "moa.toml").write_text(text.replace("[mixtures.panel]", limit))
        lines = [json.dumps({"prompt": f"What is {number}?", "answer": number}) for number in range(options.prompts)]
        (folder / "mine.jsonl").write_text("\n".join(lines))
        command = [sys.executable, "-m", "moa", "eval", "run", "mine.jsonl", "-m", "moa:panel"]
        command += ["--max-concurrency", str(options.at_once)]
        environment = {**os.environ, "MOA_STORE": str(folder / "runs.sqlite"), "MOA_CONFIG": str(folder / "moa.toml")}
        begun = time.perf_counter()
        subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
