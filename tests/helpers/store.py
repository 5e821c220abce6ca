"""A mixture whose runs are stored, and direct access to the stored rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import moa
from moa import Event, Message, Request, Scripted, SpanEnd, SpanStart, Store, Usage

QUESTION = Request((Message("user", "Why is the sky blue? " * 10),))


RED, BLUE = "The sky is red at dusk, as short waves are gone by then. " * 3, "Short waves scatter more in air. " * 4


def panel(*proposers: moa.Model) -> moa.Mixture:
    return moa.Mixture((moa.Layer(proposers),), moa.Synthesize(Scripted("judge", "Air scatters blue. " * 5)), "panel")


PANEL = panel(Scripted("a", RED, usage=Usage(10, 5, 0.25)), Scripted("b", BLUE))


async def ask(store: Store, model: moa.Model = PANEL, request: Request = QUESTION) -> list[Event]:
    """Run the model with all words streamed, and return the emitted events."""
    emitted: list[Event] = []

    def emit(event: Event) -> None:
        emitted.append(event)
        store.emit(event)

    try:
        await moa.generate(model, request, emit, "all")
    except moa.ModelError:
        assert isinstance(emitted[-1], SpanEnd)
    return emitted


def run_id(emitted: Sequence[Event]) -> str:
    assert isinstance(emitted[0], SpanStart)
    return emitted[0].run


def rows(path: Path, query: str) -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def damage(path: Path, statement: str, *values: object) -> None:
    """Modify the database directly. The run that was stored first has number 1."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement, values)
        db.commit()
