"""What OpenAI's replies tell besides words: the tokens used, why it ended, and what only a mixture has to tell."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...trace.tree import Trace
from ...types import Response
from ..service import ActiveRun


@dataclass(frozen=True)
class Tokens:
    """Tokens over all calls; those that proposers wrote, and those spent on thinking, are `reasoning`."""

    input: int
    cached: int
    output: int
    reasoning: int


def tokens(response: Response, trace: Trace) -> Tokens:
    total = response.usage
    proposed = sum(
        node.usage.output_tokens for node in trace.calls if node.usage and not node.start.answer and not node.error
    )
    reasoning = min(proposed + total.reasoning_tokens, total.output_tokens)
    return Tokens(total.input_tokens, total.cached_tokens, total.output_tokens, reasoning)


def usage(response: Response, trace: Trace) -> dict[str, Any]:
    """The tokens as chat completions tell them."""
    used = tokens(response, trace)
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def extension(answering: ActiveRun, unused: Sequence[str] = ()) -> dict[str, Any]:
    """What only a mixture has to tell: the run, its cost, what was lost, each member's part, options without effect,
    and where the sentences of the answer come from, if that was asked for."""
    response, trace = answering.response, answering.trace
    assert trace.root
    return {
        "run_id": trace.root.start.run,
        "model": trace.root.start.model,
        "cost": response.usage.cost,
        "fallback": response.fallback,
        "lost": [{"model": one.model, "layer": one.layer, "error": one.error} for one in trace.lost],
        "agreed": trace.agreed,
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
        **({"provenance": answering.provenance} if answering.provenance else {}),
    }


def finish_reason(response: Response) -> str:
    """One of the reasons that OpenAI's clients know."""
    if response.tool_calls:
        return "tool_calls"
    return response.finish_reason if response.finish_reason in ("length", "content_filter") else "stop"


def tool_calls(response: Response) -> list[dict[str, Any]]:
    """The calls of tools, each with an id, which a few endpoints leave out and every client needs."""
    return [{**call, "id": call.get("id") or new_id("call_"), "type": "function"} for call in response.tool_calls]


def new_id(kind: str) -> str:
    """A name for something in a reply."""
    return f"{kind}{secrets.token_hex(12)}"
