"""The body of a call for a response, and the request to the model that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from ....config.schema import Effort
from ....types import Message, Request
from ....wire import response_format
from ...http import InvalidParam
from ..resolve import Overrides
from .chat_body import PASSED_ON, MaxTokens, Open, Temperature, TopP
from .responses_items import Item, conversation

LOGPROBS = "message.output_text.logprobs"


class ResponseTool(Open):
    """A tool: a function, a "custom" one that takes plain text, or one that only OpenAI can run, which is ignored."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None

    def openai(self) -> dict[str, Any] | None:
        """Return the tool in the form of chat completions, `None` for one that only OpenAI can run."""
        if self.type not in ("function", "custom"):
            return None
        if not self.name:
            raise InvalidParam("tools", f"a tool of type {self.type} needs a name")
        function: dict[str, Any] = {"name": self.name}
        if self.type == "custom":
            definition = (self.format or {}).get("definition")
            about = "\n\n".join(str(part) for part in (self.description, definition) if part)
            function |= {"description": about, "parameters": _TEXT}
        else:
            about = self.description or ""
            function |= {"description": about} if about else {}
            function["parameters"] = self.parameters or {"type": "object", "properties": {}}
            function |= {"strict": True} if self.strict else {}
        return {"type": "function", "function": function}


_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


class ChosenTool(Open):
    type: Literal["function", "custom"]
    name: str


class Format(Open):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class Text(Open):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Open):
    effort: Effort | None = None
    summary: str | None = None


class ResponsesBody(Open):
    """A call for a response. Responses are not stored, so each call has the whole conversation. Unknown fields are
    accepted; the reply lists them as unused."""

    model: str
    input: str | list[Item] = ""
    instructions: str | None = None
    stream: bool | None = False
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: MaxTokens | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    moa: Overrides | None = None

    def request(self) -> Request:
        """Return the request to the model. Raises `RequestError`."""
        self._check()
        form = self._form()
        response_format.check(form)
        messages = [Message("system", self.instructions)] if self.instructions else []
        messages += [Message("user", self.input)] if isinstance(self.input, str) else conversation(self.input)
        tools = [tool for tool in (one.openai() for one in self.tools or ()) if tool]
        choice = self.tool_choice
        if isinstance(choice, ChosenTool):
            named: str | dict[str, Any] | None = {"type": "function", "function": {"name": choice.name}}
        else:
            named = choice
        return Request(
            messages,
            self.temperature,
            self.top_p,
            self.max_output_tokens,
            tools=tuple(tools),
            tool_choice=named if tools else None,
            response_format=form,
            extra=self._extra(bool(tools)),
        )

    @property
    def effort(self) -> Effort | None:
        return self.reasoning.effort if self.reasoning else None

    @property
    def logprobs(self) -> bool:
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)

    @property
    def custom(self) -> frozenset[str]:
        """The names of the custom tools."""
        return frozenset(tool.name for tool in self.tools or () if tool.type == "custom" and tool.name)

    @property
    def unused(self) -> Iterator[str]:
        """The fields that are accepted and have no effect."""
        further = (key for key, value in (self.model_extra or {}).items() if value is not None)
        yield from sorted(key for key in further if key not in PASSED_ON)
        if self.store:
            yield "store"
        yield from sorted({f"tools: {tool.type}" for tool in self.tools or () if not tool.openai()})

    def _check(self) -> None:
        further = self.model_extra or {}
        if self.previous_response_id or further.get("conversation"):
            raise InvalidParam("previous_response_id", "responses are not stored; send the whole conversation")
        if self.background:
            raise InvalidParam("background", "responses are not stored; use stream = true")
        if further.get("prompt"):
            raise InvalidParam("prompt", "there are no stored prompts; use instructions and input")

    def _form(self) -> dict[str, Any] | None:
        form = self.text.format if self.text else None
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "json_object"}
        wanted: dict[str, Any] = {"name": form.name or "answer", "schema": form.schema_}
        if form.strict is not None:
            wanted["strict"] = form.strict
        return {"type": "json_schema", "json_schema": wanted}

    def _extra(self, tools: bool) -> dict[str, Any]:
        extra = {key: value for key, value in (self.model_extra or {}).items() if key in PASSED_ON}
        if tools and self.parallel_tool_calls is not None:
            extra["parallel_tool_calls"] = self.parallel_tool_calls
        if self.text and self.text.verbosity:
            extra["verbosity"] = self.text.verbosity
        if self.logprobs:
            extra["logprobs"] = True
            if self.top_logprobs:
                extra["top_logprobs"] = self.top_logprobs
        return extra
