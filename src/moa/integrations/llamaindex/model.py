"""Any LLM of LlamaIndex's as a model: a proposer, or an aggregator."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ThinkingBlock
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM

from ... import notes
from ...costs import prices
from ...errors import ModelError
from ...model import ModelInfo
from ...span import Span
from ...types import Request, Response, Usage, estimate_tokens
from .messages import from_llamaindex, to_llamaindex

OPTIONS = ("temperature", "top_p", "max_tokens", "seed", "stop", "tools", "tool_choice", "response_format")

_PASSING = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 after which asking again may help."""


@dataclass(frozen=True)
class LlamaIndexModel:
    """An LLM of LlamaIndex's. Its sampling options are those it was made with.

    `options` names those of a request that it takes besides, as keywords: ("temperature", "max_tokens"). Without a
    `context_window`, in tokens, its window counts as unknown: to ask the LLM may mean to ask its server. `price` gives
    the cost. An LLM that has no asynchronous side of its own is asked in a thread; its words come all at once, and
    leaving early does not stop it.
    """

    llm: LLM
    name: str = ""
    options: tuple[str, ...] = ()
    context_window: int | None = None
    price: prices.Price | None = None

    def __post_init__(self) -> None:
        if not self.name:
            told = getattr(self.llm, "model", None)
            object.__setattr__(self, "name", told if isinstance(told, str) and told else self.llm.class_name())

    @property
    def info(self) -> ModelInfo:
        """Its context window."""
        return ModelInfo(context_window=self.context_window)

    async def generate(self, request: Request, span: Span) -> Response:
        span.record_sent(request)
        messages = [to_llamaindex(message) for message in request.messages]
        try:
            told, text, thinking = await self._ask(messages, self._given(request, span), span)
        except ModelError:
            raise
        except Exception as error:  # every LLM has errors of its own, of no common class
            raise _failure(self.name, error) from error
        calls = from_llamaindex(told.message).tool_calls
        usage = self._usage(told, request, text + thinking)
        return Response(self.name, text, usage, _finish_reason(told), reasoning=thinking, tool_calls=calls)

    def _given(self, request: Request, span: Span) -> dict[str, Any]:
        """The options that this LLM takes."""
        told = {key: getattr(request, key) for key in OPTIONS} | dict(request.extra)
        given = {key: value for key, value in told.items() if value is not None and value != ()}
        if dropped := tuple(key for key in given if key not in self.options):
            span.note(notes.OptionsDropped(dropped))
        sent = {key: value for key, value in given.items() if key in self.options}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in sent.items()}

    async def _ask(
        self, messages: Sequence[ChatMessage], options: Mapping[str, Any], span: Span
    ) -> tuple[ChatResponse, str, str]:
        """The last that the LLM said, its whole text, and what it thought."""
        blocking = _own(type(self.llm).achat) is _own(CustomLLM.achat)  # that one would hold up the event loop
        if span.streaming and not blocking:
            return await self._streamed(messages, options, span)
        if blocking:
            told = await asyncio.to_thread(self.llm.chat, messages, **options)
        else:
            told = await self.llm.achat(messages, **options)
        thoughts = (block.content or "" for block in told.message.blocks if isinstance(block, ThinkingBlock))
        text, thinking = told.message.content or "", "".join(thoughts)
        if span.streaming:
            span.text(thinking, "reasoning")
            span.text(text)
        return told, text, thinking

    async def _streamed(
        self, messages: Sequence[ChatMessage], options: Mapping[str, Any], span: Span
    ) -> tuple[ChatResponse, str, str]:
        told = None
        text = thinking = ""
        async for told in await self.llm.astream_chat(messages, **options):
            delta, thought = told.delta or "", told.additional_kwargs.get("thinking_delta") or ""
            span.text(thought, "reasoning")
            span.text(delta)
            text, thinking = text + delta, thinking + thought
        if told is None:
            raise ModelError(f"{self.name}: the stream ended before the first token", model=self.name, retryable=True)
        return told, text, thinking

    def _usage(self, told: ChatResponse, request: Request, answer: str) -> Usage:
        """The LLM's own count, or an estimate where it gives none."""
        usage = _counted(told)
        if usage is None:
            asked = sum(estimate_tokens(message.text) for message in request.messages)
            usage = Usage(asked, estimate_tokens(answer), estimated=True)
        cost = None if self.price is None else self.price.cost(usage)
        return Usage(usage.input_tokens, usage.output_tokens, cost, estimated=usage.estimated)


def _own(method: Callable[..., Any]) -> Any:
    """The method without what LlamaIndex wraps it in."""
    return inspect.unwrap(method)


def _failure(name: str, error: Exception) -> ModelError:
    words = " ".join(str(error).split())[:500] or "no reason given"
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) else None
    passing = isinstance(error, (TimeoutError, ConnectionError)) or (
        status is not None and (status in _PASSING or status >= 500)
    )
    return ModelError(f"{name}: {type(error).__name__}: {words}", model=name, status=status, retryable=passing)


def _counted(told: ChatResponse) -> Usage | None:
    """The tokens, under the names that OpenAI, Anthropic and Ollama give them."""
    for place in (told.additional_kwargs, _of(told.raw, "usage"), told.raw):
        for asked, answered in (
            ("prompt_tokens", "completion_tokens"),
            ("input_tokens", "output_tokens"),
            ("prompt_eval_count", "eval_count"),
        ):
            counts = _of(place, asked), _of(place, answered)
            if isinstance(counts[0], int) and isinstance(counts[1], int):
                return Usage(counts[0], counts[1])
    return None


def _finish_reason(told: ChatResponse) -> str:
    """Why it ended, where OpenAI, Anthropic and Ollama say so."""
    choices = _of(told.raw, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for reason in (_of(first, "finish_reason"), _of(told.raw, "stop_reason"), _of(told.raw, "done_reason")):
        if isinstance(reason, str):
            return {"max_tokens": "length", "end_turn": "stop"}.get(reason, reason)
    return "stop"


def _of(value: Any, name: str) -> Any:
    """A field of what may be a mapping or an object."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
