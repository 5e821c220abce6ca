"""Measures the CPU time of a mixture with answers of 16 to 4,096 words, with and without a listener for streamed words.

Without one a proposal costs one JSON parse; with one every word is an event.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import moa
from common import arguments, median, mock, report, run

MIXTURE = """
[mixtures.panel]
proposers = [{{ model = "mock:d0.01-w{words}", samples = 3 }}]
aggregator = "mock:d0.01-w{words}"
"""


async def main() -> None:
    options = arguments(__doc__)
    request = moa.Request((moa.Message("user", "Why is the sky blue?"),))
    rows = []
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        for words in (16, 256, 4096):
            panel = moa.get_model("moa:panel", upstream.config(Path(folder), MIXTURE.format(words=words)))
            row: dict[str, object] = {"words per answer": words}
            for watched in ("none", "all"):
                count, took = [], []
                for _ in range(options.runs):
                    events: list[moa.Event] = []
                    begun = time.process_time()
                    await moa.generate(panel, request, events.append, watched)
                    took.append(time.process_time() - begun)
                    count.append(len(events))
                label = "watched" if watched == "all" else "unwatched"
                row |= {f"{label} events": count[0], f"{label} CPU ms": median(took) * 1000}
            rows.append(row)
    report("unwatched", rows, options)


run(main())
