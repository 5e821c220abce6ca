"""A model provider for Inspect: `inspect eval task.py --model moa/panel`, or `moa/groq:llama-3.3-70b-versatile`.

Inspect finds it by an entry point. It runs in the process of Inspect, with the `moa.toml` of the command line, or that
of `-M config_file=PATH`.
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
"""Options of Inspect that are passed through unchanged."""

STOP_REASONS: Mapping[str, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


@modelapi(name="moa")
def moa() -> type[ModelAPI]:
    """Return the class of the provider `moa`."""
    return MixtureAPI


class MixtureAPI(ModelAPI):
    """A model of Inspect that calls a mixture or model by its name. Raises `ConfigError` for an unknown name."""

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
            raise ConfigError(f"moa/{model_name}: {wrong}: unknown option; known: config_file, the path of a moa.toml")
        self._model = get_model(model_name, settings)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Return the answer, with its cost in US dollars, and the proposals as metadata."""
        try:
            response = await generate(self._model, _request(input, tools, tool_choice, config))
        except ContextOverflow as error:
            return ModelOutput.from_content(self.model_name, str(error), stop_reason="model_length", error=str(error))
        return _output(response, self.model_name)


def _request(
    messages: Sequence[ChatMessage], tools: Sequence[ToolInfo], choice: ToolChoice, config: GenerateConfig
) -> Request:
    if (config.num_choices or 1) > 1:
        raise ConfigError(f"num_choices: must be 1, got {config.num_choices}; a mixture gives one answer")
    options = {name: value for name in EXTRA if (value := getattr(config, name)) is not None}
    return Request(
        [_message(message) for message in messages],
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed,
        stop=tuple(config.stop_seqs or ()),
        tools=tuple(_tool(tool) for tool in tools) if choice != "none" else (),
        tool_choice=_choice(choice) if tools and choice != "none" else None,
        response_format=_format(config),
        extra=options,
    )


def _message(message: ChatMessage) -> Message:
    calls: tuple[Mapping[str, Any], ...] = ()
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        calls = tuple(
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        )
    answered = message.tool_call_id if isinstance(message, ChatMessageTool) else None
    content = message.content if isinstance(message.content, str) else tuple(_parts(message.content))
    return Message(cast(MessageRole, message.role), content, tool_calls=calls, tool_call_id=answered)


def _parts(content: Sequence[Content]) -> Iterator[Part]:
    for part in content:
        if part.type == "text":
            yield {"type": "text", "text": part.text}
        elif part.type == "image":
            yield {"type": "image_url", "image_url": {"url": part.image}}
        elif part.type != "reasoning":  # not sent back to models
            raise ConfigError(f"message: content of type {part.type!r} cannot be sent to a mixture; use text or images")


def _tool(tool: ToolInfo) -> dict[str, Any]:
    parameters = tool.parameters.model_dump(exclude_none=True)
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if isinstance(choice, ToolFunction):
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice == "any" else "auto"


def _format(config: GenerateConfig) -> dict[str, Any] | None:
    if config.response_schema is None:
        return None
    wanted = config.response_schema
    schema = {"name": wanted.name, "schema": wanted.json_schema.model_dump(exclude_none=True)}
    return {"type": "json_schema", "json_schema": schema}


def _output(response: Response, name: str) -> ModelOutput:
    calls = [_tool_call(call) for call in response.tool_calls]
    message = ChatMessageAssistant(content=response.text, tool_calls=calls or None, model=name, source="generate")
    stop_reason = STOP_REASONS.get(response.finish_reason, "unknown")
    references = [{"model": reference.model, "text": reference.text} for reference in response.references]
    return ModelOutput(
        model=name,
        choices=[ChatCompletionChoice(message=message, stop_reason=stop_reason)],
        usage=_usage(response.usage),
        metadata={"references": references} if references else None,
    )


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function = call["function"]
    try:
        return ToolCall(call["id"], function["name"], json.loads(function["arguments"] or "{}"))
    except ValueError as error:
        return ToolCall(call["id"], function["name"], {}, parse_error=f"the arguments are not JSON: {error}")


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
