"""A client that disconnects ends its upstream calls at once, during the proposals and during the answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from client import Client, request
from common import Mock, Served, mock, served

MIXTURES = """
[mixtures.held]
proposers = ["mock:stall-a", "mock:stall-b", "mock:stall-c"]
aggregator = "mock:d0.0"
[mixtures.read]
proposers = ["mock:d0.0"]
aggregator = "mock:w10000-p0.01"
"""

LIMIT = 30.0
"""Seconds within which all calls must end. It takes milliseconds, but a process may have to wait on a busy machine."""


async def seconds_until_calls_end(server: Served, upstream: Mock, mixture: str, calls: int) -> float:
    """Disconnect a client while `calls` upstream calls are open; return how long the last of them lasted."""
    client = await Client.to(server.url)
    before = sum(upstream.state()["faults"].values())
    answer = client.ask(request(mixture))
    while sum((state := await asyncio.to_thread(upstream.state))["faults"].values()) < before + calls:
        assert not answer.done(), await answer
    assert state["open"], state
    client.close()
    left = time.monotonic()
    with suppress(ValueError):
        await answer
    while (state := await asyncio.to_thread(upstream.state))["open"]:
        assert time.monotonic() < left + LIMIT, state
    return float(state["left_at"]) - left


@pytest.mark.parametrize(("mixture", "calls"), [("held", 3), ("read", 2)], ids=["proposals", "answer"])
async def test_every_call_ends_when_its_client_disconnects(tmp_path: Path, mixture: str, calls: int) -> None:
    with mock() as upstream, served(upstream.config(tmp_path, MIXTURES)) as server:
        for _ in range(3):
            assert await seconds_until_calls_end(server, upstream, mixture, calls) < LIMIT
