"""What a run answered, out of its events: the response as its caller got it, with the tree of its references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .events import Event
from .trace import Node, Trace, used
from .types import Response, Usage


def folded(events: Iterable[Event]) -> Trace:
    """The trace of a run."""
    trace = Trace()
    for event in events:
        trace.add(event)
    return trace


def recalled(node: Node, read: Sequence[Response] = ()) -> Response:
    """The response of a call; of one that did not come to its end, what it had said. `read` are the references that it
    was shown."""
    return Response(
        node.start.model,
        node.text,
        node.usage or Usage(cost=None),
        (node.end and node.end.finish_reason) or "stop",
        _proposals(node) or tuple(read),
        node.reasoning,
        fallback=_fallback(node),
    )


def proposals(layer: Node, read: Sequence[Response] = ()) -> list[tuple[Node, Response]]:
    """The calls of a layer whose answers its readers were shown, in the order they were shown."""
    last = {call.start.index: call for call in layer.children if call.end and not call.error}
    ordered = [last[index] for index in sorted(last, key=lambda index: index or 0)]
    return [(call, recalled(call, read)) for call in ordered]


def told(node: Node) -> dict[str, Any]:
    """A call and all below it as JSON. Times in seconds since the run began, cost in US dollars, null when unknown."""
    start, usage = node.start, node.usage
    known: dict[str, Any] = {
        "span": start.span,
        "role": start.role,
        "model": start.model,
        "layer": start.layer,
        "index": start.index,
        "started": start.time,
        "first_word": node.first_word,
        "ended": node.end.time if node.end else None,
        "error": node.error,
        "finish_reason": node.end.finish_reason if node.end else None,
    }
    return {
        **{key: value for key, value in known.items() if value is not None},
        **({"usage": used(usage)} if usage else {}),
        **({"text": node.text} if node.text else {}),
        **(
            {"notes": [{"time": note.time, "kind": note.kind, **note.data} for note in node.notes]}
            if node.notes
            else {}
        ),
        **({"calls": [told(child) for child in node.children]} if node.children else {}),
    }


def _proposals(mixture: Node) -> tuple[Response, ...]:
    """The proposals that the answer of a mixture was made of."""
    references: tuple[Response, ...] = ()
    for place, layer in enumerate(mixture.children):
        if layer.start.role == "layer":
            made = tuple(response for _, response in proposals(layer, references))
            references = _as_read(made, mixture.children[place + 1 :]) or references
    return references


def _as_read(made: tuple[Response, ...], later: Sequence[Node]) -> tuple[Response, ...]:
    """The proposals in the order in which they stand in the prompt of whoever read them first."""
    readers = [node.start.request for stage in later for node in stage.walk() if node.start.request]
    if not readers:
        return made
    prompt = "\n".join(message.text for message in readers[0].messages)
    places = [prompt.find(response.text) for response in made]
    if -1 in places or len(set(places)) < len(places):
        return made
    return tuple(response for _, response in sorted(zip(places, made, strict=True), key=lambda pair: pair[0]))


def _fallback(node: Node) -> str | None:
    """Why the answer of a mixture is not its aggregator's, as `Response.fallback` says it."""
    if not any(child.start.role == "layer" for child in node.children):
        return None
    for note in reversed(node.notes):
        if note.kind == "fallback" and "model" in note.data:
            return f"{note.data['error']}; this is the proposal of {note.data['model']}"
        if note.kind == "flaw":
            return f"{note.data['flaw']}; it was being read, so it stands"
    return None
