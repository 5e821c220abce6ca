"""What our values are called in OpenTelemetry: as its conventions for generative AI say, else `moa.*`.

No other file knows a name of theirs, for they are still in development. These are the names of version 1.41 of the
semantic conventions, which viewers read; where the conventions have since chosen another, both are said.
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
"""What the conventions say of a failure where there is no known class of it: the words are in the span's status."""

CHAT, WORKFLOW, PREWARM = "chat", "invoke_workflow", "prewarm"
OPERATION = "gen_ai.operation.name"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
RETRIES, CACHED, LOST, QUEUED = "moa.retries", "moa.cached", "moa.lost", "moa.queued.seconds"

_PROVIDERS = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""Our names of providers that the conventions call otherwise."""

_KIND, _INPUT, _OUTPUT = "openinference.span.kind", "input.value", "output.value"
"""OpenInference's names, by which Arize Phoenix shows what holds calls; all else it knows by the conventions' names."""

_EXTRA = ("top_k", "frequency_penalty", "presence_penalty")
_QUOTING = (notes.RequestRewritten, notes.Voted, notes.FormatRetry)
"""Notes that hold words of the conversation."""


def operation(start: SpanStart, holds: bool) -> str | None:
    """What a span does; `None` for what only groups calls. `holds` says that there are calls below it."""
    if start.role in ("layer", "section"):
        return None
    if start.role == "prewarm":
        return PREWARM
    return WORKFLOW if holds else CHAT


def name(start: SpanStart, holds: bool) -> str:
    """What a span is called."""
    does = operation(start, holds)
    return f"{does} {_model(start.model)[1]}" if does else start.model


def begun(start: SpanStart, run: str) -> Values:
    """What is known of a span at its start."""
    values: Values = {"moa.run.id": run, "moa.role": start.role}
    if start.layer is not None:
        values["moa.layer"] = start.layer
    if start.index is not None:
        values["moa.index"] = start.index
    if start.answer:
        values["moa.answer"] = True
    if does := operation(start, holds=False):
        values |= {OPERATION: does, **called(start)}
    return values | (_sampling(start.request) if start.request else {})


def within(start: SpanStart) -> bool:
    """Whether a call, as far as its name tells, is answered in this process."""
    return start.role in ("layer", "section") or _model(start.model)[0] in ("moa", "local", "gguf")


def called(start: SpanStart) -> Values:
    """Which model a call is to."""
    provider, model = _model(start.model)
    return {"gen_ai.provider.name": provider, "gen_ai.request.model": model}


def holding(start: SpanStart) -> Values:
    """What is said of a span once it has calls below it."""
    values: Values = {_KIND: "CHAIN"}
    if operation(start, holds=True) != WORKFLOW:
        return values
    mixture = _model(start.model)[1]
    return values | {OPERATION: WORKFLOW, "gen_ai.workflow.name": mixture, "gen_ai.agent.name": mixture}


def ended(end: SpanEnd, holds: bool) -> Values:
    """What is known of a span at its end.

    Tokens and cost of what holds calls are a sum, so they have other names: nobody who adds up spans counts them twice.
    """
    values: Values = {}
    if end.finish_reason and not holds:
        values["gen_ai.response.finish_reasons"] = [end.finish_reason]
    if end.error is not None:
        values |= FAILED
    if end.usage:
        values |= _totals(end.usage) if holds else _used(end.usage)
    return values


def noted(note: Note, content: bool) -> Values | None:
    """A note as the attributes of an event; `None` where it is not told. `content` says whether words may be."""
    if isinstance(note.data, _QUOTING) and not content:
        return None
    return {f"moa.{key}": _plain(value) for key, value in note.data.as_json().items() if value is not None}


def said(start: SpanStart, sent: Sequence[Mapping[str, Any]] | None, end: SpanEnd, holds: bool) -> Values:
    """What was asked, or `sent` where that is something else, and what was answered."""
    values: Values = {}
    if start.request:
        messages = start.request.messages if sent is None else sent
        values["gen_ai.input.messages"] = _json([_message(one) for one in messages])
        values |= {_INPUT: start.request.question} if holds else {}
    if end.text is not None:
        answer = {"role": "assistant", "parts": _text(end.text), "finish_reason": end.finish_reason or "stop"}
        values["gen_ai.output.messages"] = _json([answer])
        values |= {_OUTPUT: end.text} if holds else {}
    return values


def _model(name: str) -> tuple[str, str]:
    """The provider of a model, and its name there."""
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


def _message(one: Message | Mapping[str, Any]) -> dict[str, Any]:
    """A message as the conventions' schema has it. Images are named, not copied."""
    if not isinstance(one, Message):
        return {"role": one["role"], "parts": _text(one["content"])}
    if one.tool_call_id:
        response = {"type": "tool_call_response", "id": one.tool_call_id, "response": one.text}
        return {"role": one.role, "parts": [response]}
    return {"role": one.role, "parts": [*_text(one.content), *map(_call, one.tool_calls)]}


def _text(content: Any) -> list[dict[str, Any]]:
    texts = [content] if isinstance(content, str) else [part.get("text") or f"[{part['type']}]" for part in content]
    return [{"type": "text", "content": text} for text in texts if text]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", {})
    told = {"id": call.get("id"), "name": function.get("name", ""), "arguments": function.get("arguments")}
    return {"type": "tool_call", **told}


def _plain(value: Any) -> Value:
    """A value as an attribute may be: one that cannot be encoded would lose all that is sent with it."""
    if isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return list(value)
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
