"""How proposals are shown while a client waits: as reasoning, or in the content between tags."""

from __future__ import annotations

from collections.abc import Iterable

from ...trace.narration import Piece
from ..service import Show

_OPENING = {"think": "<think>\n", "details": "<details>\n<summary>Proposals</summary>\n\n"}
_CLOSING = {"think": "\n</think>\n\n", "details": "\n</details>\n\n"}


class ProposalRenderer:
    """Pieces turned into the content and the reasoning of a reply."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._open = False

    def split(self, piece: Piece) -> tuple[str, str]:
        """The content and the reasoning in a piece, one of the two."""
        if piece.kind == "text":
            return self.close() + piece.text, ""
        if self._show not in _OPENING:
            return "", piece.text
        opening = "" if self._open else _OPENING[self._show]
        self._open = True
        return opening + piece.text, ""

    def merged(self, pieces: Iterable[Piece]) -> list[tuple[str, str]]:
        """The content and the reasoning in the pieces, one of the two in each pair, neighbours of a kind together."""
        told: list[tuple[str, str]] = []
        for piece in pieces:
            content, thought = self.split(piece)
            if told and bool(told[-1][0]) == bool(content):
                told[-1] = (told[-1][0] + content, told[-1][1] + thought)
            elif content or thought:
                told.append((content, thought))
        return told

    def close(self) -> str:
        """The end of the proposals, where they stand in the content and the answer has not begun."""
        if not self._open:
            return ""
        self._open = False
        return _CLOSING[self._show]
