"""Mixtures as models of Inspect: `inspect eval task.py --model moa/panel`, or `moa/groq:llama-3.3-70b-versatile`.

Inspect finds this by an entry point. It asks in its own process, with the `moa.toml` that the command line would find,
or the one named by `-M config_file=PATH`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    Content,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolCall, ToolChoice, ToolFunction, ToolInfo

from ..api import get_model
from ..errors import ConfigError, ContextOverflow
from ..span import generate
from ..types import Message, MessageRole, Part, Request, Response, Usage

EXTRA = ("frequency_penalty", "presence_penalty", "top_k", "logit_bias", "logprobs", "top_logprobs", "reasoning_effort")
"""Options of Inspect's that are sent on as they are, to who knows them."""

STOPPED: Mapping[str, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


@modelapi(name="moa")
def moa() -> type[ModelAPI]:
    """The provider `moa`."""
    return Mixtures


class Mixtures(ModelAPI):
    """Asks the mixture or model of a name. Raises `ConfigError` where there is no such."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        settings = model_args.pop("config_file", None)
        if model_args or base_url:
            wrong = next(iter(model_args), "base_url")
            raise ConfigError(f"moa/{model_name}: unknown option {wrong!r}; known: config_file, a moa.toml")
        self._model = get_model(model_name, settings)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Answer, with the cost in US dollars and the proposals beside it, as metadata."""
        try:
            response = await generate(self._model, _request(input, tools, tool_choice, config))
        except ContextOverflow as error:
            return ModelOutput.from_content(self.model_name, str(error), stop_reason="model_length", error=str(error))
        return _output(response, self.model_name)


def _request(
    messages: Sequence[ChatMessage], tools: Sequence[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> Request:
    if (config.num_choices or 1) > 1:
        raise ConfigError("a mixture gives one answer; leave out num_choices")
    options = {name: value for name in EXTRA if (value := getattr(config, name)) is not None}
    return Request(
        [_message(one) for one in messages],
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed,
        stop=tuple(config.stop_seqs or ()),
        tools=tuple(_tool(one) for one in tools) if choice != "none" else (),
        tool_choice=_choice(choice) if tools and choice != "none" else None,
        response_format=_format(config),
        extra=options,
    )


def _message(told: ChatMessage) -> Message:
    calls: tuple[Mapping[str, Any], ...] = ()
    if isinstance(told, ChatMessageAssistant) and told.tool_calls:
        calls = tuple(
            {
                "id": one.id,
                "type": "function",
                "function": {"name": one.function, "arguments": json.dumps(one.arguments)},
            }
            for one in told.tool_calls
        )
    answers = told.tool_call_id if isinstance(told, ChatMessageTool) else None
    content = told.content if isinstance(told.content, str) else tuple(_parts(told.content))
    return Message(cast(MessageRole, told.role), content, tool_calls=calls, tool_call_id=answers)


def _parts(content: Sequence[Content]) -> Iterator[Part]:
    for one in content:
        if one.type == "text":
            yield {"type": "text", "text": one.text}
        elif one.type == "image":
            yield {"type": "image_url", "image_url": {"url": one.image}}
        elif one.type != "reasoning":  # which a model does not read again
            raise ConfigError(f"a mixture cannot be shown content of the kind {one.type!r}")


def _tool(told: ToolInfo) -> dict[str, Any]:
    parameters = told.parameters.model_dump(exclude_none=True)
    return {
        "type": "function",
        "function": {"name": told.name, "description": told.description, "parameters": parameters},
    }


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if isinstance(choice, ToolFunction):
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice == "any" else "auto"


def _format(config: GenerateConfig) -> dict[str, Any] | None:
    if config.response_schema is None:
        return None
    told = config.response_schema
    schema = {"name": told.name, "schema": told.json_schema.model_dump(exclude_none=True)}
    return {"type": "json_schema", "json_schema": schema}


def _output(response: Response, name: str) -> ModelOutput:
    calls = [_called(one) for one in response.tool_calls]
    said = ChatMessageAssistant(content=response.text, tool_calls=calls or None, model=name, source="generate")
    stopped = STOPPED.get(response.finish_reason, "unknown")
    references = [{"model": one.model, "text": one.text} for one in response.references]
    return ModelOutput(
        model=name,
        choices=[ChatCompletionChoice(message=said, stop_reason=stopped)],
        usage=_usage(response.usage),
        metadata={"references": references} if references else None,
    )


def _called(told: Mapping[str, Any]) -> ToolCall:
    function = told["function"]
    try:
        return ToolCall(told["id"], function["name"], json.loads(function["arguments"] or "{}"))
    except ValueError as error:
        return ToolCall(told["id"], function["name"], {}, parse_error=f"the arguments are not JSON: {error}")


def _usage(usage: Usage) -> ModelUsage:
    cached = min(usage.cached_tokens, usage.input_tokens)
    return ModelUsage(
        input_tokens=usage.input_tokens - cached,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_tokens_cache_read=cached or None,
        reasoning_tokens=usage.reasoning_tokens or None,
        total_cost=usage.cost,
    )
