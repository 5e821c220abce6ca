"""A response as it grows: pieces of a run folded into items, and the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ....trace.narration import Piece
from ..account import new_id
from ..proposals import ProposalRenderer


class ResponseBuilder:
    """The output of a response. Every method gives the events of what it changed."""

    def __init__(self, head: Mapping[str, Any], shown: ProposalRenderer, custom: frozenset[str]) -> None:
        self.output: list[dict[str, Any]] = []
        self.told = False  # some words of the answer, or of the model's own thinking, were said
        self._head = dict(head)
        self._shown = shown
        self._custom = custom
        self._count = 0
        self._open: dict[str, Any] | None = None
        self._proposer: int | None = None

    def begin(self) -> bytes:
        """The start, said once."""
        if self._count:
            return b""
        return self.state("response.created") + self.state("response.in_progress")

    def state(self, kind: str, **fields: Any) -> bytes:
        """An event about the whole response, with what it says now."""
        return self._event(kind, response=self.whole(**fields))

    def whole(self, **fields: Any) -> dict[str, Any]:
        """The response as it is now."""
        return {**self._head, "output": self.output, **fields}

    def add(self, pieces: Iterable[Piece]) -> bytes:
        told = b""
        for piece in pieces:
            content, thought = self._shown.split(piece)
            self.told = self.told or piece.kind != "proposal"
            if content:
                told += self._text(content)
            if thought:
                told += self._thought(thought, piece.proposer)
        return told

    def close(self, logprobs: Any = None) -> bytes:
        """The end of the words."""
        rest = self._shown.close()
        return (self._text(rest) if rest else b"") + self._close(logprobs)

    def fail(self, reason: Mapping[str, str]) -> bytes:
        """The end, because something went wrong."""
        told = self.begin() + self._close(status="incomplete")
        return told + self.state("response.failed", status="failed", error=reason)

    def call(self, call: Mapping[str, Any]) -> bytes:
        """A call of a tool."""
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if name in self._custom:
            kind, field, event, said = "custom_tool_call", "input", "custom_tool_call_input", _input(arguments)
        else:
            kind, field, event, said = "function_call", "arguments", "function_call_arguments", arguments
        item = {
            "id": new_id("fc_"),
            "type": kind,
            "status": "in_progress",
            "call_id": call["id"],
            "name": name,
            field: "",
        }
        told = self._begin(item)
        place = self._place()
        told += self._event(f"response.{event}.delta", **place, delta=said)
        item[field] = said
        named = {"name": name} if kind == "function_call" else {}
        told += self._event(f"response.{event}.done", **place, **named, **{field: said})
        return told + self._close()

    def _text(self, text: str) -> bytes:
        told = b""
        if self._open is None or self._open["type"] != "message":
            item: dict[str, Any] = {
                "id": new_id("msg_"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            told = self._close() + self._begin(item)
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            told += self._event("response.content_part.added", **self._place(), content_index=0, part=part)
            item["content"] = [part]
        assert self._open
        self._open["content"][0]["text"] += text
        return told + self._event(
            "response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=[]
        )

    def _thought(self, text: str, proposer: int | None) -> bytes:
        told = b""
        if self._open is None or self._open["type"] != "reasoning":
            told = self._close() + self._begin({"id": new_id("rs_"), "type": "reasoning", "summary": []})
        assert self._open
        summary = self._open["summary"]
        if not summary or self._proposer != proposer:
            told += self._close_summary()
            self._proposer = proposer
            part = {"type": "summary_text", "text": ""}
            told += self._event(
                "response.reasoning_summary_part.added", **self._place(), summary_index=len(summary), part=part
            )
            summary.append(part)
        summary[-1]["text"] += text
        return told + self._event(
            "response.reasoning_summary_text.delta", **self._place(), summary_index=len(summary) - 1, delta=text
        )

    def _close_summary(self) -> bytes:
        assert self._open
        if not (summary := self._open["summary"]):
            return b""
        place = {**self._place(), "summary_index": len(summary) - 1}
        return self._event("response.reasoning_summary_text.done", **place, text=summary[-1]["text"]) + self._event(
            "response.reasoning_summary_part.done", **place, part=summary[-1]
        )

    def _begin(self, item: dict[str, Any]) -> bytes:
        self.output.append(item)
        self._open = item
        return self._event("response.output_item.added", output_index=len(self.output) - 1, item=item)

    def _close(self, logprobs: Any = None, status: str = "completed") -> bytes:
        if (item := self._open) is None:
            return b""
        told = b""
        if item["type"] == "reasoning":
            told = self._close_summary()
        elif item["type"] == "message":
            part = item["content"][0]
            part["logprobs"] = (logprobs or {}).get("content") or []
            place = {**self._place(), "content_index": 0}
            told = self._event("response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"])
            told += self._event("response.content_part.done", **place, part=part)
        if "status" in item:
            item["status"] = status
        told += self._event("response.output_item.done", output_index=len(self.output) - 1, item=item)
        self._open = None
        return told

    def _place(self) -> dict[str, Any]:
        assert self._open
        return {"item_id": self._open["id"], "output_index": len(self.output) - 1}

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._count, **fields}
        self._count += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"


def _input(arguments: str) -> str:
    """The plain text that a model put into the arguments of a function, as it was asked to."""
    try:
        value = orjson.loads(arguments)
    except ValueError:
        return arguments
    return value["input"] if isinstance(value, dict) and isinstance(value.get("input"), str) else arguments
