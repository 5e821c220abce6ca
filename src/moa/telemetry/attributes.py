"""The names of attributes in OpenTelemetry: those of its conventions for generative AI, else `moa.*`.

No other file has such names, as the conventions are still in development. These are the names of version 1.41, which
viewers read; where the conventions have since chosen another name, both are set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import notes
from ..events import Note, SpanEnd, SpanStart
from ..types import Message, Request, Usage

Value = str | bool | int | float | list[str]
Values = dict[str, Value]

FAILED: Values = {"error.type": "_OTHER"}
"""The attributes of a failure without a known class. The message is in the span's status."""

CHAT, WORKFLOW, PREWARM = "chat", "invoke_workflow", "prewarm"
OPERATION = "gen_ai.operation.name"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
RETRIES, CACHED, LOST, QUEUED = "moa.retries", "moa.cached", "moa.lost", "moa.queued.seconds"

_PROVIDERS = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""Our names of providers for which the conventions have other names."""

_KIND, _INPUT, _OUTPUT = "openinference.span.kind", "input.value", "output.value"
"""OpenInference's names, with which Arize Phoenix shows spans that contain calls."""

_EXTRA = ("top_k", "frequency_penalty", "presence_penalty")
_WITH_CONTENT = (notes.RequestRewritten, notes.Voted, notes.FormatRetry)
"""Notes that contain text of the conversation."""


def operation(start: SpanStart, has_calls: bool) -> str | None:
    """Return the operation of a span, or `None` if it only groups calls. `has_calls`: there are calls below it."""
    if start.role in ("layer", "section"):
        return None
    if start.role == "prewarm":
        return PREWARM
    return WORKFLOW if has_calls else CHAT


def name(start: SpanStart, has_calls: bool) -> str:
    """Return the name of a span."""
    does = operation(start, has_calls)
    return f"{does} {_model(start.model)[1]}" if does else start.model


def at_start(start: SpanStart, run: str) -> Values:
    """Return the attributes of a span at its start."""
    values: Values = {"moa.run.id": run, "moa.role": start.role}
    if start.layer is not None:
        values["moa.layer"] = start.layer
    if start.index is not None:
        values["moa.index"] = start.index
    if start.answer:
        values["moa.answer"] = True
    if does := operation(start, has_calls=False):
        values |= {OPERATION: does, **of_model(start)}
    return values | (_sampling(start.request) if start.request else {})


def is_local(start: SpanStart) -> bool:
    """Return whether a call, by the name of its model, is answered in this process."""
    return start.role in ("layer", "section") or _model(start.model)[0] in ("moa", "local", "gguf")


def of_model(start: SpanStart) -> Values:
    """Return the provider and the model of a call."""
    provider, model = _model(start.model)
    return {"gen_ai.provider.name": provider, "gen_ai.request.model": model}


def of_parent(start: SpanStart) -> Values:
    """Return the attributes of a span that has calls below it."""
    values: Values = {_KIND: "CHAIN"}
    if operation(start, has_calls=True) != WORKFLOW:
        return values
    mixture = _model(start.model)[1]
    return values | {OPERATION: WORKFLOW, "gen_ai.workflow.name": mixture, "gen_ai.agent.name": mixture}


def at_end(end: SpanEnd, has_calls: bool) -> Values:
    """Return the attributes of a span at its end.

    Tokens and cost of a span with calls below it are sums. They have other names, so that a sum over
    spans counts nothing twice.
    """
    values: Values = {}
    if end.finish_reason and not has_calls:
        values["gen_ai.response.finish_reasons"] = [end.finish_reason]
    if end.error is not None:
        values |= FAILED
    if end.usage:
        values |= _totals(end.usage) if has_calls else _used(end.usage)
    return values


def of_note(note: Note, content: bool) -> Values | None:
    """Return a note as the attributes of a span event; `None` if it has content and `content` is false."""
    if isinstance(note.data, _WITH_CONTENT) and not content:
        return None
    return {f"moa.{key}": _plain(value) for key, value in note.data.as_json().items() if value is not None}


def content(start: SpanStart, sent: Sequence[Mapping[str, Any]] | None, end: SpanEnd, has_calls: bool) -> Values:
    """Return the messages of a call, or those really `sent`, and its answer."""
    values: Values = {}
    if start.request:
        messages = start.request.messages if sent is None else sent
        values["gen_ai.input.messages"] = _json([_message(message) for message in messages])
        values |= {_INPUT: start.request.question} if has_calls else {}
    if end.text is not None:
        answer = {"role": "assistant", "parts": _text(end.text), "finish_reason": end.finish_reason or "stop"}
        values["gen_ai.output.messages"] = _json([answer])
        values |= {_OUTPUT: end.text} if has_calls else {}
    return values


def _model(name: str) -> tuple[str, str]:
    """Return the provider of a model, and its name there."""
    provider, colon, model = name.partition(":")
    return (_PROVIDERS.get(provider, provider), model) if colon and model else ("moa", name)


def _sampling(request: Request) -> Values:
    options: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop_sequences": list(request.stop) or None,
        **{option: request.extra.get(option) for option in _EXTRA},
    }
    values = {f"gen_ai.request.{key}": _plain(value) for key, value in options.items() if value is not None}
    if request.response_format and request.response_format.get("type") != "text":
        values["gen_ai.output.type"] = "json"
    return values


def _used(usage: Usage) -> Values:
    values: Values = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.cached_tokens:
        values["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    if usage.reasoning_tokens:
        values["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    if usage.estimated:
        values["moa.estimated"] = True
    return values if usage.cost is None else {**values, "moa.cost.usd": usage.cost}


def _totals(usage: Usage) -> Values:
    values: Values = {
        "moa.total.input_tokens": usage.input_tokens,
        "moa.total.output_tokens": usage.output_tokens,
    }
    return values if usage.cost is None else {**values, "moa.total.cost.usd": usage.cost}


def _message(message: Message | Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in the schema of the conventions. Images are named, not copied."""
    if not isinstance(message, Message):
        return {"role": message["role"], "parts": _text(message["content"])}
    if message.tool_call_id:
        response = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return {"role": message.role, "parts": [response]}
    return {"role": message.role, "parts": [*_text(message.content), *map(_call, message.tool_calls)]}


def _text(content: Any) -> list[dict[str, Any]]:
    texts = [content] if isinstance(content, str) else [part.get("text") or f"[{part['type']}]" for part in content]
    return [{"type": "text", "content": text} for text in texts if text]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", {})
    request = {"id": call.get("id"), "name": function.get("name", ""), "arguments": function.get("arguments")}
    return {"type": "tool_call", **request}


def _plain(value: Any) -> Value:
    """Return a value as an attribute may be. One that cannot be encoded would lose its whole batch."""
    if isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return list(value)
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
