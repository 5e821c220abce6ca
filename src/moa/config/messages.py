"""A mistake in a settings file, in one line that a person can mend it by."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError


def told(error: ValidationError) -> str:
    """The first mistake: where it stands, and what is wrong or what should be there."""
    first = error.errors()[0]
    kind, given, limits = first["type"], first["input"], first.get("ctx", {})
    found = f", not {_clip(given)}"
    if kind == "missing":
        words = "is missing"
    elif kind == "value_error":
        words = first["msg"].removeprefix("Value error, ")
    elif kind in ("tuple_type", "list_type"):
        words = f"must be a list, such as [{_clip(given)}]{'' if isinstance(given, str) else found}"
    elif kind in ("dict_type", "model_type"):
        words = f"must be a table, such as {{ name = value }}{found}"
    elif kind in ("int_type", "int_parsing", "int_from_float"):
        words = f"must be a whole number{found}"
    elif kind in ("float_type", "float_parsing", "finite_number"):
        words = f"must be a number{found}"
    elif kind.startswith("bool_"):
        words = f"must be true or false{found}"
    elif kind == "string_type":
        words = f"must be text in quotes{found}"
    elif kind == "literal_error":
        words = f"must be one of {limits['expected']}{found}"
    elif limit := _LIMITS.get(kind):
        name, says = limit
        words = f"must be {says} {limits[name]:g}{found}"
    else:
        words = first["msg"]
    return ": ".join(part for part in (_place(first["loc"]), words) if part)


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _place(path: tuple[int | str, ...]) -> str:
    """The path as it is written, without the steps `<...>` that only name a kind of value."""
    place = ""
    for step in path:
        if isinstance(step, int):
            place += f"[{step}]"
        elif not step.startswith("<"):
            place += f".{step}" if place else step
    return place


def _clip(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def did_you_mean(wrong: str, known: Collection[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, else all of them."""
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"
