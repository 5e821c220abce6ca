"""A model asked in a task of its own, and what its run notes meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import moa
from moa import Message, Note, Request, Response


def asking(model: moa.Model, question: str, events: list[moa.Event] | None = None) -> asyncio.Task[Response]:
    request = Request((Message("user", question),))
    return asyncio.create_task(moa.generate(model, request, None if events is None else events.append))


async def idle() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def notes(events: list[moa.Event]) -> list[tuple[str, Any]]:
    return [(one.kind, one.data.as_json()) for one in events if isinstance(one, Note)]
