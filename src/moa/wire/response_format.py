"""Whether a text has the form that a request's `response_format` asks for.

A schema is a client's, so nothing that it refers to is fetched: it must stand in the schema itself. Neither are its
patterns tried, nor what is said of the properties and items that are left by references: both may take for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

REFERENCES = 20_000
"""How often what a schema refers to is looked up for one text."""

_PATTERNS = ("pattern", "patternProperties")
_REFERENCES = ("$ref", "$dynamicRef")


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
        raise RequestError("response_format: the JSON schema refers to itself again and again") from None
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
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    own: dict[str, Any] = {keyword: _untried for keyword in _PATTERNS if any(_told(schema, keyword))}
    if "patternProperties" in own:
        own |= dict.fromkeys(("additionalProperties", "unevaluatedProperties"), _untried)
    if any(ref for keyword in _REFERENCES for ref in _said(schema, keyword)):
        own |= {keyword: _Followed(keyword) for keyword in _REFERENCES}
        own |= dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), _untried)  # they follow them by themselves
    kind = validators.extend(Draft202012Validator, own) if own else Draft202012Validator  # type: ignore[no-untyped-call]
    return kind(_in_one_dialect(schema), registry=Registry())  # without one it would fetch whatever is referred to


def _untried(*_: Any) -> tuple[()]:
    """A keyword that nothing fails at."""
    return ()


class _Followed:
    """What a reference means, so many times: few of them, each named twice by the one before, are followed for ever."""

    def __init__(self, keyword: str) -> None:
        self._keyword = keyword
        self._left = REFERENCES

    def __call__(self, validator: Any, *told: Any) -> Iterator[Any]:
        from jsonschema import Draft202012Validator

        self._left -= 1
        if self._left < 0:
            raise RecursionError
        yield from Draft202012Validator.VALIDATORS[self._keyword](validator, *told)


def _in_one_dialect(schema: Any) -> Any:
    """The schema without the names of dialects, by which parts of it would be read with other keywords."""
    if isinstance(schema, Mapping):
        named = isinstance(schema.get("$schema"), str)
        return {key: _in_one_dialect(inner) for key, inner in schema.items() if not (named and key == "$schema")}
    return [_in_one_dialect(inner) for inner in schema] if isinstance(schema, list) else schema


def _said(schema: Any, key: str) -> Iterator[str]:
    """The texts that stand under a key, at any depth."""
    return (told for told in _told(schema, key) if isinstance(told, str))


def _told(schema: Any, key: str) -> Iterator[Any]:
    if isinstance(schema, Mapping):
        if key in schema:
            yield schema[key]
        for inner in schema.values():
            yield from _told(inner, key)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _told(inner, key)


def _elsewhere(ref: str) -> RequestError:
    return RequestError(f"response_format: {ref!r} is not in the JSON schema; nothing is fetched, so write it there")
