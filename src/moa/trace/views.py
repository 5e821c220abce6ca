"""What a run answered, out of its events: the response as its caller got it, with the tree of its references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .. import notes
from ..events import Event
from ..prompts.escaping import position
from ..types import Response, Usage
from ..wire.chat_completions import message_to_json
from .tree import Node, Trace, used

if TYPE_CHECKING:
    from ..json_types import CallJSON


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


def layers(mixture: Node) -> list[list[tuple[Node, Response]]]:
    """The proposals of each layer of a mixture that were not lost, in the order in which they were handed on."""
    made: list[list[tuple[Node, Response]]] = []
    read: tuple[Response, ...] = ()
    for number, layer in enumerate(mixture.children):
        if layer.start.role == "layer":
            last = {call.start.index: call for call in layer.children if call.end and not call.error}
            calls = [(last[index], recalled(last[index], read)) for index in sorted(last, key=lambda index: index or 0)]
            made.append(_as_read(calls, mixture.children[number + 1 :]))
            read = tuple(response for _, response in made[-1]) or read
    return made


def sent(call: Node) -> list[Mapping[str, Any]]:
    """The conversation that a call was really sent, as JSON has it; none where that is not known."""
    changed = next((note.messages for note in call.notes_of(notes.RequestRewritten)), None)
    if changed is not None:
        return list(changed)
    request = call.start.request
    return [message_to_json(message) for message in request.messages] if request else []


def told(node: Node) -> CallJSON:
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
    call = {
        **{key: value for key, value in known.items() if value is not None},
        **({"usage": used(usage)} if usage else {}),
        **({"text": node.text} if node.text else {}),
        **(
            {"notes": [{"time": note.time, "kind": note.kind, **note.data.as_json()} for note in node.notes]}
            if node.notes
            else {}
        ),
        **({"calls": [told(child) for child in node.children]} if node.children else {}),
    }
    return cast("CallJSON", call)  # the fields of a note are those of its kind


def _proposals(mixture: Node) -> tuple[Response, ...]:
    """The proposals that the answer of a mixture was made of."""
    return next((tuple(response for _, response in made) for made in reversed(layers(mixture)) if made), ())


def _as_read(made: list[tuple[Node, Response]], later: Sequence[Node]) -> list[tuple[Node, Response]]:
    """The proposals in the order in which they stand in the prompt of whoever read them first."""
    readers = [node.start.request for stage in later for node in stage.walk() if node.start.request]
    if not readers:
        return made
    prompt = "\n".join(message.text for message in readers[0].messages)
    places = [position(prompt, response) for _, response in made]
    if -1 in places or len(set(places)) < len(places):
        return made
    return [one for _, one in sorted(zip(places, made, strict=True), key=lambda pair: pair[0])]


def _fallback(node: Node) -> str | None:
    """Why the answer of a mixture is not its aggregator's, as `Response.fallback` says it."""
    if not any(child.start.role == "layer" for child in node.children):
        return None
    for note in reversed(node.notes):
        match note.data:
            case notes.Fallback(error=error, model=str(model)):
                return f"{error}; this is the proposal of {model}"
            case notes.AnswerFlawed(flaw=flaw):
                return f"{flaw}; it was being read, so it stands"
    return None
