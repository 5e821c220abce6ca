"""How soon does the upstream see its calls end when the client of `moa serve` goes away?

While three proposals are made that never come, and while the answer is read. At worst, of so many runs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from client import Client, request
from common import Mock, Served, arguments, mock, report, run, served

MIXTURES = """
[mixtures.held]
proposers = ["mock:stall-a", "mock:stall-b", "mock:stall-c"]
aggregator = "mock:d0.0"
[mixtures.read]
proposers = ["mock:d0.0"]
aggregator = "mock:w10000-p0.01"
"""


async def gone(server: Served, upstream: Mock, mixture: str, calls: int) -> float:
    """How long after a client has gone away the last of its calls ended, in seconds."""
    client = await Client.to(server.url)
    before = sum(upstream.told()["faults"].values())
    answer = client.ask(request(mixture))
    while sum((told := await asyncio.to_thread(upstream.told))["faults"].values()) < before + calls:
        assert not answer.done(), await answer
    assert told["open"], told
    await asyncio.sleep(0.2)  # it is in the middle of its work
    client.close()
    left = time.monotonic()
    with suppress(ValueError):
        await answer
    while (told := await asyncio.to_thread(upstream.told))["open"]:
        pass
    return float(told["left_at"]) - left


async def main() -> None:
    options = arguments(__doc__)
    rows = []
    with (
        mock() as upstream,
        tempfile.TemporaryDirectory() as folder,
        served(upstream.config(Path(folder), MIXTURES)) as server,
    ):
        for label, mixture, calls in (("while proposals are made", "held", 3), ("while the answer is read", "read", 2)):
            worst = max([await gone(server, upstream, mixture, calls) for _ in range(options.runs)])
            rows.append({"the client goes": label, "all calls ended after ms, at worst": 1000 * worst})
    report("gone", rows, options)


if __name__ == "__main__":
    run(main())
