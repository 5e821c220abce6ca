"""/openapi.json: every route of every protocol, with schemas derived from the types of bodies and replies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, NotRequired

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route
from typing_extensions import TypedDict

from .http import json
from .schemas import Operation

Schema = Mapping[str, Any]

OPERATIONS = (Operation("get", "/openapi.json", "This description", dict[str, Any]),)

_KEYS: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"header": []}]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


class ServerSentEventJSON(TypedDict):
    data: str
    event: NotRequired[str]
    id: NotRequired[str]


def routes(operations: Iterable[Operation]) -> list[Route]:
    """GET /openapi.json."""
    build = cache(lambda: document((*operations, *OPERATIONS)))

    async def describe(http: HTTPRequest) -> HTTPResponse:
        return json(build())

    return [Route("/openapi.json", describe, methods=["GET"])]


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the operations as an OpenAPI 3.1 document."""
    operations = tuple(operations)
    schemas = Schemas(kind for operation in operations for kind in _types(operation))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mixture-of-agents",
            "version": version("mixture-of-agents"),
            "description": "Mixtures of language models behind the protocols of OpenAI, Anthropic and Ollama.",
        },
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SCHEMES},
        "security": _KEYS,
    }


class _Generator(GenerateJsonSchema):
    """Generates schemas without a title for each field, which would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Schemas:
    """The schemas of types. A component has the name of its type, without the JSON at its end."""

    def __init__(self, types: Iterable[Any]) -> None:
        kinds = list({repr(kind): kind for kind in types}.values())
        inputs: list[Any] = [(repr(kind), "validation", TypeAdapter(kind)) for kind in kinds]
        schemas, rest = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Generator
        )
        definitions = rest.get("$defs", {})
        names = {name: name.removesuffix("JSON") for name in definitions}
        assert len(set(names.values())) == len(names), "two components of one name"
        self._schemas = {kind: _renamed(schema, names) for (kind, _), schema in schemas.items()}
        self.components = {
            names[name]: {**_renamed(schema, names), "title": names[name]} for name, schema in definitions.items()
        }

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type: inline, or a reference to a component."""
        schema: Schema = self._schemas[repr(kind)]
        return schema


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema with the references to components under their new names."""
    if isinstance(schema, list):
        return [_renamed(one, names) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    renamed = {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(target := schema.get("$ref"), str):
        renamed["$ref"] = f"#/components/schemas/{names[target.rpartition('/')[2]]}"
    return renamed


def _types(operation: Operation) -> Iterator[Any]:
    optional = (operation.answer, operation.body)
    yield from (kind for kind in optional if kind is not None)
    yield from (operation.error, *operation.query.values(), *operation.others.values(), str, ServerSentEventJSON)


def _described(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if operation.answer is None:
        content = {operation.text: _text(operation.text, schemas)}
    else:
        content = _json(schemas.of(operation.answer))
    if operation.stream:
        content[operation.stream] = _text(operation.stream, schemas)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schemas.of(kind)} for name, kind in operation.query.items()]
    described: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            str(operation.status): {"description": operation.summary, "content": content},
            **{str(status): _error(schemas.of(kind)) for status, kind in operation.others.items()},
            "default": _error(schemas.of(operation.error)),
        },
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(schemas.of(operation.body))}
    return described


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _text(media_type: str, schemas: Schemas) -> dict[str, Schema]:
    """Return the schema of a text; of a stream of events, that of one event."""
    return {"schema": schemas.of(ServerSentEventJSON if media_type == "text/event-stream" else str)}


def _error(schema: Schema) -> dict[str, Any]:
    return {"description": "An error", "content": _json(schema)}
