"""Views of a run's tree: the response of a call, what it was sent, the proposals of each layer, its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from .. import notes
from ..prompts.escaping import position
from ..types import Response, Usage
from ..wire.chat_completions import message_to_json
from .tree import Node, usage_json

if TYPE_CHECKING:
    from ..json_types import CallJSON


def response_of(node: Node, references: Sequence[Response] = ()) -> Response:
    """Return the response of a call, or its text so far if it has not ended. `references` are those it was sent."""
    return Response(
        node.start.model,
        node.text,
        node.usage or Usage(cost=None),
        (node.end and node.end.finish_reason) or "stop",
        _final_proposals(node) or tuple(references),
        node.reasoning,
        fallback=_fallback(node),
    )


@dataclass
class LayerView:
    """A layer of a mixture that began: its calls, and the indexes of the proposers that were lost."""

    number: int
    calls: list[Node] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    @property
    def answered(self) -> list[Node]:
        """The call of each proposal, by index. A proposer that reads a few references at a time has several calls; the
        last one is the proposal."""
        calls = [call for call in self.calls if call.end and not call.error and call.start.index not in self.lost]
        last = {proposer(call): call for call in calls}
        return sorted(last.values(), key=lambda call: call.start.index or 0)


def layers(mixture: Node) -> list[LayerView]:
    """Return the layers of a mixture that began. Proposers without a span around their layer count, too."""
    found: dict[int, LayerView] = {}
    for child in mixture.children:
        number = child.start.layer
        if number is None or mixture.start.role == "layer" or child.start.role not in ("layer", "proposer"):
            continue
        layer = found.setdefault(number, LayerView(number))
        layer.calls += child.children if child.start.role == "layer" else [child]
        layer.lost |= {note.index for note in child.notes_of(notes.ProposalLost)}
    return list(found.values())


def proposer(call: Node) -> object:
    """Return what several calls of one proposer, or of one other model, have in common."""
    return call.start.index if call.start.index is not None else (call.start.role, call.start.model)


def proposals(mixture: Node) -> list[list[tuple[Node, Response]]]:
    """Return the proposals of each layer with their calls, in the order in which they were handed on."""
    made: list[list[tuple[Node, Response]]] = []
    references: tuple[Response, ...] = ()
    for layer in layers(mixture):
        calls = [(call, response_of(call, references)) for call in layer.answered]
        later = [child for child in mixture.children if child.start.layer is None or child.start.layer > layer.number]
        made.append(_as_read(calls, later))
        references = tuple(response for _, response in made[-1]) or references
    return made


def messages_sent(call: Node) -> list[Mapping[str, Any]]:
    """Return the conversation that a call was really sent, as JSON; empty if it is unknown."""
    for note in reversed(call.notes_of(notes.RequestRewritten)):
        return list(note.messages)
    request = call.start.request
    return [message_to_json(message) for message in request.messages] if request else []


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message of `messages_sent`. Other parts are named by their type, as in `[image_url]`."""
    content = message["content"] or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", f"[{part['type']}]") for part in content)


def call_json(node: Node) -> CallJSON:
    """Return a call and all below it as JSON. Times are in seconds since the run began, costs in US dollars."""
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
        **({"usage": usage_json(usage)} if usage else {}),
        **({"text": node.text} if node.text else {}),
        **(
            {"notes": [{"time": note.time, "kind": note.kind, **note.data.as_json()} for note in node.notes]}
            if node.notes
            else {}
        ),
        **({"calls": [call_json(child) for child in node.children]} if node.children else {}),
    }
    return cast("CallJSON", call)  # the fields of a note are those of its kind


def _final_proposals(mixture: Node) -> tuple[Response, ...]:
    """Return the proposals that the answer of a mixture was made of."""
    return next((tuple(response for _, response in made) for made in reversed(proposals(mixture)) if made), ())


def _as_read(made: list[tuple[Node, Response]], later: Sequence[Node]) -> list[tuple[Node, Response]]:
    """Return the proposals in the order in which they stand in the first prompt that has them."""
    requests = [node.start.request for stage in later for node in stage.walk() if node.start.request]
    if not requests:
        return made
    prompt = "\n".join(message.text for message in requests[0].messages)
    positions = [position(prompt, response) for _, response in made]
    if -1 in positions or len(set(positions)) < len(positions):
        return made
    return [pair for _, pair in sorted(zip(positions, made, strict=True), key=lambda ordered: ordered[0])]


def _fallback(node: Node) -> str | None:
    """Return why the answer of a mixture is not its aggregator's, as in `Response.fallback`."""
    if not any(child.start.role == "layer" for child in node.children):
        return None
    for note in reversed(node.notes):
        match note.data:
            case notes.Fallback(error=error, model=str(model)):
                return f"{error}; this is the proposal of {model}"
            case notes.AnswerFlawed(flaw=flaw):
                return f"{flaw}; it was streamed already, so it is kept"
    return None
