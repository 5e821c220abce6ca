"""Who listens to a run: one, or several at once; and what they send along with its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .events import Event

EventSink = Callable[[Event], None]
"""Takes each event as it happens. It is called in the middle of the run, so it must be quick.

A method `headers` says what goes along with each call, see there.
"""


@dataclass(frozen=True)
class Tee:
    """Tells every event to each listener, in their order."""

    emits: tuple[EventSink, ...]

    def __call__(self, event: Event) -> None:
        for emit in self.emits:
            emit(event)

    def headers(self, span: str) -> Mapping[str, str]:
        """What any of them sends along, see `headers`."""
        return {name: value for emit in self.emits for name, value in headers(emit, span).items()}


def tee(*emits: EventSink | None) -> EventSink:
    """One listener that is all of these; `None` is nobody."""
    there = [emit for emit in emits if emit is not None]
    every = [one for emit in there for one in (emit.emits if isinstance(emit, Tee) else (emit,))]
    return every[0] if len(every) == 1 else Tee(tuple(every))


def headers(emit: EventSink, span: str) -> Mapping[str, str]:
    """The HTTP headers that a listener sends along with the call of this span (its method `headers`), such as the
    `traceparent` by which the upstream's own trace is joined to ours."""
    told = getattr(emit, "headers", None)
    sent: Mapping[str, str] = told(span) if told else {}
    return sent
