"""Measures whether the proposers of a layer run in parallel, with calls of 1.0 s each.

The ideal is one second per layer. Runs with a late mock are void and repeated.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import moa
from common import arguments, median, mock, report, run

MIXTURE = """
[mixtures.panel]
layers = {layers}
proposers = [{{ model = "mock:d1.0", samples = {proposers} }}]
aggregator = "mock:d1.0"
"""


async def main() -> None:
    options = arguments(__doc__)
    request = moa.Request((moa.Message("user", "Why is the sky blue?"),))
    rows = []
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        for layers, proposers in ((2, 3), (2, 6), (3, 6), (3, 12)):
            config = upstream.config(Path(folder), MIXTURE.format(layers=layers, proposers=proposers))
            panel = moa.get_model("moa:panel", config)
            took, void = [], 0
            while len(took) < options.runs and void < 5 * options.runs:
                begun = time.perf_counter()
                answer = await moa.generate(panel, request)
                elapsed = time.perf_counter() - begun
                assert len(answer.references) == proposers
                late = (await asyncio.to_thread(upstream.late)).most
                if late > 0.02:
                    void += 1
                else:
                    took.append(elapsed)
            total = median(took)
            rows.append(
                {
                    "layers": layers,
                    "proposers": proposers,
                    "ideal s": float(layers),
                    "total s": total,
                    "added ms": (total - layers) * 1000,
                    "one by one s": float(proposers * (layers - 1) + 1),
                    "void runs": void,
                }
            )
    report("parallel", rows, options)


run(main())
