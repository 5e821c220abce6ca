"""Turn validation errors into one line that names the setting, the problem and, where possible, the fix."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ..errors import ConfigError


def setting_error(setting: str, problem: str) -> PydanticCustomError:
    """Return the error for a validator to raise when the fault is in one setting of the table that it checks."""
    return PydanticCustomError("setting", "{problem}", {"setting": setting, "problem": problem})


def config_error(error: ValidationError, source: object = None) -> ConfigError:
    """Return the first error as a `ConfigError`. `source` is the file, which the message then begins with."""
    first = error.errors()[0]
    setting = join_path(path_of(first))
    message = ": ".join(str(part) for part in (source, setting, _problem(first)) if part)
    return ConfigError(message, setting=setting or None)


def path_of(error: ErrorDetails) -> tuple[int | str, ...]:
    """Return where an error is, including the setting that `setting_error` named."""
    setting = error.get("ctx", {}).get("setting")
    return (*error["loc"], setting) if setting else error["loc"]


def join_path(path: Sequence[int | str]) -> str:
    """Return a path as users write it: `mixtures.panel.proposers[1].model`.

    Steps such as `<list>` only name a branch of a union, and are left out.
    """
    joined = ""
    for step in path:
        if isinstance(step, int):
            joined += f"[{step}]"
        elif not step.startswith("<"):
            joined += f".{step}" if joined else step
    return joined


def did_you_mean(wrong: str, known: Collection[str]) -> str:
    """Return the end of an error about an unknown name: the closest known one, else all of them."""
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"


def _problem(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    got = f", got {_shortened(value)}"
    if kind == "missing":
        return "required"
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind in ("tuple_type", "list_type"):
        return f"must be a list, such as [{_shortened(value)}]{'' if isinstance(value, str) else got}"
    if kind == "literal_error":
        return f"must be one of {context['expected']}{got}"
    if limit := _LIMITS.get(kind):
        key, comparison = limit
        return f"must be {comparison} {context[key]:g}{got}"
    if expected := _TYPES.get(kind):
        return f"must be {expected}{got}"
    return error["msg"]


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "greater than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_TYPES = {
    **dict.fromkeys(("dict_type", "model_type"), "a table, such as { name = value }"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text in quotes",
}


def _shortened(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
