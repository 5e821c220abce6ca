"""The errors raised on purpose, as one small tree.

MoaError
├── ConfigError            an invalid setting; nothing was sent                       exit code 2
│   └── RequestError       an invalid request (empty, an option out of range)
├── ModelError             a model gave no answer                                     exit code 1
│   ├── MissingKey         its API key is not set (also a ConfigError)                exit code 2
│   ├── ContextOverflow    the prompt is longer than its context window
│   ├── BadReply           the reply is no answer (HTML, empty, malformed)
│   │   └── EmptyReply     the reply is empty
│   ├── CutStream          the stream ended before the answer
│   └── LayerError         too few proposers of a layer answered; carries every cause
└── StoreError             the store of runs cannot be read or written                exit code 1

Any of these errors, raised by a proposer, loses its proposal. Otherwise a `ConfigError` stops the run before anything
is paid for. Any other exception is a bug and ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


class MoaError(Exception):
    """Base of every error raised on purpose. `exit_code` is the exit code of the command line."""

    exit_code = 1


class ConfigError(MoaError):
    """An invalid setting. `setting` is its path, such as `mixtures.panel.quorum`, if the error is about one setting."""

    exit_code = 2

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


class RequestError(ConfigError):
    """An invalid request: no messages, an unknown role, a sampling option out of range."""


class ModelError(MoaError):
    """A model gave no answer.

    `model` is its name, `status` the HTTP status if there was one. `retryable` says whether a retry may help,
    `retry_after` after how many seconds, if the upstream demands a wait.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after

    def with_message(self, message: str) -> Self:
        """Return the same error with another message."""
        error = type(self)(message)
        vars(error).update(vars(self))
        return error


class MissingKey(ModelError, ConfigError):
    """The API key of a model's provider is not in the environment."""

    exit_code = 2


class ContextOverflow(ModelError):
    """The prompt does not fit the model's context window. `window` is its size in tokens, if known."""

    def __init__(self, message: str, *, model: str = "", window: int | None = None) -> None:
        super().__init__(message, model=model)
        self.window = window


class BadReply(ModelError):
    """The reply of the upstream is no answer."""


class EmptyReply(BadReply):
    """The reply has neither text nor tool calls, although the model ended by itself."""


class CutStream(ModelError):
    """The stream of the upstream ended before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A proposal that did not arrive: its model, its layer, and the reason."""

    model: str
    layer: int | None
    error: str

    def __str__(self) -> str:
        """Return the model and the reason, with the name once."""
        return self.error if self.error.startswith(f"{self.model}:") else f"{self.model}: {self.error}"


class LayerError(ModelError):
    """Too few proposers of a layer answered. `lost` holds every cause."""

    def __init__(self, message: str, *, model: str = "", lost: Sequence[Lost] = (), exit_code: int = 1) -> None:
        super().__init__("\n".join((message, *(f"  {one}" for one in lost))), model=model)
        self.lost = tuple(lost)
        self.exit_code = exit_code


class StoreError(MoaError):
    """The store of runs cannot be read or written. This never prevents an answer."""
