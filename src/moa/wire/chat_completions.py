"""OpenAI's chat-completions JSON, to and from our values, both directions side by side.

This file knows nothing of HTTP. What it cannot make sense of is a `BadReply` that says what was there instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..errors import BadReply, ContextOverflow, CutStream, EmptyReply, ModelError
from ..events import TextKind
from ..span import Span
from ..types import Message, PrewarmResult, Request, Response, Usage, estimate_tokens

AGAIN = "; ask again, or name another model"
"""What to do about a reply that is no answer."""


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


Cost = Callable[[Usage], float | None]
"""What tokens cost, in US dollars, or `None` when that is unknown."""


def response_from_json(body: Any, request: Request, name: str, cost: Cost | None = None) -> Response:
    """The response in a whole chat completion."""
    choices = _list(_table(body).get("choices"))
    choice = _table(choices[0]) if choices else {}
    if told := _table(body).get("error") or choice.get("error"):
        raise error_from_json({"error": told}, name)
    if not isinstance(message := choice.get("message"), Mapping):
        what = "a choice without a message" if choices else "no choices"
        raise BadReply(f"{name}: the reply has {what}: {body}{AGAIN}", model=name)
    draft = Draft(name, cost)
    draft.text = _words(message.get("content"), name)
    draft.reasoning = _thought(message)
    draft.tool_calls = dict(enumerate(_list(message.get("tool_calls"))))
    draft.finish_reason = choice.get("finish_reason") or "stop"
    draft.usage = body.get("usage")
    draft.logprobs = choice.get("logprobs")
    return draft.response(request)


def warmed_from_json(body: Any, request: Request, name: str) -> PrewarmResult:
    """What a server says of a prompt that it was to read ahead. How long it took, it does not."""
    if _table(body).get("error"):
        raise error_from_json(body, name)
    usage = _table(_table(body).get("usage"))
    told = usage_from_json(usage)
    if told is None:
        return PrewarmResult(request.size, None, 0.0)
    says = isinstance(_table(usage.get("prompt_tokens_details")).get("cached_tokens"), int)
    return PrewarmResult(told.input_tokens, told.input_tokens - told.cached_tokens if says else None, 0.0)


class Draft:
    """A response as it grows, chunk by chunk."""

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
        self._unsaid: list[tuple[TextKind, list[str]]] = []

    @property
    def begun(self) -> bool:
        """Whether it holds any words."""
        return bool(self._texts or self._thoughts or self.tool_calls)

    def add(self, chunk: Any) -> None:
        """Take in one chunk. Its words are to be said."""
        if not isinstance(chunk, dict):
            raise BadReply(f"{self.name}: a chunk of the stream is not an object: {chunk!r}", model=self.name)
        if chunk.get("error"):
            raise error_from_json(chunk, self.name)
        if usage := chunk.get("usage"):
            self.usage = usage
        for choice in _list(chunk.get("choices")):
            if not isinstance(choice, dict) or choice.get("index"):
                continue  # a second answer, which nobody asked for
            if choice.get("error"):
                raise error_from_json(choice, self.name)
            if isinstance(delta := choice.get("delta"), dict):
                self._take(delta)
            if (told := choice.get("logprobs")) and (logprobs := _list(_table(told).get("content"))):
                known = self.logprobs["content"] if self.logprobs else []
                self.logprobs = {"content": [*known, *logprobs]}
            if finish := choice.get("finish_reason"):
                self.finish_reason = finish

    def _take(self, delta: Mapping[str, Any]) -> None:
        if thought := _thought(delta):
            self._thoughts.append(thought)
            self._will_say("reasoning", thought)
        if words := _words(delta.get("content"), self.name):
            self._texts.append(words)
            self._will_say("text", words)
        if calls := delta.get("tool_calls"):
            for call in _list(calls):
                self._tool_call(_table(call))

    def _will_say(self, kind: TextKind, words: str) -> None:
        if not self._unsaid or self._unsaid[-1][0] != kind:
            self._unsaid.append((kind, []))
        self._unsaid[-1][1].append(words)

    def say(self, span: Span) -> None:
        """Say the words of the chunks since it was last asked to, those of a kind that came together as one."""
        unsaid, self._unsaid = self._unsaid, []
        for kind, words in unsaid:
            span.text("".join(words), kind)

    def _tool_call(self, call: Mapping[str, Any]) -> None:
        place = call.get("index")
        known = self.tool_calls.setdefault(
            place if isinstance(place, int) else 0,
            {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
        )
        known["id"] = call.get("id") or known["id"]
        function = _table(call.get("function"))
        arguments = _string(function.get("arguments"))
        known["function"]["name"] += _string(function.get("name"))
        known["function"]["arguments"] += arguments
        self._will_say("tool_call", arguments)

    def close(self, done: bool, request: Request) -> Response:
        """The response, once the stream has ended. `done` says that the upstream said it was finished."""
        self.text = "".join(self._texts)
        self.reasoning = "".join(self._thoughts)
        if not done and self.finish_reason is None:
            after = f"after {len(self.text)} characters" if self.text else "before the first word"
            raise CutStream(f"{self.name}: the stream was cut {after}{AGAIN}", model=self.name, retryable=True)
        return self.response(request)

    def response(self, request: Request) -> Response:
        """The response. Raises `BadReply` when it holds neither words nor tool calls."""
        if self.finish_reason is not None and not isinstance(self.finish_reason, str):
            raise BadReply(f"{self.name}: finish_reason is not text: {self.finish_reason!r}", model=self.name)
        if not self.text.strip() and not self.tool_calls:
            why = f" (finish_reason {self.finish_reason!r})" if self.finish_reason not in (None, "stop") else ""
            advice = "; it only thought, so max_tokens may be too small" if self.reasoning else AGAIN
            kind = BadReply if why else EmptyReply
            raise kind(f"{self.name}: the reply is empty{why}{advice}", model=self.name)
        usage = usage_from_json(self.usage) or _estimate(request, self.text + self.reasoning)
        return Response(
            self.name,
            self.text,
            usage.costing(self._cost(usage)) if self._cost else usage,
            self.finish_reason or "stop",
            reasoning=self.reasoning,
            tool_calls=tuple(self.tool_calls[place] for place in sorted(self.tool_calls)),
            logprobs=self.logprobs,
        )


def usage_from_json(usage: Any) -> Usage | None:
    """The upstream's own count, or `None` when it gave none.

    Some endpoints leave thinking out of `completion_tokens` but count it in `total_tokens`; it is paid for as output.
    """
    usage = _table(usage)
    asked, answered = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not asked:
        return None
    return Usage(
        asked,
        max(answered, _count(usage.get("total_tokens")) - asked),
        cached_tokens=min(asked, _count(_table(usage.get("prompt_tokens_details")).get("cached_tokens"))),
        reasoning_tokens=_count(_table(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def error_from_json(body: Any, name: str, status: int | None = None) -> ModelError:
    """The error an upstream reports, in one line."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]  # Gemini's way
    told = _table(body).get("error") or body
    told = told if isinstance(told, Mapping) else {"message": told}
    said = told.get("message") or told.get("detail") or dict(told)
    cause = _table(told.get("metadata")).get("raw")  # OpenRouter's way of quoting the provider behind it
    words = " ".join(" ".join(str(word) for word in (said, cause) if word).split())
    code = told.get("code")
    number = status or (code if isinstance(code, int) else None)
    kinds = (code, told.get("type"))
    if number != 429 and (not _OVERFLOW_KINDS.isdisjoint(map(str, kinds)) or _OVERFLOW.search(words)):
        return ContextOverflow(f"{name}: {words}", model=name, window=_count(told.get("n_ctx")) or _window(words))
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
"""How servers without a code for it say that a prompt is too long."""

_WINDOW = re.compile(
    r"\d+ \+ \d+ > (\d+)"  # Anthropic, the answer counted
    r"|(\d+) maximum"  # Anthropic, Mistral
    r"|must be <= (\d+)"  # Together
    r"|(?:allowed \(|supports up to |limit is |\[1 )(\d+)"  # Gemini, Cerebras, DashScope
    r"|(?:context|prompt|model|token) (?:length|window|size|limit)(?! by)\D{0,40}?(\d{3,})\b(?! \+)",  # others
    re.IGNORECASE,
)


def _window(words: str) -> int | None:
    """The size of the context window that an upstream's error speaks of."""
    found = _WINDOW.search(words.replace(",", ""))
    return int(found[found.lastindex]) if found and found.lastindex else None


def without(body: dict[str, Any], unsupported: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The body without the options a provider refuses, and which of them it had."""
    return {k: v for k, v in body.items() if k not in unsupported}, [k for k in unsupported if k in body]


def _estimate(request: Request, text: str) -> Usage:
    asked: Iterable[int] = (estimate_tokens(message.text) for message in request.messages)
    return Usage(sum(asked), estimate_tokens(text), estimated=True)


def _words(content: Any, name: str) -> str:
    """The words of a content, which a few endpoints send in parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return "".join(_string(part.get("text")) for part in content if part.get("type") == "text")
    raise BadReply(f"{name}: the content of the reply is not text: {content!r}", model=name)


def _thought(message: Mapping[str, Any]) -> str:
    """The model's own thinking, under either of its two names; who sends both sends the same twice."""
    return _string(message.get("reasoning_content")) or _string(message.get("reasoning"))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0
