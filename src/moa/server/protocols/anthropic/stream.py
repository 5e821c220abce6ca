"""An answer as Anthropic's content blocks, proposals as thinking, and the events that tell them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import orjson

from ....trace.narration import Piece

SIGNATURE = "bW9h"
"""Clients want a signature on a thinking block to send it back. What comes back is not read, so nothing is signed."""

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def sse(event: Mapping[str, Any]) -> bytes:
    """One server-sent event, named by its type."""
    return f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n"


class ContentBlockStream:
    """Content blocks as they grow. One is open at a time, and a new one begins with every proposer."""

    def __init__(self) -> None:
        self._count = 0
        self._open: tuple[str, int | None] | None = None
        self.told = False  # a word of the answer

    def add(self, pieces: Iterable[Piece]) -> bytes:
        """The events that tell some more words."""
        return b"".join(
            self._words(block, "".join(piece.text for piece in group)) for block, group in groupby(pieces, key=_block)
        )

    def tool_use(self, call: Mapping[str, Any]) -> bytes:
        """The events of a whole tool call."""
        function = call["function"]
        told = self.close()
        told += self._start({"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}})
        told += self._delta({"type": "input_json_delta", "partial_json": function["arguments"] or "{}"})
        return told + self._stop()

    def close(self) -> bytes:
        """The end of the open block, if there is one."""
        if self._open is None:
            return b""
        kind, self._open = self._open[0], None
        signed = self._delta({"type": "signature_delta", "signature": SIGNATURE}) if kind == "thinking" else b""
        return signed + self._stop()

    def _words(self, block: tuple[str, int | None], text: str) -> bytes:
        kind = block[0]
        out = b""
        if block != self._open:
            out = self.close() + self._start(thinking("", "") if kind == "thinking" else {"type": "text", "text": ""})
            self._open = block
        self.told = self.told or kind == "text"
        return out + self._delta({"type": f"{kind}_delta", kind: text})

    def _start(self, block: Mapping[str, Any]) -> bytes:
        self._count += 1
        return sse({"type": "content_block_start", "index": self._count - 1, "content_block": block})

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return sse({"type": "content_block_delta", "index": self._count - 1, "delta": delta})

    def _stop(self) -> bytes:
        return sse({"type": "content_block_stop", "index": self._count - 1})


def thoughts(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """Proposals as whole thinking blocks."""
    words = (("".join(piece.text for piece in group)) for _, group in groupby(pieces, key=_block))
    return [thinking(text.strip()) for text in words]


def thinking(text: str, signature: str = SIGNATURE) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _block(piece: Piece) -> tuple[str, int | None]:
    """Which block a piece belongs to: its kind, and the proposer whose words it has."""
    return ("text" if piece.kind == "text" else "thinking", piece.proposer)
