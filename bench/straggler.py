"""Measures the cost of one slow or failing proposer, and the gain from grace, an adaptive timeout and hedging.

Three proposers and an aggregator, 0.2 s each; the third has the fault. Each figure is the slowest of `--requests` in a
row, also as a ratio to the healthy mixture. As many uncounted requests come first, for timeouts to adapt.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import moa
from common import Mock, arguments, median, mock, report, run
from ideal import ideal

CASES = (
    ("healthy", "mock:d0.2-c", "", ""),
    ("refuses connections, tried 3 times", "down:c", "", ""),
    ("refuses connections, quorum 2, grace 0.1 s", "down:c", "", "quorum = 2\ngrace = 0.1"),
    ("status 500, tried 3 times", "mock:d0.2-500", "", ""),
    ("status 500, quorum 2, grace 0.1 s", "mock:d0.2-500", "", "quorum = 2\ngrace = 0.1"),
    ("silent, quorum 2, grace 0.1 s", "mock:d0.2-stall", "", "quorum = 2\ngrace = 0.1"),
    ("slow once in five", "mock:d0.2-e5-slow", "", ""),
    ("slow once in five, quorum 2, grace 0.1 s", "mock:d0.2-e5-slow-grace", "", "quorum = 2\ngrace = 0.1"),
    (
        "slow once in five, deadline learned",
        "mock:d0.2-e5-slow-learned",
        "",
        "timeout = { percentile = 50, min = 0.1 }",
    ),
    ("slow once in five, hedged after 0.3 s", "mock:d0.2-e5-slow-hedged", ", hedge = 0.3", ""),
)
DOWN = """
[providers.down]
base_url = "http://127.0.0.1:9/v1"
circuit_breaker = { failures = 1000000 }
"""
MIXTURE = """
[mixtures.case{number}]
proposers = ["mock:d0.2-a", "mock:d0.2-b", {{ model = "{third}"{hedge} }}]
aggregator = "mock:d0.2"
{settings}
"""


async def slowest(name: str, config: Path, requests: int) -> tuple[float, int]:
    """Return the slowest of some requests in a row, in seconds, and how many proposals were lost."""
    model = moa.get_model(name, config)
    worst, lost = 0.0, 0
    for number in range(requests):
        begun = time.monotonic()
        answer = await moa.generate(model, moa.Request((moa.Message("user", f"Question {number}?"),)))
        worst = max(worst, time.monotonic() - begun)
        lost += 3 - len(answer.references)
    return worst, lost


async def measure(upstream: Mock, folder: Path, runs: int, requests: int) -> list[dict[str, object]]:
    mixtures = DOWN
    for number, (_, third, hedge, settings) in enumerate(CASES):
        mixtures += MIXTURE.format(number=number, third=third, hedge=hedge, settings=settings)
    config = upstream.config(folder, mixtures)
    names = [f"moa:case{number}" for number in range(len(CASES))]
    _, *found = [[await slowest(name, config, requests) for name in names] for _ in range(runs + 1)]
    healthy = median([run[0][0] for run in found])
    rows: list[dict[str, object]] = []
    for number, (label, *_) in enumerate(CASES):
        worst = median([run[number][0] for run in found])
        lost = median([run[number][1] for run in found])
        rows.append({"third proposer": label, "slowest s": worst, "to healthy": worst / healthy, "lost": lost})
    return rows


async def main() -> None:
    options = arguments(__doc__, requests=6)
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        os.environ["MOA_CACHE"] = folder  # latencies measured here are useless elsewhere
        rows = await measure(upstream, Path(folder), options.runs, options.requests)
    report(f"straggler, ideal {ideal((('d0.2',), ('d0.2',))).end} s", rows, options)


if __name__ == "__main__":
    run(main())
