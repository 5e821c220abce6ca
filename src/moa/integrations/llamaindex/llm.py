"""A mixture as an LLM of LlamaIndex's, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import fields
from queue import SimpleQueue
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    ContentBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM

from ...api import begin, get_model
from ...errors import RequestError
from ...model import Model, smallest_window
from ...span import generate
from ...streaming import stream
from ...trace.narration import Narration
from ...trace.tree import Trace
from ...types import Request, Response
from .messages import from_llamaindex, tool_call

Result = TypeVar("Result")

OPTIONS = frozenset(field.name for field in fields(Request)) - {"messages"}


class MixtureLLM(CustomLLM):
    """`MixtureLLM("moa:panel")`, or with a model made in Python instead of a name; `config` is a `moa.toml`.

    Further keywords, here or with a question, are the options of a `Request`. The `additional_kwargs` of a response
    hold the run: `references`, `usage` with its `cost` in US dollars or `None`, what was `lost`, `timing` in seconds.
    A stream tells the proposals first, as `thinking_delta`.
    """

    model: str
    options: dict[str, Any] = Field(default_factory=dict)

    _model: Model = PrivateAttr()

    def __init__(self, model: str | Model, config: str | None = None, **options: Any) -> None:
        own = options.pop("options", {})  # as they are when an LLM is copied or read back
        known = {key: options.pop(key) for key in OPTIONS & set(options)}
        built = get_model(model, config) if isinstance(model, str) else model
        super().__init__(model=built.name, options={**own, **known}, **options)
        self._model = built

    @classmethod
    def class_name(cls) -> str:
        return "MixtureLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The context window is the smallest one known among the members."""
        limit = self.options.get("max_tokens")
        limits = {"num_output": limit} if limit else {}
        return LLMMetadata(
            context_window=smallest_window(self._model), model_name=self.model, is_chat_model=True, **limits
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _waited(self._chat(messages, **kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._chat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from _each(self._parts(messages, **kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def parts() -> ChatResponseAsyncGen:
            async for part in self._parts(messages, **kwargs):
                yield part

        return parts()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(_waited(self._chat(_asked(prompt), **kwargs)))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(await self._chat(_asked(prompt), **kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        for part in _each(self._parts(_asked(prompt), **kwargs)):
            yield _completion(part)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        async def parts() -> CompletionResponseAsyncGen:
            async for part in self._parts(_asked(prompt), **kwargs):
                yield _completion(part)

        return parts()

    def _request(self, messages: Sequence[ChatMessage], options: dict[str, Any]) -> Request:
        if unknown := set(options) - OPTIONS:
            raise RequestError(f"no option {min(unknown)!r}; known: {', '.join(sorted(OPTIONS))}")
        chosen = {**self.options, **options}
        for several in ("stop", "tools"):
            if several in chosen:
                chosen[several] = tuple(chosen[several] or ())
        return Request([from_llamaindex(message) for message in messages], **chosen)

    async def _chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        trace = Trace()
        response = await generate(self._model, self._request(messages, options), trace.add)
        return _told(response, trace)

    async def _parts(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncIterator[ChatResponse]:
        trace, narration = Trace(), Narration()
        text = thinking = ""
        async with stream(self._model, self._request(messages, options)) as events:
            async for event in events:
                trace.add(event)
                for piece in narration.add(event):
                    said = piece.kind == "text"
                    text, thinking = (text + piece.text, thinking) if said else (text, thinking + piece.text)
                    delta, thought = (piece.text, None) if said else ("", piece.text)
                    yield ChatResponse(
                        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=_blocks(text, thinking)),
                        delta=delta,
                        additional_kwargs={"thinking_delta": thought},
                    )
            yield _told(events.response, trace, thinking)


def _told(response: Response, trace: Trace, thinking: str = "") -> ChatResponse:
    """A whole response, with what its run has to tell."""
    run = {key: value for key, value in trace.summary(response).items() if key != "answer"}
    blocks = [*_blocks(response.text, thinking or response.reasoning), *map(tool_call, response.tool_calls)]
    asked, answered = response.usage.input_tokens, response.usage.output_tokens
    counts = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
        delta="",
        raw={"usage": counts},  # where LlamaIndex's own token counter looks
        additional_kwargs={**run, "thinking_delta": None},
    )


def _blocks(text: str, thinking: str) -> list[ContentBlock]:
    thoughts: list[ContentBlock] = [ThinkingBlock(content=thinking)] if thinking else []
    return [*thoughts, TextBlock(text=text)]


def _completion(part: ChatResponse) -> CompletionResponse:
    text = part.message.content or ""
    return CompletionResponse(text=text, delta=part.delta, raw=part.raw, additional_kwargs=part.additional_kwargs)


def _asked(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=prompt)]


def _waited(work: Coroutine[Any, Any, Result]) -> Result:
    future = begin(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _each(parts: AsyncIterator[ChatResponse]) -> Iterator[ChatResponse]:
    """The parts as they come, for code that is not asynchronous. Leaving early cancels what makes them."""
    queue: SimpleQueue[ChatResponse | None] = SimpleQueue()

    async def fill() -> None:
        try:
            async for part in parts:
                queue.put(part)
        finally:
            queue.put(None)

    future = begin(fill())
    try:
        while (part := queue.get()) is not None:
            yield part
        future.result()
    finally:
        future.cancel()
