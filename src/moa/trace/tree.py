"""The events of a run folded into a tree of calls, with their text, times, usage and errors.

The terminal, the JSON output, the store and the doctor all read this one fold, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .. import notes
from ..errors import Lost
from ..events import Event, Note, SpanEnd, SpanStart, TextDelta, TextKind
from ..types import Response, Usage

if TYPE_CHECKING:
    from ..json_types import UsedJSON

AnyNote = TypeVar("AnyNote", bound=notes.NoteData)


@dataclass(eq=False)
class Node:
    """A call, or a layer, section or mixture that contains calls. Times are in seconds since the run began."""

    start: SpanStart
    children: list[Node] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    end: SpanEnd | None = None
    first_word: float | None = None
    _text: dict[TextKind, list[str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text so far, or the whole text once the call has ended."""
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        """The model's reasoning so far."""
        return self._joined("reasoning")

    @property
    def is_call(self) -> bool:
        """Whether this is a call to a single model, not a layer or mixture that contains calls."""
        return self.start.role not in ("layer", "section") and not self.children

    @property
    def usage(self) -> Usage | None:
        """The usage of this node and everything below it; `None` while it is running or if it is unknown."""
        return self.end.usage if self.end else None

    @property
    def error(self) -> str | None:
        """The error that ended it, or `None`."""
        return self.end.error if self.end else None

    def notes_of(self, kind: type[AnyNote]) -> list[AnyNote]:
        """Return its notes of one kind, in order."""
        return [note.data for note in self.notes if isinstance(note.data, kind)]

    def append(self, delta: TextDelta) -> None:
        """Add some text."""
        if self.first_word is None:
            self.first_word = delta.time
        self._text.setdefault(delta.kind, []).append(delta.text)

    def void(self) -> None:
        """Discard the text so far: the call is made again."""
        self._text.clear()
        self.first_word = None

    def close(self, end: SpanEnd) -> None:
        """End the node. The text of the end event, if any, replaces the streamed text."""
        self.end = end
        if end.text is not None:
            self._text["text"] = [end.text]

    def _joined(self, kind: TextKind) -> str:
        pieces = self._text.get(kind)
        if not pieces:
            return ""
        pieces[:] = ["".join(pieces)]  # joined once, however often it is read
        return pieces[0]

    def walk(self) -> Iterator[Node]:
        """Yield this node and everything below it, in the order in which it began."""
        yield self
        for child in self.children:
            yield from child.walk()


class Trace:
    """A run as a tree. Add every event to it; it is valid at any moment, also while the run is in progress."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.time = 0.0
        self.first_word: float | None = None
        self.lost: list[Lost] = []
        self.early_exits: list[notes.EarlyExit] = []
        self._nodes: dict[str, Node] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Trace:
        """Return the trace of these events."""
        trace = cls()
        for event in events:
            trace.add(event)
        return trace

    def add(self, event: Event) -> None:
        """Add the next event of the run."""
        if event.time > self.time:
            self.time = event.time
        match event:
            case TextDelta():
                self._nodes[event.span].append(event)
                if self.first_word is None and event.answer and event.kind == "text":
                    self.first_word = event.time
            case SpanStart():
                node = self._nodes[event.span] = Node(event)
                if event.parent is None:
                    self.root = node
                else:
                    self._nodes[event.parent].children.append(node)
            case Note():
                node = self._nodes[event.span]
                node.notes.append(event)
                match event.data:
                    case notes.Retry():
                        node.void()
                    case notes.ProposalLost(model=model, error=error):
                        self.lost.append(Lost(model, node.start.layer, error))
                    case notes.EarlyExit():
                        self.early_exits.append(event.data)
            case SpanEnd():
                self._nodes[event.span].close(event)

    def node(self, span: str) -> Node:
        """Return the node of a span id."""
        return self._nodes[span]

    @property
    def calls(self) -> list[Node]:
        """All calls to a single model, in the order in which they began. A prewarm is not a call."""
        return [node for node in self._leaves if node.start.role != "prewarm"]

    @property
    def prewarms(self) -> list[Node]:
        """The prompts that were read before their calls. They may cost something, too."""
        return [node for node in self._leaves if node.start.role == "prewarm"]

    @property
    def _leaves(self) -> list[Node]:
        return [node for node in self.root.walk() if node.is_call] if self.root else []

    def summary(self, response: Response) -> dict[str, Any]:
        """Return the run as one JSON object. Times are in seconds, costs in US dollars or null if unknown."""
        assert self.root
        estimates = self.root.notes_of(notes.Estimated)
        return {
            "run": self.root.start.run,
            "model": response.model,
            "answer": response.text,
            "finish_reason": response.finish_reason,
            **({"fallback": response.fallback} if response.fallback else {}),
            "usage": usage_json(response.usage),
            "references": [_reference(reference) for reference in response.references],
            "lost": [{"model": lost.model, "layer": lost.layer, "error": lost.error} for lost in self.lost],
            **({"early_exits": [note.as_json() for note in self.early_exits]} if self.early_exits else {}),
            **({"estimate": estimates[0].as_json()} if estimates else {}),
            "timing": {"total": self.time, "first_word": self.first_word},
        }


def usage_json(usage: Usage) -> UsedJSON:
    """Return tokens and cost as JSON."""
    used: UsedJSON = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost": usage.cost,
    }
    if usage.estimated:
        used["estimated"] = True
    return used


def _reference(response: Response) -> dict[str, Any]:
    return {
        "model": response.model,
        "text": response.text,
        "usage": usage_json(response.usage),
        "references": [_reference(reference) for reference in response.references],
    }
