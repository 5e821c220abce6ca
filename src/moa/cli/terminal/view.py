"""Runs a request, or replays a stored run, with a view that receives every event and is redrawn regularly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from ...events import Event
from ...model import Model
from ...sinks import EventSink
from ...span import StreamMode
from ...streaming import stream
from ...types import Request, Response

INTERVAL = 0.08
"""Seconds between two redraws, unless drawing takes long."""


class View(Protocol):
    """Shows a run. `words` says whose text it shows while it streams."""

    @property
    def words(self) -> StreamMode: ...

    def add(self, event: Event) -> None:
        """Process an event. Called during the run, so it must be fast."""
        ...

    def draw(self) -> None:
        """Draw the current state."""
        ...

    def close(self, response: Response | None) -> None:
        """Show the final state. `response` is the answer, if there is one."""
        ...


async def watch(model: Model, request: Request, view: View, emit: EventSink | None = None) -> Response:
    """Run a request and show it. `emit` receives every event too. Raises what the model raises."""
    response = None
    try:
        async with stream(model, request, view.words, emit=emit) as events:
            drawing = asyncio.create_task(_keep_drawing(view))
            try:
                async for event in events:
                    view.add(event)
                    if drawing.done():
                        await drawing  # raises if the terminal is gone
            finally:
                drawing.cancel()
            response = events.response
    finally:
        view.close(response)
    return response


async def watch_again(events: Iterable[Event], view: View, response: Response | None, pace: float | None) -> None:
    """Show a stored run at `pace` times its speed, or at once. `response` is its answer, if there was one."""
    began = time.perf_counter()
    drawing = asyncio.create_task(_keep_drawing(view)) if pace else None
    try:
        for event in events:
            if pace and (wait := event.time / pace - (time.perf_counter() - began)) > 0:
                await asyncio.sleep(wait)
            view.add(event)
            if drawing and drawing.done():
                await drawing
    finally:
        if drawing:
            drawing.cancel()
        view.close(response)


async def _keep_drawing(view: View) -> None:
    while True:
        began = time.perf_counter()
        view.draw()
        await asyncio.sleep(max(INTERVAL, 3 * (time.perf_counter() - began)))
