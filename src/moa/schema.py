"""Whether a text has the form that a request's `response_format` asks for.

A schema is a client's, so nothing that it refers to is fetched: it must stand in the schema itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import RequestError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def problem(response_format: Mapping[str, Any] | None, text: str) -> str | None:
    """What is wrong with the text, in one line, or `None`."""
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"it is not JSON ({error})"
    if kind == "json_object":
        return None if isinstance(value, dict) else "it is JSON, but not an object"
    from referencing.exceptions import Unresolvable

    try:
        wrong = next(_validator(_schema(response_format)).iter_errors(value), None)
    except Unresolvable as error:
        raise _elsewhere(error.ref) from None
    except RecursionError:
        raise RequestError("response_format: the JSON schema refers to itself without end") from None
    return None if wrong is None else f"at {wrong.json_path}: {wrong.message[:200]}"


def check(response_format: Mapping[str, Any] | None) -> None:
    """Raise `RequestError` for a form that cannot be asked for, before anything is sent."""
    if response_format is None:
        return
    kind = response_format.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise RequestError(f"response_format type {kind!r} is not one of: text, json_object, json_schema")
    if kind == "json_schema":
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(_schema(response_format))
        except SchemaError as error:
            raise RequestError(f"response_format is not a valid JSON schema: {error.message[:200]}") from None
        schema = _schema(response_format)
        ref = next((ref for ref in _said(schema, "$ref") if not ref.startswith("#")), None)
        if ref is not None and not any(_said(schema, "$id")):
            raise _elsewhere(ref)


def _schema(response_format: Mapping[str, Any]) -> Any:
    told = response_format.get("json_schema")
    if not isinstance(told, Mapping) or not isinstance(told.get("schema"), (Mapping, bool)):
        raise RequestError("response_format json_schema needs json_schema.schema")
    return told["schema"]


def _validator(schema: Any) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry())  # without one it would fetch whatever is referred to


def _said(schema: Any, key: str) -> Iterator[str]:
    """The texts that stand under a key, at any depth."""
    if isinstance(schema, Mapping):
        if isinstance(told := schema.get(key), str):
            yield told
        for inner in schema.values():
            yield from _said(inner, key)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _said(inner, key)


def _elsewhere(ref: str) -> RequestError:
    return RequestError(f"response_format: {ref!r} is not in the JSON schema; nothing is fetched, so write it there")
