"""What a client reads while it waits: the proposals one after another, then the answer.

Proposers write at the same time, but a client reads one stream. The first to write is live; the text of the others is
buffered until it ends. Then those that are complete follow whole, and the one with the most text becomes live. When the
answer begins, the rest of the proposals is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .. import notes
from ..events import Event, Note, SpanEnd, SpanStart, TextDelta

PieceKind = Literal["proposal", "reasoning", "text"]
"""Text of a proposal (with its label), the reasoning of the model that answers, or text of the answer."""


class Piece(NamedTuple):
    """Some text for the client. `proposer` is the index of the proposal among all, from 0."""

    kind: PieceKind
    text: str
    proposer: int | None = None


@dataclass(eq=False)
class _Proposal:
    index: int
    label: str
    """The heading, until it is written."""
    buffered: list[str] = field(default_factory=list)
    streamed: bool = False


class Narration:
    """A fold of events into pieces. It follows the proposers of the root mixture only, not those of inner mixtures."""

    def __init__(self, proposals: bool = True) -> None:
        self._enabled = proposals
        self._root: str | None = None
        self._layers: dict[str, int] = {}
        self._proposals: dict[str, _Proposal] = {}
        self._live: _Proposal | None = None
        self._finished: list[_Proposal] = []

    def add(self, event: Event) -> list[Piece]:
        """Add an event, and return what the client can read now."""
        match event:
            case TextDelta(answer=True, kind="text"):
                self._enabled = False
                return [Piece("text", event.text)]
            case TextDelta(answer=True, kind="reasoning"):
                return [Piece("reasoning", event.text)]
            case _ if self._enabled:
                return self._follow(event)
        return []

    def _follow(self, event: Event) -> list[Piece]:
        match event:
            case SpanStart(parent=None):
                self._root = event.span
            case SpanStart(role="layer") if event.parent == self._root:
                self._layers[event.span] = event.layer or len(self._layers) + 1
            case SpanStart(role="proposer") if event.parent in self._layers:
                number = self._layers[event.parent]
                label = event.model if number == 1 else f"layer {number} · {event.model}"
                self._proposals[event.span] = _Proposal(len(self._proposals), label)
            case TextDelta(kind="text") if proposal := self._proposals.get(event.span):
                proposal.buffered.append(event.text)
                proposal.streamed = True
                self._live = self._live or proposal
                return self._flush(proposal) if proposal is self._live else []
            case Note(data=notes.Retry()) if proposal := self._proposals.get(event.span):
                return self._void(proposal)
            case SpanEnd() if proposal := self._proposals.get(event.span):
                return self._end(proposal, event)
        return []

    def _flush(self, proposal: _Proposal) -> list[Piece]:
        text = "".join(proposal.buffered)
        proposal.buffered.clear()
        if proposal.label:
            text, proposal.label = f"[{proposal.label}]\n{text}", ""
        return [Piece("proposal", text, proposal.index)] if text else []

    def _void(self, proposal: _Proposal) -> list[Piece]:
        proposal.buffered.clear()
        if proposal is self._live and not proposal.label:
            return [Piece("proposal", "\n(cut off, asked again)\n", proposal.index)]
        return []

    def _end(self, proposal: _Proposal, event: SpanEnd) -> list[Piece]:
        if event.error is not None:
            lost = f"(lost: {event.error.splitlines()[0]})"
            proposal.buffered.append(f"\n{lost}" if proposal.streamed else lost)
        elif not proposal.streamed:
            proposal.buffered.append(event.text or "")
        proposal.buffered.append("\n\n")
        self._live = self._live or proposal
        if proposal is not self._live:
            self._finished.append(proposal)
            return []
        pieces = self._flush(proposal)
        for finished in self._finished:
            pieces += self._flush(finished)
        self._finished.clear()
        writing = [other for other in self._proposals.values() if other.buffered]
        self._live = max(writing, key=lambda other: len(other.buffered), default=None)
        return pieces + (self._flush(self._live) if self._live else [])
