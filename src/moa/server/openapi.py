"""/openapi.json: every route of every protocol, described by the models that their bodies are checked with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from .http import json
from .schemas import TABLE, TEXT, Operation, Schema, table

OPERATIONS = (Operation("get", "/openapi.json", "This description", TABLE),)

_KEYS: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"header": []}]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def routes(operations: Iterable[Operation]) -> list[Route]:
    """GET /openapi.json."""
    told = cache(lambda: document((*operations, *OPERATIONS)))

    async def described(http: HTTPRequest) -> HTTPResponse:
        return json(told())

    return [Route("/openapi.json", described, methods=["GET"])]


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The operations as an OpenAPI 3.1 document."""
    operations = tuple(operations)
    models = sorted({one.body for one in operations if one.body}, key=lambda model: (model.__module__, model.__name__))
    schemas, defined = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    bodies = {model: schema for (model, _), schema in schemas.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = _operation(one, bodies)
    named: dict[str, Schema] = {}
    for methods in paths.values():
        for operation in methods.values():
            operation["responses"] = _hoisted(operation["responses"], named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mixture-of-agents",
            "version": version("mixture-of-agents"),
            "description": "Mixtures of language models behind the protocols of OpenAI, Anthropic and Ollama.",
        },
        "paths": paths,
        "components": {"schemas": {**defined.get("$defs", {}), **named}, "securitySchemes": _SCHEMES},
        "security": _KEYS,
    }


def _hoisted(schema: Any, named: dict[str, Schema]) -> Any:
    """The description with each schema that has a title replaced by its name; it is put among the `named`."""
    if isinstance(schema, list):
        return [_hoisted(one, named) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: _hoisted(value, named) for key, value in schema.items()}
    if not isinstance(title := schema.get("title"), str):
        return inner
    named[title] = inner
    return {"$ref": f"#/components/schemas/{title}"}


def _operation(one: Operation, bodies: Mapping[Any, Any]) -> dict[str, Any]:
    content = {one.text: _text(one.text)} if one.answer is None else {"application/json": {"schema": one.answer}}
    if one.stream:
        content[one.stream] = _text(one.stream)
    named: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    named += [{"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()]
    told: dict[str, Any] = {
        "summary": one.summary,
        "responses": {
            str(one.status): {"description": one.summary, "content": content},
            **{str(status): _failure(schema) for status, schema in one.others.items()},
            "default": _failure(one.error),
        },
    }
    if named:
        told["parameters"] = named
    if one.body:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": bodies[one.body]}}}
    return told


def _text(kind: str) -> dict[str, Schema]:
    """What is not JSON; of a stream of events, one event."""
    event = table({"data": TEXT, "event": TEXT, "id": TEXT}, ("event", "id"))
    return {"schema": event if kind == "text/event-stream" else TEXT}


def _failure(schema: Schema) -> dict[str, Any]:
    return {"description": "What went wrong", "content": {"application/json": {"schema": schema}}}
