"""Prints the types of what the server's API takes and gives, for src/lib/api/schema.ts, out of what /openapi.json says.

    uv run python web/tools/schema_ts.py > web/src/lib/api/schema.ts

openapi-typescript does the same for any description, but takes no TypeScript newer than 5.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from moa.server.app import PROTOCOLS
from moa.server.openapi import document

HEAD = """\
// What the server's API takes and gives, as /openapi.json describes it. Made by tools/schema_ts.py, not to be edited.
"""


def printed() -> str:
    """The whole file."""
    told = document(operation for module in PROTOCOLS for operation in module.OPERATIONS)
    schemas = told["components"]["schemas"]
    named: dict[str, None] = {}
    for path, methods in told["paths"].items():
        if path.startswith("/api/runs") or path.startswith("/api/mixtures") or path in OWN:
            _reach(methods, schemas, named)
    return HEAD + "".join(f"\n{_declared(name, schemas[name])}" for name in sorted(named))


OWN = ("/api/stats", "/api/estimate")
"""Paths of our own beside those; /api/chat and its like are Ollama's."""


def _reach(value: Any, schemas: dict[str, Any], named: dict[str, None]) -> None:
    """Note the names of all schemas that a part of the description speaks of."""
    if isinstance(value, dict):
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name and name not in named:
            named[name] = None
            _reach(schemas[name], schemas, named)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _reach(inner, schemas, named)


def _declared(name: str, schema: dict[str, Any]) -> str:
    if schema.get("type") == "object" and "properties" in schema:
        return f"export interface {name} {_object(schema)}\n"
    return f"export type {name} = {_type(schema)};\n"


def _object(schema: dict[str, Any], depth: int = 1) -> str:
    lines = [f"{'  ' * depth}{line}" for line in _fields(schema, depth)]
    return "\n".join(["{", *lines, f"{'  ' * (depth - 1)}}}"])


def _fields(schema: dict[str, Any], depth: int) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        key = name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)
        yield f"{key}{'' if name in required else '?'}: {_type(field, depth + 1)};"


def _type(schema: dict[str, Any], depth: int = 1) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(_type(one, depth) for one in schema[several]))
    match schema.get("type"):
        case "string":
            return "string"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "boolean"
        case "null":
            return "null"
        case "array":
            inner = _type(schema.get("items", {}), depth)
            return f"({inner})[]" if " | " in inner else f"{inner}[]"
        case "object" if schema.get("properties"):
            return _object(schema, depth)
        case "object":
            more = schema.get("additionalProperties")
            return f"Record<string, {_type(more, depth) if isinstance(more, dict) else 'unknown'}>"
    return "unknown"


if __name__ == "__main__":
    sys.stdout.write(printed())
