"""Measures the first word, the end, and the tokens read with a staircase of several step lengths.

Three proposers and an aggregator, each 200 ms to the first word and 100 words a second. `new` counts the prompt tokens
that a prefix cache of the previous prompt does not hold. The mock reads in no time.
"""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import moa
from common import arguments, median, mock, report, run
from ideal import ideal

MIXTURE = """
[mixtures.step{step}]
proposers = ["mock:{model}-a", "mock:{model}-b", "mock:{model}-c"]
aggregator = "mock:{model}-steps"
{setting}
"""


async def measure(name: str, config: Path) -> dict[str, Any]:
    """Run once; return the first word and the end in seconds, the aggregator's calls, and the tokens that they read."""
    question = moa.Request((moa.Message("user", "Why is the sky blue?"),))
    events: list[moa.Event] = []
    begun = time.monotonic()
    answer = await moa.generate(moa.get_model(name, config), question, events.append, "answer")
    end = time.monotonic() - begun
    prompts = [one.request for one in events if isinstance(one, moa.SpanStart) and one.role == "aggregator"]
    sizes = [one.size for one in prompts if one]
    kept = [
        old.size for old, new in pairwise(prompts) if old and new and new.messages[: len(old.messages)] == old.messages
    ]
    return {
        "first word s": next(one.time for one in events if isinstance(one, moa.TextDelta) and one.answer),
        "end s": end,
        "calls": len(sizes),
        "tokens read": sum(sizes),
        "new": sum(sizes) - sum(kept),
        "words": len(answer.text.split()),
    }


async def main() -> None:
    options = arguments(__doc__, words=128, steps="16 32 64")
    model = f"d0.2-w{options.words}-p0.01"
    steps = [0, *map(int, options.steps.split())]
    mixtures = ""
    for step in steps:
        mixtures += MIXTURE.format(step=step, model=model, setting=f"staircase = {step}" if step else "")
    rows = []
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        config = upstream.config(Path(folder), mixtures)
        for step in steps:
            found = [await measure(f"moa:step{step}", config) for _ in range(options.runs)]
            rows.append({"step": step or "none", **{key: median([one[key] for one in found]) for key in found[0]}})
    least = ideal(((model,), (model,)))
    report(f"staircase, ideal without one {least.word:.2f} s and {least.end:.2f} s", rows, options)


if __name__ == "__main__":
    run(main())
