"""A model that calls an LLM of LlamaIndex."""

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

_RETRYABLE = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 after which a retry may succeed."""


@dataclass(frozen=True)
class LlamaIndexModel:
    """A model that calls an LLM of LlamaIndex, with the sampling options of that LLM.

    `options` are the options of a request that it accepts as keywords, such as ("temperature", "max_tokens"). Without a
    `context_window`, in tokens, its window is unknown: the LLM may have to call its server to know it. `price` gives
    the cost. An LLM without asynchronous methods of its own runs in a thread: its text arrives at once, and
    cancellation does not stop it.
    """

    llm: LLM
    name: str = ""
    options: tuple[str, ...] = ()
    context_window: int | None = None
    price: prices.Price | None = None

    def __post_init__(self) -> None:
        if not self.name:
            model = getattr(self.llm, "model", None)
            object.__setattr__(self, "name", model if isinstance(model, str) and model else self.llm.class_name())

    @property
    def info(self) -> ModelInfo:
        """The context window of the LLM."""
        return ModelInfo(context_window=self.context_window)

    async def generate(self, request: Request, span: Span) -> Response:
        span.record_sent(request)
        messages = [to_llamaindex(message) for message in request.messages]
        try:
            reply, text, thinking = await self._call(messages, self._accepted(request, span), span)
        except ModelError:
            raise
        except Exception as error:  # LLMs raise errors of their own, without a common class
            raise _failure(self.name, error) from error
        calls = from_llamaindex(reply.message).tool_calls
        usage = self._usage(reply, request, text + thinking)
        return Response(self.name, text, usage, _finish_reason(reply), reasoning=thinking, tool_calls=calls)

    def _accepted(self, request: Request, span: Span) -> dict[str, Any]:
        """Return the options that the LLM accepts, and note those that it does not."""
        options = {key: getattr(request, key) for key in OPTIONS} | dict(request.extra)
        given = {key: value for key, value in options.items() if value is not None and value != ()}
        if dropped := tuple(key for key in given if key not in self.options):
            span.note(notes.OptionsDropped(dropped))
        accepted = {key: value for key, value in given.items() if key in self.options}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in accepted.items()}

    async def _call(
        self, messages: Sequence[ChatMessage], options: Mapping[str, Any], span: Span
    ) -> tuple[ChatResponse, str, str]:
        """Return the last response of the LLM, its whole text and its reasoning."""
        blocking = _unwrapped(type(self.llm).achat) is _unwrapped(CustomLLM.achat)  # it would block the event loop
        if span.streaming and not blocking:
            return await self._streamed(messages, options, span)
        if blocking:
            reply = await asyncio.to_thread(self.llm.chat, messages, **options)
        else:
            reply = await self.llm.achat(messages, **options)
        thoughts = (block.content or "" for block in reply.message.blocks if isinstance(block, ThinkingBlock))
        text, thinking = reply.message.content or "", "".join(thoughts)
        if span.streaming:
            span.text(thinking, "reasoning")
            span.text(text)
        return reply, text, thinking

    async def _streamed(
        self, messages: Sequence[ChatMessage], options: Mapping[str, Any], span: Span
    ) -> tuple[ChatResponse, str, str]:
        reply = None
        text = thinking = ""
        async for reply in await self.llm.astream_chat(messages, **options):
            delta, thought = reply.delta or "", reply.additional_kwargs.get("thinking_delta") or ""
            span.text(thought, "reasoning")
            span.text(delta)
            text, thinking = text + delta, thinking + thought
        if reply is None:
            raise ModelError(f"{self.name}: the stream ended before the first token", model=self.name, retryable=True)
        return reply, text, thinking

    def _usage(self, reply: ChatResponse, request: Request, answer: str) -> Usage:
        """Return the usage that the LLM reports, or an estimate."""
        usage = _reported(reply)
        if usage is None:
            prompt = sum(estimate_tokens(message.text) for message in request.messages)
            usage = Usage(prompt, estimate_tokens(answer), estimated=True)
        cost = None if self.price is None else self.price.cost(usage)
        return Usage(usage.input_tokens, usage.output_tokens, cost, estimated=usage.estimated)


def _unwrapped(method: Callable[..., Any]) -> Any:
    """Return a method without the decorators of LlamaIndex."""
    return inspect.unwrap(method)


def _failure(name: str, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:500] or "no reason given"
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) else None
    retryable = isinstance(error, (TimeoutError, ConnectionError)) or (
        status is not None and (status in _RETRYABLE or status >= 500)
    )
    return ModelError(f"{name}: {type(error).__name__}: {reason}", model=name, status=status, retryable=retryable)


def _reported(reply: ChatResponse) -> Usage | None:
    """Return the reported usage, under the names of OpenAI, Anthropic and Ollama."""
    for fields in (reply.additional_kwargs, _get(reply.raw, "usage"), reply.raw):
        for prompt, completion in (
            ("prompt_tokens", "completion_tokens"),
            ("input_tokens", "output_tokens"),
            ("prompt_eval_count", "eval_count"),
        ):
            counts = _get(fields, prompt), _get(fields, completion)
            if isinstance(counts[0], int) and isinstance(counts[1], int):
                return Usage(counts[0], counts[1])
    return None


def _finish_reason(reply: ChatResponse) -> str:
    """Return the reported finish reason, from the fields of OpenAI, Anthropic and Ollama; by default "stop"."""
    choices = _get(reply.raw, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for reason in (_get(first, "finish_reason"), _get(reply.raw, "stop_reason"), _get(reply.raw, "done_reason")):
        if isinstance(reason, str):
            return {"max_tokens": "length", "end_turn": "stop"}.get(reason, reason)
    return "stop"


def _get(value: Any, name: str) -> Any:
    """Return a field of a mapping or an object, or `None`."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
