"""The operations of the HTTP API: what each takes and returns, as types that /openapi.json is derived from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from .errors import ErrorBodyJSON


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    `answer` is the type of the JSON that it returns, or `None` for a text of the type `text`; `stream` is the media
    type of a stream. `query` has the types of the parameters, `others` the types of other replies by their status.
    """

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    answer: Any = None
    body: type[BaseModel] | None = None
    stream: str | None = None
    status: int = 200
    error: Any = ErrorBodyJSON
    text: str = "text/plain"
    query: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[int, Any] = field(default_factory=dict)
