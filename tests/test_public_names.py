"""Every public name has a docstring and is on the page about the library."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import moa

LIBRARY = Path(__file__).parents[1] / "docs" / "library.md"


def test_the_list_of_public_names_is_sorted_and_whole() -> None:
    assert sorted(moa.__all__) == moa.__all__
    defined = {
        alias.name
        for node in ast.walk(ast.parse(Path(moa.__file__).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert defined == set(moa.__all__)


@pytest.mark.parametrize("name", [name for name in moa.__all__ if name != "Event"])  # a union of four classes
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = getattr(moa, name)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"moa.{name} has no docstring of its own"


@pytest.mark.parametrize("name", moa.__all__)
def test_every_public_name_stands_on_the_page_about_the_library(name: str) -> None:
    assert re.search(rf"\b{name}\b", LIBRARY.read_text("utf-8")), f"docs/library.md does not speak of {name}"


@pytest.mark.parametrize("name", [name for name in moa.__all__ if inspect.isclass(getattr(moa, name))])
def test_every_public_method_of_a_public_name_has_a_docstring(name: str) -> None:
    """Except the methods of a contract, which are documented with the contract."""
    contract = {"generate", "aggregate", "name", "models", "context_window", "check"}
    own = {
        key: value for key, value in vars(getattr(moa, name)).items() if not key.startswith("_") and key not in contract
    }
    silent = [
        key
        for key, value in own.items()
        if (inspect.isfunction(value) or isinstance(value, property)) and not inspect.getdoc(value)
    ]
    assert silent == []
