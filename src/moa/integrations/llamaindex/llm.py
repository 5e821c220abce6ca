"""An LLM of LlamaIndex that runs a mixture in this process."""

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
    """An LLM of LlamaIndex that runs a mixture, by its name or as a model object. `config` is a `moa.toml`.

    Further keywords, of the LLM or of a call, are the options of a `Request`. The `additional_kwargs` of a response
    describe the run: `references`, `usage` with its `cost` in US dollars or `None`, `lost` proposals, `timing` in
    seconds. A stream starts with the proposals, as `thinking_delta`.
    """

    model: str
    options: dict[str, Any] = Field(default_factory=dict)

    _model: Model = PrivateAttr()

    def __init__(self, model: str | Model, config: str | None = None, **options: Any) -> None:
        own = options.pop("options", {})  # set when an LLM is copied or deserialized
        known = {key: options.pop(key) for key in OPTIONS & set(options)}
        built = get_model(model, config) if isinstance(model, str) else model
        super().__init__(model=built.name, options={**own, **known}, **options)
        self._model = built

    @classmethod
    def class_name(cls) -> str:
        return "MixtureLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata, with the smallest known context window of the members."""
        limit = self.options.get("max_tokens")
        limits = {"num_output": limit} if limit else {}
        return LLMMetadata(
            context_window=smallest_window(self._model), model_name=self.model, is_chat_model=True, **limits
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _wait(self._chat(messages, **kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._chat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from _iterate(self._parts(messages, **kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def parts() -> ChatResponseAsyncGen:
            async for part in self._parts(messages, **kwargs):
                yield part

        return parts()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(_wait(self._chat(_messages(prompt), **kwargs)))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(await self._chat(_messages(prompt), **kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        for part in _iterate(self._parts(_messages(prompt), **kwargs)):
            yield _completion(part)

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        async def parts() -> CompletionResponseAsyncGen:
            async for part in self._parts(_messages(prompt), **kwargs):
                yield _completion(part)

        return parts()

    def _request(self, messages: Sequence[ChatMessage], options: dict[str, Any]) -> Request:
        if unknown := set(options) - OPTIONS:
            raise RequestError(f"{min(unknown)!r}: unknown option; known: {', '.join(sorted(OPTIONS))}")
        chosen = {**self.options, **options}
        for name in ("stop", "tools"):
            if name in chosen:
                chosen[name] = tuple(chosen[name] or ())
        return Request([from_llamaindex(message) for message in messages], **chosen)

    async def _chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        trace = Trace()
        response = await generate(self._model, self._request(messages, options), trace.add)
        return _chat_response(response, trace)

    async def _parts(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncIterator[ChatResponse]:
        trace, narration = Trace(), Narration()
        text = thinking = ""
        async with stream(self._model, self._request(messages, options)) as events:
            async for event in events:
                trace.add(event)
                for piece in narration.add(event):
                    is_text = piece.kind == "text"
                    text, thinking = (text + piece.text, thinking) if is_text else (text, thinking + piece.text)
                    delta, thought = (piece.text, None) if is_text else ("", piece.text)
                    yield ChatResponse(
                        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=_blocks(text, thinking)),
                        delta=delta,
                        additional_kwargs={"thinking_delta": thought},
                    )
            yield _chat_response(events.response, trace, thinking)


def _chat_response(response: Response, trace: Trace, thinking: str = "") -> ChatResponse:
    """Return a complete response with the description of its run."""
    run = {key: value for key, value in trace.summary(response).items() if key != "answer"}
    blocks = [*_blocks(response.text, thinking or response.reasoning), *map(tool_call, response.tool_calls)]
    prompt, completion = response.usage.input_tokens, response.usage.output_tokens
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
        delta="",
        raw={"usage": counts},  # read by the token counter of LlamaIndex
        additional_kwargs={**run, "thinking_delta": None},
    )


def _blocks(text: str, thinking: str) -> list[ContentBlock]:
    thoughts: list[ContentBlock] = [ThinkingBlock(content=thinking)] if thinking else []
    return [*thoughts, TextBlock(text=text)]


def _completion(part: ChatResponse) -> CompletionResponse:
    text = part.message.content or ""
    return CompletionResponse(text=text, delta=part.delta, raw=part.raw, additional_kwargs=part.additional_kwargs)


def _messages(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=prompt)]


def _wait(work: Coroutine[Any, Any, Result]) -> Result:
    future = begin(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _iterate(parts: AsyncIterator[ChatResponse]) -> Iterator[ChatResponse]:
    """Yield parts as they arrive, for synchronous code. Closing the iterator cancels the run."""
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
