"""Event sinks: the receivers of a run's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .events import Event

EventSink = Callable[[Event], None]
"""Receives each event as it happens. It is called in the middle of the run, so it must be quick.

It may be a `HeaderSource` too.
"""


@runtime_checkable
class HeaderSource(Protocol):
    """An event sink with HTTP headers for each call, such as a `traceparent`."""

    def headers(self, span: str) -> Mapping[str, str]:
        """Return the headers to send with the call of this span."""
        ...


@dataclass(frozen=True)
class Tee:
    """An event sink that passes every event to several sinks, in their order."""

    sinks: tuple[EventSink, ...]

    def __call__(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)

    def headers(self, span: str) -> Mapping[str, str]:
        """Return the headers of all sinks."""
        return {name: value for sink in self.sinks for name, value in headers(sink, span).items()}


def tee(*sinks: EventSink | None) -> EventSink:
    """Return one sink for all of these, without those that are `None`."""
    given = [sink for sink in sinks if sink is not None]
    flat = [inner for sink in given for inner in (sink.sinks if isinstance(sink, Tee) else (sink,))]
    return flat[0] if len(flat) == 1 else Tee(tuple(flat))


def headers(sink: EventSink, span: str) -> Mapping[str, str]:
    """Return the HTTP headers that an event sink wants sent with the call of this span."""
    if issubclass(type(sink), HeaderSource):  # unlike `isinstance`, this is cached for protocols
        return sink.headers(span)  # type: ignore[attr-defined, no-any-return]
    return {}
