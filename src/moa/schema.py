"""Whether a text has the form that a request's `response_format` asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import RequestError


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
    from jsonschema import Draft202012Validator

    wrong = next(Draft202012Validator(_schema(response_format)).iter_errors(value), None)
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


def _schema(response_format: Mapping[str, Any]) -> Any:
    told = response_format.get("json_schema")
    if not isinstance(told, Mapping) or not isinstance(told.get("schema"), (Mapping, bool)):
        raise RequestError("response_format json_schema needs json_schema.schema")
    return told["schema"]
