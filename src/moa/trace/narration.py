"""What a client reads while it waits: the proposals one after another, then the answer.

Proposers speak at the same time, but a reader follows one voice. The first to speak is live; the others are kept and
told when it ends: those that are complete as a whole, then the one that has said most, live from there. When the answer
begins, nobody waits any more, and what proposals still say is not told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .. import notes
from ..events import Event, Note, SpanEnd, SpanStart, TextDelta

PieceKind = Literal["proposal", "reasoning", "text"]
"""Words of a proposal (with its label), of the answering model's own thinking, or of the answer."""


class Piece(NamedTuple):
    """Some words for the reader. `proposer` is the place of the proposal among all, from 0, where it is one."""

    kind: PieceKind
    text: str
    proposer: int | None = None


@dataclass(eq=False)
class _Voice:
    place: int
    label: str
    waiting: list[str] = field(default_factory=list)
    said: bool = False
    ended: str | None = None  # what is said after its last word


class Narration:
    """A fold of events into pieces. Only the proposers of the mixture that was asked speak, not those inside them."""

    def __init__(self, proposals: bool = True) -> None:
        self._proposals = proposals
        self._root: str | None = None
        self._layers: dict[str, int] = {}
        self._voices: dict[str, _Voice] = {}
        self._live: _Voice | None = None
        self._finished: list[_Voice] = []
        self._several = False

    def add(self, event: Event) -> list[Piece]:
        """What there is to say now."""
        match event:
            case TextDelta(answer=True, kind="text"):
                self._proposals = False
                return [Piece("text", event.text)]
            case TextDelta(answer=True, kind="reasoning"):
                return [Piece("reasoning", event.text)]
            case _ if self._proposals:
                return self._heard(event)
        return []

    def _heard(self, event: Event) -> list[Piece]:
        match event:
            case SpanStart(parent=None):
                self._root = event.span
            case SpanStart(role="layer") if event.parent == self._root:
                self._layers[event.span] = event.layer or len(self._layers) + 1
            case SpanStart(role="proposer") if event.parent in self._layers:
                number = self._layers[event.parent]
                label = event.model if number == 1 else f"layer {number} · {event.model}"
                self._voices[event.span] = _Voice(len(self._voices), label)
            case TextDelta(kind="text") if voice := self._voices.get(event.span):
                voice.waiting.append(event.text)
                voice.said = True
                self._live = self._live or voice
                return self._told(voice) if voice is self._live else []
            case Note(data=notes.Retry()) if voice := self._voices.get(event.span):
                return self._void(voice)
            case SpanEnd() if voice := self._voices.get(event.span):
                return self._end(voice, event)
        return []

    def _told(self, voice: _Voice) -> list[Piece]:
        text = "".join(voice.waiting)
        voice.waiting.clear()
        if voice.label:
            text, voice.label = f"[{voice.label}]\n{text}", ""
        return [Piece("proposal", text, voice.place)] if text else []

    def _void(self, voice: _Voice) -> list[Piece]:
        voice.waiting.clear()
        if voice is self._live and not voice.label:
            return [Piece("proposal", "\n(cut off, asked again)\n", voice.place)]
        return []

    def _end(self, voice: _Voice, event: SpanEnd) -> list[Piece]:
        if event.error is not None:
            voice.waiting.append(
                f"\n(lost: {event.error.splitlines()[0]})" if voice.said else f"(lost: {event.error.splitlines()[0]})"
            )
        elif not voice.said:
            voice.waiting.append(event.text or "")
        voice.waiting.append("\n\n")
        self._live = self._live or voice
        if voice is not self._live:
            self._finished.append(voice)
            return []
        pieces = self._told(voice)
        for waiting in self._finished:
            pieces += self._told(waiting)
        self._finished.clear()
        speaking = [other for other in self._voices.values() if other.waiting]
        self._live = max(speaking, key=lambda other: len(other.waiting), default=None)
        return pieces + (self._told(self._live) if self._live else [])
