"""OpenAI's chat-completions JSON, to and from our values.

This file knows nothing of HTTP. Anything unexpected is a `BadReply` that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..errors import BadReply, ContextOverflow, CutStream, EmptyReply, ModelError
from ..events import TextKind
from ..span import Span
from ..types import Message, PrewarmResult, Request, Response, Usage, estimate_tokens

RETRY = "; retry, or choose another model"
"""The advice for a reply that is no answer."""


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
    """Return the body of a chat-completions call. Options that are `None` are not sent."""
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


Cost = Callable[[Usage], float | None]
"""Returns the cost of tokens in US dollars, `None` if unknown."""


def response_from_json(body: Any, request: Request, name: str, cost: Cost | None = None) -> Response:
    """Return the response of a whole chat completion."""
    choices = _list(_table(body).get("choices"))
    choice = _table(choices[0]) if choices else {}
    if error := _table(body).get("error") or choice.get("error"):
        raise error_from_json({"error": error}, name)
    if not isinstance(message := choice.get("message"), Mapping):
        what = "a choice without a message" if choices else "no choices"
        raise BadReply(f"{name}: the reply has {what}: {body}{RETRY}", model=name)
    draft = Draft(name, cost)
    draft.text = _text_of(message.get("content"), name)
    draft.reasoning = _reasoning_of(message)
    draft.tool_calls = dict(enumerate(_list(message.get("tool_calls"))))
    draft.finish_reason = choice.get("finish_reason") or "stop"
    draft.usage = body.get("usage")
    draft.logprobs = choice.get("logprobs")
    return draft.response(request)


def prewarm_from_json(body: Any, request: Request, name: str) -> PrewarmResult:
    """Return how much of a prompt the server read before its call, without the time it took."""
    if _table(body).get("error"):
        raise error_from_json(body, name)
    usage = _table(_table(body).get("usage"))
    counted = usage_from_json(usage)
    if counted is None:
        return PrewarmResult(request.size, None, 0.0)
    known = isinstance(_table(usage.get("prompt_tokens_details")).get("cached_tokens"), int)
    return PrewarmResult(counted.input_tokens, counted.input_tokens - counted.cached_tokens if known else None, 0.0)


class Draft:
    """A response that grows chunk by chunk."""

    def __init__(self, name: str, cost: Cost | None = None) -> None:
        self.name = name
        self.text = ""
        self.reasoning = ""
        self.tool_calls: dict[int, Any] = {}
        self.finish_reason: str | None = None
        self.usage: Any = None
        self.logprobs: Any = None
        self._cost = cost
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._pending: list[tuple[TextKind, list[str]]] = []

    @property
    def has_text(self) -> bool:
        """Whether there is any text or tool call."""
        return bool(self._texts or self._thoughts or self.tool_calls)

    def add(self, chunk: Any) -> None:
        """Add one chunk. `emit` emits its text."""
        if not isinstance(chunk, dict):
            raise BadReply(f"{self.name}: a chunk of the stream is not an object: {chunk!r}", model=self.name)
        if chunk.get("error"):
            raise error_from_json(chunk, self.name)
        if usage := chunk.get("usage"):
            self.usage = usage
        for choice in _list(chunk.get("choices")):
            if not isinstance(choice, dict) or choice.get("index"):
                continue  # a second answer, which was not requested
            if choice.get("error"):
                raise error_from_json(choice, self.name)
            if isinstance(delta := choice.get("delta"), dict):
                self._add_delta(delta)
            if logprobs := _list(_table(choice.get("logprobs")).get("content")):
                known = self.logprobs["content"] if self.logprobs else []
                self.logprobs = {"content": [*known, *logprobs]}
            if finish := choice.get("finish_reason"):
                self.finish_reason = finish

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        if thought := _reasoning_of(delta):
            self._thoughts.append(thought)
            self._will_emit("reasoning", thought)
        if words := _text_of(delta.get("content"), self.name):
            self._texts.append(words)
            self._will_emit("text", words)
        if calls := delta.get("tool_calls"):
            for call in _list(calls):
                self._tool_call(_table(call))

    def _will_emit(self, kind: TextKind, words: str) -> None:
        if not self._pending or self._pending[-1][0] != kind:
            self._pending.append((kind, []))
        self._pending[-1][1].append(words)

    def emit(self, span: Span) -> None:
        """Emit the text of the chunks since the last call, consecutive text of one kind as one piece."""
        pending, self._pending = self._pending, []
        for kind, texts in pending:
            span.text("".join(texts), kind)

    def _tool_call(self, call: Mapping[str, Any]) -> None:
        index = call.get("index")
        known = self.tool_calls.setdefault(
            index if isinstance(index, int) else 0,
            {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
        )
        known["id"] = call.get("id") or known["id"]
        function = _table(call.get("function"))
        arguments = _string(function.get("arguments"))
        known["function"]["name"] += _string(function.get("name"))
        known["function"]["arguments"] += arguments
        self._will_emit("tool_call", arguments)

    def close(self, done: bool, request: Request) -> Response:
        """Return the response after the end of the stream. `done` says that the upstream marked the end."""
        self.text = "".join(self._texts)
        self.reasoning = "".join(self._thoughts)
        if not done and self.finish_reason is None:
            after = f"after {len(self.text)} characters" if self.text else "before the first token"
            raise CutStream(f"{self.name}: the stream was cut {after}{RETRY}", model=self.name, retryable=True)
        return self.response(request)

    def response(self, request: Request) -> Response:
        """Return the response. Raises `BadReply` if it has neither text nor tool calls."""
        if self.finish_reason is not None and not isinstance(self.finish_reason, str):
            raise BadReply(f"{self.name}: finish_reason is not text: {self.finish_reason!r}", model=self.name)
        if not self.text.strip() and not self.tool_calls:
            why = f" (finish_reason {self.finish_reason!r})" if self.finish_reason not in (None, "stop") else ""
            advice = "; it has reasoning only, so max_tokens may be too small" if self.reasoning else RETRY
            kind = BadReply if why else EmptyReply
            raise kind(f"{self.name}: the reply is empty{why}{advice}", model=self.name)
        usage = usage_from_json(self.usage) or _estimate(request, self.text + self.reasoning)
        return Response(
            self.name,
            self.text,
            usage.costing(self._cost(usage)) if self._cost else usage,
            self.finish_reason or "stop",
            reasoning=self.reasoning,
            tool_calls=tuple(self.tool_calls[index] for index in sorted(self.tool_calls)),
            logprobs=self.logprobs,
        )


def usage_from_json(usage: Any) -> Usage | None:
    """Return the upstream's own count, or `None` if there is none.

    Some endpoints leave thinking out of `completion_tokens` but count it in `total_tokens`. It is charged as output.
    """
    usage = _table(usage)
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not read:
        return None
    return Usage(
        read,
        max(written, _count(usage.get("total_tokens")) - read),
        cached_tokens=min(read, _count(_table(usage.get("prompt_tokens_details")).get("cached_tokens"))),
        reasoning_tokens=_count(_table(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def error_from_json(body: Any, name: str, status: int | None = None) -> ModelError:
    """Return the error that an upstream reports, in one line."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]  # as Gemini sends it
    error = _table(body).get("error") or body
    error = error if isinstance(error, Mapping) else {"message": error}
    message = error.get("message") or error.get("detail") or dict(error)
    cause = _table(error.get("metadata")).get("raw")  # where OpenRouter quotes the provider behind it
    words = " ".join(" ".join(str(text) for text in (message, cause) if text).split())
    code = error.get("code")
    number = status or (code if isinstance(code, int) else None)
    kinds = (code, error.get("type"))
    if number != 429 and (not _OVERFLOW_KINDS.isdisjoint(map(str, kinds)) or _OVERFLOW.search(words)):
        return ContextOverflow(f"{name}: {words}", model=name, window=_count(error.get("n_ctx")) or _window(words))
    passing = number is None or number in (408, 409, 425, 429) or number >= 500
    retryable = passing and "insufficient_quota" not in kinds
    return ModelError(f"{name}: {words}", model=name, status=number, retryable=retryable)


_OVERFLOW_KINDS = {"exceed_context_size_error", "context_length_exceeded", "model_context_window_exceeded"}

_OVERFLOW = re.compile(
    r"context (?:length|window|size|limit)|prompt (?:is )?too long|maximum (?:prompt|model) length|"
    r"input token count.*(?:exceeds|only supports)|input is too long for|`inputs` tokens \+ `max_new_tokens`|"
    r"reduce the length of the (?:messages|prompt)|exceeded model token limit|range of input length",
    re.IGNORECASE,
)
"""Messages of servers without a code for a prompt that is too long."""

_WINDOW = re.compile(
    r"\d+ \+ \d+ > (\d+)"  # Anthropic, the answer counted
    r"|(\d+) maximum"  # Anthropic, Mistral
    r"|must be <= (\d+)"  # Together
    r"|(?:allowed \(|supports up to |limit is |\[1 )(\d+)"  # Gemini, Cerebras, DashScope
    r"|(?:context|prompt|model|token) (?:length|window|size|limit)(?! by)\D{0,40}?(\d{3,})\b(?! \+)",  # others
    re.IGNORECASE,
)


def _window(words: str) -> int | None:
    """Return the size of the context window in an error message of an upstream."""
    found = _WINDOW.search(words.replace(",", ""))
    return int(found[found.lastindex]) if found and found.lastindex else None


def without(body: dict[str, Any], unsupported: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the body without the options that a provider refuses, and those that it had."""
    return {k: v for k, v in body.items() if k not in unsupported}, [k for k in unsupported if k in body]


def _estimate(request: Request, text: str) -> Usage:
    read: Iterable[int] = (estimate_tokens(message.text) for message in request.messages)
    return Usage(sum(read), estimate_tokens(text), estimated=True)


def _text_of(content: Any, name: str) -> str:
    """Return the text of a message's content, which a few endpoints send in parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return "".join(_string(part.get("text")) for part in content if part.get("type") == "text")
    raise BadReply(f"{name}: the content of the reply is not text: {content!r}", model=name)


def _reasoning_of(message: Mapping[str, Any]) -> str:
    """Return the reasoning, under either of its two names. Servers that send both send the same text twice."""
    return _string(message.get("reasoning_content")) or _string(message.get("reasoning"))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0
