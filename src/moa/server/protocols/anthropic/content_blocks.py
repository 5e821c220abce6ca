"""Anthropic's content blocks, with proposals as thinking, and the events of a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import orjson

from ....trace.narration import Piece

SIGNATURE = "bW9h"
"""Clients send a thinking block back only with a signature. Thinking is not read here, so any text does."""

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event, named by its type."""
    return f"event: {data['type']}\n".encode() + b"data: " + orjson.dumps(data) + b"\n\n"


class ContentBlockStream:
    """The events of content blocks as they grow. One block is open at a time; every proposer begins a new one."""

    def __init__(self) -> None:
        self._count = 0
        self._open: tuple[str, int | None] | None = None
        self.has_text = False  # some text of the answer was sent

    def add(self, pieces: Iterable[Piece]) -> bytes:
        """Return the events for more pieces."""
        return b"".join(
            self._append(block, "".join(piece.text for piece in group)) for block, group in groupby(pieces, key=_block)
        )

    def tool_use(self, call: Mapping[str, Any]) -> bytes:
        """Return the events of a whole tool call."""
        function = call["function"]
        out = self.close()
        out += self._start({"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}})
        out += self._delta({"type": "input_json_delta", "partial_json": function["arguments"] or "{}"})
        return out + self._stop()

    def close(self) -> bytes:
        """Return the events that end the open block, if there is one."""
        if self._open is None:
            return b""
        kind, self._open = self._open[0], None
        signed = self._delta({"type": "signature_delta", "signature": SIGNATURE}) if kind == "thinking" else b""
        return signed + self._stop()

    def _append(self, block: tuple[str, int | None], text: str) -> bytes:
        kind = block[0]
        out = b""
        if block != self._open:
            out = self.close() + self._start(thinking("", "") if kind == "thinking" else {"type": "text", "text": ""})
            self._open = block
        self.has_text = self.has_text or kind == "text"
        return out + self._delta({"type": f"{kind}_delta", kind: text})

    def _start(self, block: Mapping[str, Any]) -> bytes:
        self._count += 1
        return event({"type": "content_block_start", "index": self._count - 1, "content_block": block})

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return event({"type": "content_block_delta", "index": self._count - 1, "delta": delta})

    def _stop(self) -> bytes:
        return event({"type": "content_block_stop", "index": self._count - 1})


def thinking_blocks(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """Return proposals as whole thinking blocks."""
    texts = ("".join(piece.text for piece in group) for _, group in groupby(pieces, key=_block))
    return [thinking(text.strip()) for text in texts]


def thinking(text: str, signature: str = SIGNATURE) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _block(piece: Piece) -> tuple[str, int | None]:
    """Return the block that a piece belongs to: its kind and its proposer."""
    return ("text" if piece.kind == "text" else "thinking", piece.proposer)
