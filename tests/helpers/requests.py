"""A generation in its own task, and the notes of its run."""

from __future__ import annotations

import asyncio
from typing import Any

import moa
from moa import Message, Note, Request, Response


def start(model: moa.Model, question: str, events: list[moa.Event] | None = None) -> asyncio.Task[Response]:
    request = Request((Message("user", question),))
    return asyncio.create_task(moa.generate(model, request, None if events is None else events.append))


async def idle() -> None:
    """Let every task that can proceed do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def notes(events: list[moa.Event]) -> list[tuple[str, Any]]:
    return [(one.kind, one.data.as_json()) for one in events if isinstance(one, Note)]
