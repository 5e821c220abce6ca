"""OpenAI's chat-completions JSON, to and from our values, both directions side by side.

This file knows nothing of HTTP. What it cannot make sense of is a `BadReply` that says what was there instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .errors import BadReply, ContextOverflow, CutStream, ModelError
from .model import Span
from .types import Message, Request, Response, Usage, estimate_tokens


def message_to_json(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role}
    body["content"] = message.content if isinstance(message.content, str) else list(message.content)
    if message.name is not None:
        body["name"] = message.name
    if message.tool_calls:
        body["tool_calls"] = list(message.tool_calls)
        body["content"] = body["content"] or None
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def request_to_json(request: Request, model: str) -> dict[str, Any]:
    """The body of a chat-completions call. Options that are `None` are not sent."""
    options = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "tools": list(request.tools) or None,
        "tool_choice": request.tool_choice,
        "response_format": request.response_format,
    }
    body: dict[str, Any] = {"model": model, "messages": [message_to_json(message) for message in request.messages]}
    body |= {key: value for key, value in options.items() if value is not None}
    return body | dict(request.extra)


def response_from_json(body: Any, request: Request, name: str) -> Response:
    """The response in a whole chat completion."""
    if isinstance(body, Mapping) and body.get("error"):
        raise error_from_json(body, name)
    choice = _first_choice(body, name)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BadReply(f"{name}: the reply has a choice without a message: {_clip(choice)}", model=name)
    draft = Draft(name)
    draft.text = message.get("content") or ""
    draft.reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    draft.tool_calls = dict(enumerate(message.get("tool_calls") or ()))
    draft.finish_reason = choice.get("finish_reason") or "stop"
    draft.usage = body.get("usage")
    draft.logprobs = choice.get("logprobs")
    return draft.response(request)


class Draft:
    """A response as it grows, chunk by chunk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.reasoning = ""
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.logprobs: Any = None
        self._texts: list[str] = []

    def add(self, chunk: Any, span: Span) -> None:
        """Take in one chunk and say its words."""
        if not isinstance(chunk, Mapping):
            raise BadReply(f"{self.name}: a chunk of the stream is not an object: {_clip(chunk)}", model=self.name)
        if chunk.get("error"):
            raise error_from_json(chunk, self.name)
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or {}
            if words := delta.get("content"):
                self._texts.append(words)
                span.text(words)
            if thought := delta.get("reasoning_content") or delta.get("reasoning"):
                self.reasoning += thought
                span.text(thought, "reasoning")
            for call in delta.get("tool_calls") or ():
                self._tool_call(call, span)
            if choice.get("logprobs"):
                known = (self.logprobs or {}).get("content") or []
                self.logprobs = {"content": [*known, *(choice["logprobs"].get("content") or ())]}
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _tool_call(self, call: Mapping[str, Any], span: Span) -> None:
        known = self.tool_calls.setdefault(
            call.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        known["id"] = call.get("id") or known["id"]
        function = call.get("function") or {}
        known["function"]["name"] += function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""
        span.text(function.get("arguments") or "", "tool_call")

    def close(self, done: bool, request: Request) -> Response:
        """The response, once the stream has ended. `done` says that the upstream said it was finished."""
        if not done and self.finish_reason is None:
            said = sum(map(len, self._texts))
            raise CutStream(f"{self.name}: the stream was cut after {said} characters", model=self.name, retryable=True)
        self.text = "".join(self._texts)
        return self.response(request)

    def response(self, request: Request) -> Response:
        """The response. Raises `BadReply` when it holds neither words nor tool calls."""
        if not isinstance(self.text, str):
            raise BadReply(f"{self.name}: the content of the reply is not text: {_clip(self.text)}", model=self.name)
        if not self.text.strip() and not self.tool_calls:
            why = f" (finish_reason {self.finish_reason!r})" if self.finish_reason not in (None, "stop") else ""
            thought = "; it only thought, so max_tokens may be too small" if self.reasoning else ""
            raise BadReply(f"{self.name}: the reply is empty{why}{thought}", model=self.name)
        calls = tuple(self.tool_calls[index] for index in sorted(self.tool_calls))
        return Response(
            self.name,
            self.text,
            usage_from_json(self.usage) or _estimate(request, self.text + self.reasoning),
            self.finish_reason or "stop",
            reasoning=self.reasoning,
            tool_calls=calls,
            logprobs=self.logprobs,
        )


def usage_from_json(usage: Any) -> Usage | None:
    """The upstream's own count, or `None` when it gave none."""
    if not isinstance(usage, Mapping) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    return Usage(
        usage["prompt_tokens"],
        usage.get("completion_tokens") or 0,
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )


def error_from_json(body: Any, name: str, status: int | None = None) -> ModelError:
    """The error an upstream reports, in one line."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not error:
        error = body
    told = error if isinstance(error, Mapping) else {"message": error}
    words = " ".join(str(told.get("message") or told.get("detail") or told).split())[:300]
    code = told.get("type") if isinstance(told.get("code"), int) else told.get("code") or told.get("type")
    if code in ("exceed_context_size_error", "context_length_exceeded") or _speaks_of_context(words):
        window = told.get("n_ctx")
        return ContextOverflow(f"{name}: {words}", model=name, window=window if isinstance(window, int) else None)
    number = status or (told["code"] if isinstance(told.get("code"), int) else None)
    retryable = number is None or number in (408, 409, 425, 429) or number >= 500
    return ModelError(f"{name}: {words}", model=name, status=number, retryable=retryable)


def _speaks_of_context(words: str) -> bool:
    lowered = words.lower()
    return any(sign in lowered for sign in ("maximum context length", "context window", "prompt is too long"))


def without(body: dict[str, Any], unsupported: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The body without the options a provider refuses, and which of them it had."""
    return {k: v for k, v in body.items() if k not in unsupported}, [k for k in unsupported if k in body]


def _estimate(request: Request, text: str) -> Usage:
    asked: Iterable[int] = (estimate_tokens(message.text) for message in request.messages)
    return Usage(sum(asked), estimate_tokens(text), estimated=True)


def _first_choice(body: Any, name: str) -> Mapping[str, Any]:
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise BadReply(f"{name}: the reply has no choices: {_clip(body)}", model=name)
    return choices[0]


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:119] + "…"
