"""Everything that can go wrong, as one small tree.

MoaError
├── ConfigError            a setting is wrong; nothing was sent                       exit code 2
│   └── RequestError       the question itself is wrong (empty, out of range)
├── ModelError             a model did not answer                                     exit code 1
│   ├── MissingKey         its API key is not set (also a ConfigError)                exit code 2
│   ├── ContextOverflow    the prompt is longer than its context window
│   ├── BadReply           it replied, but not with an answer (HTML, empty, malformed)
│   │   └── EmptyReply     it replied with nothing at all
│   ├── CutStream          its stream ended before the answer did
│   └── LayerError         too few proposers of a layer answered; carries every cause
└── StoreError             the store of runs cannot be read or written                exit code 1

An error that a proposer raises loses its proposal, whichever of these it is. Otherwise a `ConfigError` stops the run
before anything is paid for. Any other exception is a bug and is never mistaken for a lost proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


class MoaError(Exception):
    """Base of every error raised on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(MoaError):
    """An invalid setting. `setting` is its path, such as `mixtures.panel.quorum`, if the error is about one setting."""

    exit_code = 2

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


class RequestError(ConfigError):
    """The question cannot be asked as it is: no messages, an unknown role, a sampling option out of range."""


class ModelError(MoaError):
    """A model did not answer.

    `model` is its name; `status` the HTTP status if there was one; `retryable` says whether asking again may help;
    `retry_after` is how long the upstream asked to be left alone, in seconds.
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
    """The prompt does not fit the model's context window. `window` is its size in tokens, when known."""

    def __init__(self, message: str, *, model: str = "", window: int | None = None) -> None:
        super().__init__(message, model=model)
        self.window = window


class BadReply(ModelError):
    """The upstream replied with something that is not an answer."""


class EmptyReply(BadReply):
    """The reply has no words and calls no tool, and its model came to that end by itself."""


class CutStream(ModelError):
    """The upstream's stream ended before it said it was finished."""


@dataclass(frozen=True, slots=True)
class Lost:
    """One proposal that did not arrive: which model, in which layer, and why."""

    model: str
    layer: int | None
    error: str

    def __str__(self) -> str:
        """The model and why, the name said once."""
        return self.error if self.error.startswith(f"{self.model}:") else f"{self.model}: {self.error}"


class LayerError(ModelError):
    """Too few proposers of a layer answered. `lost` holds every cause."""

    def __init__(self, message: str, *, model: str = "", lost: Sequence[Lost] = (), exit_code: int = 1) -> None:
        super().__init__("\n".join((message, *(f"  {one}" for one in lost))), model=model)
        self.lost = tuple(lost)
        self.exit_code = exit_code


class StoreError(MoaError):
    """The store of runs cannot be read or written. It never stops a question from being answered."""
