"""Events folded into a tree: who was asked what, when the words came, what they cost, what was lost.

The terminal, the JSON output and the doctor all read this one fold, so they cannot tell different stories.
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
    """One call, or one layer. Times are in seconds since the run began."""

    start: SpanStart
    children: list[Node] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    end: SpanEnd | None = None
    first_word: float | None = None
    _words: dict[TextKind, list[str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its words so far, or the whole answer once it has ended."""
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        """The model's own thinking so far."""
        return self._joined("reasoning")

    @property
    def is_call(self) -> bool:
        """Whether this is a call to one model, not a layer or a mixture, which only hold calls."""
        return self.start.role not in ("layer", "section") and not self.children

    @property
    def usage(self) -> Usage | None:
        """What it used, with everything below it; `None` while it goes on or when nobody knows."""
        return self.end.usage if self.end else None

    @property
    def error(self) -> str | None:
        """Why it failed, or `None`."""
        return self.end.error if self.end else None

    def notes_of(self, kind: type[AnyNote]) -> list[AnyNote]:
        """Return its notes of one kind, in order."""
        return [note.data for note in self.notes if isinstance(note.data, kind)]

    def hear(self, delta: TextDelta) -> None:
        """Take in some words."""
        if self.first_word is None:
            self.first_word = delta.time
        self._words.setdefault(delta.kind, []).append(delta.text)

    def void(self) -> None:
        """Forget the words so far: they are said again."""
        self._words.clear()
        self.first_word = None

    def close(self, end: SpanEnd) -> None:
        """Take in its end; what that says of the words is so."""
        self.end = end
        if end.text is not None:
            self._words["text"] = [end.text]

    def _joined(self, kind: TextKind) -> str:
        words = self._words.get(kind)
        if not words:
            return ""
        words[:] = ["".join(words)]  # so that what is read again and again is not joined again and again
        return words[0]

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, in the order it began."""
        yield self
        for child in self.children:
            yield from child.walk()


class Trace:
    """A run as a tree. Feed it every event; it is true at any moment, also while the run goes on."""

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
        """Take in the next event of the run."""
        if event.time > self.time:
            self.time = event.time
        match event:
            case TextDelta():
                self._nodes[event.span].hear(event)
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
        """The node of a span id."""
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
        """The run as one JSON object. Times in seconds, cost in US dollars or null when unknown."""
        assert self.root
        estimates = self.root.notes_of(notes.Estimated)
        return {
            "run": self.root.start.run,
            "model": response.model,
            "answer": response.text,
            "finish_reason": response.finish_reason,
            **({"fallback": response.fallback} if response.fallback else {}),
            "usage": used(response.usage),
            "references": [_reference(reference) for reference in response.references],
            "lost": [{"model": one.model, "layer": one.layer, "error": one.error} for one in self.lost],
            **({"early_exits": [note.as_json() for note in self.early_exits]} if self.early_exits else {}),
            **({"estimate": estimates[0].as_json()} if estimates else {}),
            "timing": {"total": self.time, "first_word": self.first_word},
        }


def used(usage: Usage) -> UsedJSON:
    """Tokens and cost as JSON."""
    told: UsedJSON = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost": usage.cost,
    }
    if usage.estimated:
        told["estimated"] = True
    return told


def _reference(response: Response) -> dict[str, Any]:
    return {
        "model": response.model,
        "text": response.text,
        "usage": used(response.usage),
        "references": [_reference(reference) for reference in response.references],
    }
