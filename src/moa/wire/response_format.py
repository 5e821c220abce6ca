"""Checks a text against the `response_format` of a request.

A schema comes from a client, so no reference to another document is fetched. Patterns are not tried, nor are
`unevaluatedProperties` and `unevaluatedItems` beside references: both may take exponential time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

REFERENCES = 20_000
"""The most references that are followed for one text."""

_PATTERNS = ("pattern", "patternProperties")
_REFERENCES = ("$ref", "$dynamicRef")


def problem(response_format: Mapping[str, Any] | None, text: str) -> str | None:
    """Return what is wrong with the text, in one line, or `None`."""
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
        raise RequestError("response_format: the JSON schema refers to itself again and again") from None
    return None if wrong is None else f"at {wrong.json_path}: {wrong.message[:200]}"


def check(response_format: Mapping[str, Any] | None) -> None:
    """Raise `RequestError` for an invalid `response_format`, before anything is sent."""
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
        ref = next((ref for ref in _texts(schema, "$ref") if not ref.startswith("#")), None)
        if ref is not None and not any(_texts(schema, "$id")):
            raise _elsewhere(ref)


def _schema(response_format: Mapping[str, Any]) -> Any:
    table = response_format.get("json_schema")
    if not isinstance(table, Mapping) or not isinstance(table.get("schema"), (Mapping, bool)):
        raise RequestError("response_format json_schema needs json_schema.schema")
    return table["schema"]


def _validator(schema: Any) -> Draft202012Validator:
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    own: dict[str, Any] = {keyword: _untried for keyword in _PATTERNS if any(_values(schema, keyword))}
    if "patternProperties" in own:
        own |= dict.fromkeys(("additionalProperties", "unevaluatedProperties"), _untried)
    if any(ref for keyword in _REFERENCES for ref in _texts(schema, keyword)):
        own |= {keyword: _Followed(keyword) for keyword in _REFERENCES}
        own |= dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), _untried)  # they follow references
    kind = validators.extend(Draft202012Validator, own) if own else Draft202012Validator  # type: ignore[no-untyped-call]
    return kind(_in_one_dialect(schema), registry=Registry())  # the default registry fetches


def _untried(*_: Any) -> tuple[()]:
    """Validate a keyword that no value fails."""
    return ()


class _Followed:
    """A reference keyword with a limit: a few references, each used twice by the one before, take exponential time."""

    def __init__(self, keyword: str) -> None:
        self._keyword = keyword
        self._left = REFERENCES

    def __call__(self, validator: Any, *arguments: Any) -> Iterator[Any]:
        from jsonschema import Draft202012Validator

        self._left -= 1
        if self._left < 0:
            raise RecursionError
        yield from Draft202012Validator.VALIDATORS[self._keyword](validator, *arguments)


def _in_one_dialect(schema: Any) -> Any:
    """Return the schema without `$schema`, by which parts of it would be read with other keywords."""
    if isinstance(schema, Mapping):
        named = isinstance(schema.get("$schema"), str)
        return {key: _in_one_dialect(inner) for key, inner in schema.items() if not (named and key == "$schema")}
    return [_in_one_dialect(inner) for inner in schema] if isinstance(schema, list) else schema


def _texts(schema: Any, key: str) -> Iterator[str]:
    """Yield the texts under a key, at any depth."""
    return (value for value in _values(schema, key) if isinstance(value, str))


def _values(schema: Any, key: str) -> Iterator[Any]:
    if isinstance(schema, Mapping):
        if key in schema:
            yield schema[key]
        for inner in schema.values():
            yield from _values(inner, key)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _values(inner, key)


def _elsewhere(ref: str) -> RequestError:
    return RequestError(f"response_format: {ref!r} is not in the JSON schema; nothing is fetched, so write it there")
