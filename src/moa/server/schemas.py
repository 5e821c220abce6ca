"""What a route takes and gives, as data, for whoever reads /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
YES: Schema = {"type": "boolean"}
ANY: Schema = {}
TABLE: Schema = {"type": "object"}


def table(fields: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    """An object that has these fields, and perhaps others."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required}


def titled(name: str, schema: Schema) -> Schema:
    """A schema that stands in the description once, under this name."""
    return {**schema, "title": name}


def rows(of: Schema) -> Schema:
    return {"type": "array", "items": dict(of)}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [dict(schema), {"type": "null"}]}


ERROR = table({"error": table({"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": or_null(TEXT)})})
"""An error in OpenAI's shape."""


@dataclass(frozen=True)
class Operation:
    """One method of one path. `stream` is the type of the content where the answer may come in pieces.

    `answer` is the schema of the JSON it gives, or `None` for text of the type `text`.
    """

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    answer: Schema | None = None
    body: type[BaseModel] | None = None
    stream: str | None = None
    status: int = 200
    error: Schema = field(default_factory=lambda: ERROR)
    text: str = "text/plain"
    query: Mapping[str, Schema] = field(default_factory=dict)
    others: Mapping[int, Schema] = field(default_factory=dict)  # by status
