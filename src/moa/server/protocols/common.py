"""Parts of replies that several protocols share: token counts, the `moa` object, tool calls and proposals."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired

import orjson
from typing_extensions import TypedDict

from ...errors import BadReply
from ...trace.narration import Piece
from ...trace.tree import Trace
from ...types import Response
from ..service import ActiveRun, Show


class UsageJSON(TypedDict):
    """The `usage` of chat completions and completions."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ExtensionJSON(TypedDict):
    """The `moa` object of a reply: what only a mixture reports."""

    run_id: str
    model: str
    cost: float | None
    early_exits: list[dict[str, Any]]
    unused: list[str]
    members: list[dict[str, Any]]
    provenance: NotRequired[dict[str, Any]]


@dataclass(frozen=True)
class TokenCounts:
    """Tokens over all calls. Those that proposers wrote, and those spent on thinking, are `reasoning`."""

    input: int
    cached: int
    output: int
    reasoning: int


def count_tokens(response: Response, trace: Trace) -> TokenCounts:
    total = response.usage
    proposed = sum(
        node.usage.output_tokens for node in trace.calls if node.usage and not node.start.answer and not node.error
    )
    reasoning = min(proposed + total.reasoning_tokens, total.output_tokens)
    return TokenCounts(total.input_tokens, total.cached_tokens, total.output_tokens, reasoning)


def usage(response: Response, trace: Trace) -> dict[str, Any]:
    """Return the `usage` of chat completions and completions."""
    used = count_tokens(response, trace)
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def extension(active: ActiveRun, unused: Sequence[str] = ()) -> dict[str, Any]:
    """Return the `moa` object of a reply: the run, its cost, lost proposals, each member's part, the options without
    effect, and the provenance if the client wants it."""
    response, trace = active.response, active.trace
    assert trace.root
    return {
        "run_id": trace.root.start.run,
        "model": trace.root.start.model,
        "cost": response.usage.cost,
        "fallback": response.fallback,
        "lost": [{"model": one.model, "layer": one.layer, "error": one.error} for one in trace.lost],
        "early_exits": [note.as_json() for note in trace.early_exits],
        "unused": list(unused),
        "members": [
            {
                "model": node.start.model,
                "role": node.start.role,
                "layer": node.start.layer,
                "input_tokens": node.usage.input_tokens if node.usage else None,
                "output_tokens": node.usage.output_tokens if node.usage else None,
                "cost": node.usage.cost if node.usage else None,
                "seconds": round(node.end.time - node.start.time, 4) if node.end else None,
                "error": node.error,
            }
            for node in trace.calls
        ],
        **({"provenance": active.provenance} if active.provenance else {}),
    }


def finish_reason(response: Response) -> str:
    """Return one of the finish reasons that OpenAI's clients know."""
    if response.tool_calls:
        return "tool_calls"
    return response.finish_reason if response.finish_reason in ("length", "content_filter") else "stop"


def tool_calls(response: Response) -> list[dict[str, Any]]:
    """Return the tool calls, each with an id: a few endpoints leave it out, and every client needs it."""
    return [{**call, "id": call.get("id") or new_id("call_"), "type": "function"} for call in response.tool_calls]


def tool_call(id: str, name: str, arguments: Any) -> dict[str, Any]:
    """Return a tool call in OpenAI's form, where arguments are text. Arguments that are text are kept unchanged."""
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def tool_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model's tool call as an object. Raises `BadReply` if they are not one."""
    function = call["function"]
    text = function["arguments"]
    if isinstance(text, dict):
        return text
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadReply(f"tool {function['name']!r}: the model's arguments are not a JSON object, got {text[:200]!r}")
    return value


def new_id(prefix: str) -> str:
    """Return a random id for an object in a reply."""
    return f"{prefix}{secrets.token_hex(12)}"


_OPENING = {"think": "<think>\n", "details": "<details>\n<summary>Proposals</summary>\n\n"}
_CLOSING = {"think": "\n</think>\n\n", "details": "\n</details>\n\n"}


class ProposalRenderer:
    """Splits pieces into the content and the reasoning of a reply. Proposals go to either, as `show` says."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._open = False

    def split(self, piece: Piece) -> tuple[str, str]:
        """Return the content and the reasoning in a piece. One of the two is empty."""
        if piece.kind == "text":
            return self.close() + piece.text, ""
        if self._show not in _OPENING:
            return "", piece.text
        opening = "" if self._open else _OPENING[self._show]
        self._open = True
        return opening + piece.text, ""

    def merge(self, pieces: Iterable[Piece]) -> list[tuple[str, str]]:
        """Return pairs of content and reasoning, one of each pair empty, with neighbours of the same kind joined."""
        pairs: list[tuple[str, str]] = []
        for piece in pieces:
            content, reasoning = self.split(piece)
            if pairs and bool(pairs[-1][0]) == bool(content):
                pairs[-1] = (pairs[-1][0] + content, pairs[-1][1] + reasoning)
            elif content or reasoning:
                pairs.append((content, reasoning))
        return pairs

    def close(self) -> str:
        """Return the closing tag of proposals in the content, if it is still due."""
        if not self._open:
            return ""
        self._open = False
        return _CLOSING[self._show]
