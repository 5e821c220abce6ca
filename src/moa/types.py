"""The values of a call: a request, its messages, a response, its usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from .errors import RequestError

Part = Mapping[str, Any]
"""One part of a message in OpenAI's form: {"type": "text", "text": ...} or {"type": "image_url", ...}."""

MessageRole = Literal["system", "developer", "user", "assistant", "tool"]
"""The author of a message."""

_ROLES = get_args(MessageRole)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `content` is text, or parts if there are images."""

    role: MessageRole
    content: str | tuple[Part, ...] = ""
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise RequestError(f"unknown role {self.role!r}; a message is from: {', '.join(_ROLES)}")

    @property
    def text(self) -> str:
        """The text of the message, without its images."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part["text"] for part in self.content if part.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation to answer, with options. An option that is `None` is left to the model's default.

    `seed` is part of the request, so six samples of one model with six seeds are six different requests. `extra` are
    further sampling options that only some servers know (`top_k`, `min_p`, `repeat_penalty`); they are sent unchanged.
    """

    messages: Sequence[Message]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.messages, str) or not all(isinstance(message, Message) for message in self.messages):
            raise RequestError("messages must be a sequence of Message, such as (Message('user', 'Why?'),)")
        if isinstance(self.stop, str):
            raise RequestError(f"stop must be a sequence of strings, such as ({self.stop!r},)")
        object.__setattr__(self, "messages", tuple(self.messages))
        object.__setattr__(self, "stop", tuple(self.stop))
        if not any(message.text.strip() or not isinstance(message.content, str) for message in self.messages):
            raise RequestError("the prompt is empty; say what to ask")
        for message in self.messages:
            try:
                message.text.encode()
            except UnicodeEncodeError as error:
                raise RequestError(f"the text of a message is not valid Unicode: {error.reason}") from None
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        _within("max_tokens", self.max_tokens, 1, None, whole=True)
        _within("seed", self.seed, -(2**63), 2**64 - 1, whole=True)

    @property
    def question(self) -> str:
        """The text of the last user message, or "" if there is none."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def size(self) -> int:
        """The approximate length of the conversation in tokens, see `estimate_tokens`."""
        return sum(estimate_tokens(message.text) + 4 for message in self.messages)

    def instructed(self, instruction: str) -> Request:
        """Return this request with one more instruction to the model, after the caller's own system message."""
        head = next((i for i, message in enumerate(self.messages) if message.role not in ("system", "developer")), None)
        count = len(self.messages) if head is None else head
        own = [message.text for message in self.messages[:count]]
        system = Message("system", "\n\n".join((*own, instruction)))
        return replace(self, messages=(system, *self.messages[count:]))


def without_images(request: Request) -> Request:
    """Return the request with images, audio and files replaced by text placeholders."""
    messages = [_without_images(message) for message in request.messages]
    return request if messages == list(request.messages) else replace(request, messages=messages)


def _without_images(message: Message) -> Message:
    if isinstance(message.content, str) or all(part.get("type") == "text" for part in message.content):
        return message
    texts = (part["text"] if part.get("type") == "text" else _placeholder(part) for part in message.content)
    return replace(message, content="".join(texts))


def _placeholder(part: Part) -> str:
    kinds = {"image_url": "an image", "image": "an image", "input_audio": "a sound recording", "file": "a file"}
    return f"\n[Here the user gave {kinds.get(str(part.get('type')), 'something')} that you cannot see.]\n"


def _within(name: str, value: float | None, low: float, high: float | None, whole: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise RequestError(f"{name} must be a {'whole ' * whole}number, not {value!r}")
    if value < low or (high is not None and value > high) or value != value:
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise RequestError(f"{name} must be {bounds}, not {value}")


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a call used, and their cost in US dollars.

    `cost` is `None` if it is unknown, never 0. `cached_tokens` are the part of `input_tokens` read from the provider's
    prefix cache, `reasoning_tokens` the part of `output_tokens` spent on thinking. `estimated` says that the provider
    gave no count and the tokens were estimated from the length of the text.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )

    def costing(self, cost: float | None) -> Usage:
        """Return the same tokens with this cost."""
        return Usage(
            self.input_tokens, self.output_tokens, cost, self.cached_tokens, self.reasoning_tokens, self.estimated
        )

    @staticmethod
    def total(usages: Iterable[Usage]) -> Usage:
        """Return the sum. No usage costs nothing, and one unknown cost makes the sum unknown."""
        return sum(usages, Usage(cost=0.0))


@dataclass(frozen=True, slots=True)
class Response:
    """A response of a model: a proposal when it is made, a reference when the next layer reads it.

    `references` are the responses its model read to write it, so an answer carries the tree it came from.
    `finish_reason` is "stop", "length" (cut off by max_tokens), "tool_calls" or a value of the provider. `fallback`
    says why the answer is not the aggregator's, and whose it is; usually it is `None`.
    """

    model: str
    text: str
    usage: Usage = Usage()
    finish_reason: str = "stop"
    references: tuple[Response, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    logprobs: Any = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class PrewarmResult:
    """The result of reading the beginning of a prompt before its call.

    `tokens` is the length of what has been read so far, `read` how many of these tokens this call read, the others
    being in the prefix cache (`None`: unknown). `cost` is in US dollars, `None` if unknown.
    """

    tokens: int
    read: int | None
    seconds: float
    cost: float | None = 0.0


def estimate_tokens(text: str) -> int:
    """Return the approximate number of tokens: a quarter of the UTF-8 bytes, which suits English and CJK alike."""
    return -(-len(text.encode()) // 4)
