"""What tests with virtual time may rely on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from helpers.virtual_time import virtual_time

SLEEP = time.sleep


def test_waiting_takes_no_time_and_a_busy_machine_does_not_make_time_pass() -> None:
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        SLEEP(0.02)  # as if another process had the processor
        await asyncio.sleep(seconds)
        ended.append(name)

    async def wait_for_all(clock: Callable[[], float]) -> float:
        began = clock()
        async with asyncio.timeout(3600.01):
            await asyncio.gather(wait("hour", 3600), wait("moment", 0.01), wait("minute", 60))
        return clock() - began

    before = time.monotonic()
    with virtual_time() as clock:
        assert asyncio.run(wait_for_all(clock)) == pytest.approx(3600, abs=0.001)
        assert time.monotonic() == time.perf_counter() == clock()
    assert ended == ["moment", "minute", "hour"]
    assert before < time.monotonic() < before + 1800


def test_a_deadline_passes_for_what_never_comes() -> None:
    async def wait() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 3600)

    with virtual_time(), pytest.raises(TimeoutError):
        asyncio.run(wait())
