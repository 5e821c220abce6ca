"""A response as it grows: pieces of a run folded into items, and the events of a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ....trace.narration import Piece
from ..common import ProposalRenderer, new_id


class ResponseBuilder:
    """Builds the output of a response. Every method returns the events of what it changed."""

    def __init__(self, head: Mapping[str, Any], renderer: ProposalRenderer, custom: frozenset[str]) -> None:
        self.output: list[dict[str, Any]] = []
        self.has_answer = False  # some text of the answer, or of the model's own reasoning, was added
        self._head = dict(head)
        self._renderer = renderer
        self._custom = custom
        self._count = 0
        self._open: dict[str, Any] | None = None
        self._proposer: int | None = None

    def begin(self) -> bytes:
        """Return the first events, once."""
        if self._count:
            return b""
        return self.state("response.created") + self.state("response.in_progress")

    def state(self, kind: str, **fields: Any) -> bytes:
        """Return an event with the whole response in its present state."""
        return self._event(kind, response=self.whole(**fields))

    def whole(self, **fields: Any) -> dict[str, Any]:
        """Return the response in its present state."""
        return {**self._head, "output": self.output, **fields}

    def add(self, pieces: Iterable[Piece]) -> bytes:
        """Add pieces to the output."""
        out = b""
        for piece in pieces:
            content, reasoning = self._renderer.split(piece)
            self.has_answer = self.has_answer or piece.kind != "proposal"
            if content:
                out += self._text(content)
            if reasoning:
                out += self._reasoning(reasoning, piece.proposer)
        return out

    def close(self, logprobs: Any = None) -> bytes:
        """End the text and the reasoning."""
        rest = self._renderer.close()
        return (self._text(rest) if rest else b"") + self._close(logprobs)

    def fail(self, reason: Mapping[str, str]) -> bytes:
        """End the response with an error."""
        out = self.begin() + self._close(status="incomplete")
        return out + self.state("response.failed", status="failed", error=reason)

    def call(self, call: Mapping[str, Any]) -> bytes:
        """Add a tool call."""
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if name in self._custom:
            kind, field, event, text = "custom_tool_call", "input", "custom_tool_call_input", _input(arguments)
        else:
            kind, field, event, text = "function_call", "arguments", "function_call_arguments", arguments
        item = {
            "id": new_id("fc_"),
            "type": kind,
            "status": "in_progress",
            "call_id": call["id"],
            "name": name,
            field: "",
        }
        out = self._begin(item)
        position = self._position()
        out += self._event(f"response.{event}.delta", **position, delta=text)
        item[field] = text
        name_field = {"name": name} if kind == "function_call" else {}
        out += self._event(f"response.{event}.done", **position, **name_field, **{field: text})
        return out + self._close()

    def _text(self, text: str) -> bytes:
        out = b""
        if self._open is None or self._open["type"] != "message":
            item: dict[str, Any] = {
                "id": new_id("msg_"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            out = self._close() + self._begin(item)
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            out += self._event("response.content_part.added", **self._position(), content_index=0, part=part)
            item["content"] = [part]
        assert self._open
        self._open["content"][0]["text"] += text
        return out + self._event(
            "response.output_text.delta", **self._position(), content_index=0, delta=text, logprobs=[]
        )

    def _reasoning(self, text: str, proposer: int | None) -> bytes:
        out = b""
        if self._open is None or self._open["type"] != "reasoning":
            out = self._close() + self._begin({"id": new_id("rs_"), "type": "reasoning", "summary": []})
        assert self._open
        summary = self._open["summary"]
        if not summary or self._proposer != proposer:
            out += self._close_summary()
            self._proposer = proposer
            part = {"type": "summary_text", "text": ""}
            out += self._event(
                "response.reasoning_summary_part.added", **self._position(), summary_index=len(summary), part=part
            )
            summary.append(part)
        summary[-1]["text"] += text
        return out + self._event(
            "response.reasoning_summary_text.delta", **self._position(), summary_index=len(summary) - 1, delta=text
        )

    def _close_summary(self) -> bytes:
        assert self._open
        if not (summary := self._open["summary"]):
            return b""
        position = {**self._position(), "summary_index": len(summary) - 1}
        return self._event("response.reasoning_summary_text.done", **position, text=summary[-1]["text"]) + self._event(
            "response.reasoning_summary_part.done", **position, part=summary[-1]
        )

    def _begin(self, item: dict[str, Any]) -> bytes:
        self.output.append(item)
        self._open = item
        return self._event("response.output_item.added", output_index=len(self.output) - 1, item=item)

    def _close(self, logprobs: Any = None, status: str = "completed") -> bytes:
        if (item := self._open) is None:
            return b""
        out = b""
        if item["type"] == "reasoning":
            out = self._close_summary()
        elif item["type"] == "message":
            part = item["content"][0]
            part["logprobs"] = (logprobs or {}).get("content") or []
            position = {**self._position(), "content_index": 0}
            out = self._event("response.output_text.done", **position, text=part["text"], logprobs=part["logprobs"])
            out += self._event("response.content_part.done", **position, part=part)
        if "status" in item:
            item["status"] = status
        out += self._event("response.output_item.done", output_index=len(self.output) - 1, item=item)
        self._open = None
        return out

    def _position(self) -> dict[str, Any]:
        assert self._open
        return {"item_id": self._open["id"], "output_index": len(self.output) - 1}

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._count, **fields}
        self._count += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"


def _input(arguments: str) -> str:
    """Return the plain text in the arguments of a custom tool, which the model sees as a function of one `input`."""
    try:
        value = orjson.loads(arguments)
    except ValueError:
        return arguments
    return value["input"] if isinstance(value, dict) and isinstance(value.get("input"), str) else arguments
