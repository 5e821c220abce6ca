"""The package is layered, and imports only go down."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import moa

PACKAGE = Path(moa.__file__).parent

FLOORS = (
    # values, the contract, text
    {
        "types",
        "errors",
        "events",
        "notes",
        "model",
        "span",
        "streaming",
        "sinks",
        "waker",
        "budget",
        "paths",
        "optional",
        "json_types",
        "text",
    },
    {"wire", "prompts"},
    {"trace", "costs"},
    {"wrappers", "provenance"},
    {"models", "mixture"},
    {"config"},
    {"store", "telemetry"},
    {"api", "estimates", "runs"},
    {"doctor", "evals", "integrations"},
    {"server"},
    {"cli", "__main__"},
)
"""The packages, and the modules beside them, from the lowest floor to the highest: each imports from its own floor and
from those below it."""


def imports() -> dict[str, set[str]]:
    """Return every module's imports from this package, also in functions and for types only, without `moa.`."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("moa", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[_named(parts)] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "moa"):
                base = (
                    [*parts[: len(parts) - node.level], *(node.module or "").split(".")]
                    if node.level
                    else ((node.module or "").split("."))
                )
                base = [part for part in base if part]
                for alias in node.names:
                    inner = PACKAGE.joinpath(*base[1:], alias.name)
                    module = inner.with_suffix(".py").exists() or inner.is_dir()
                    found[_named(parts)].add(_named((*base, alias.name) if module else tuple(base)))
            elif isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "moa" for alias in node.names), f"{path}: use from . import"
    return found


def _named(parts: tuple[str, ...]) -> str:
    return ".".join(part for part in parts[1:] if part != "__init__") or "__init__"


IMPORTS = imports()


def floor(module: str) -> int:
    """Return the floor of a module. A package is on one floor."""
    return next((number for number, names in enumerate(FLOORS) if module.split(".")[0] in names), -1)


@pytest.mark.parametrize("module", [module for module in IMPORTS if module != "__init__"])
def test_imports_only_go_down(module: str) -> None:
    assert floor(module) >= 0, f"{module} is on no floor yet: say in FLOORS on which"
    up = {other for other in IMPORTS[module] if floor(other) > floor(module)}
    assert up == set(), f"{module} is on floor {floor(module)} and imports from above"


def test_modules_import_each_other_in_no_circle() -> None:
    """The exception: a model receives a span, and a span calls models. They are two halves of one contract."""
    list(TopologicalSorter({**IMPORTS, "model": IMPORTS["model"] - {"span"}}).static_order())


def test_packages_import_each_other_in_no_circle() -> None:
    packages: dict[str, set[str]] = {}
    for module, imported in IMPORTS.items():
        package = module.split(".")[0]
        others = {name.split(".")[0] for name in imported} - {package}
        packages.setdefault(package, set()).update(others - {"span"} if module == "model" else others)
    list(TopologicalSorter(packages).static_order())


def test_few_files_stand_beside_the_packages() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 18


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("aiohttp", "pydantic", "typer", "rich", "orjson", "genai_prices", "xllamacpp", "opentelemetry")
    program = f"import sys, moa; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_file_says_first_what_it_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.read_text("utf-8").strip():
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path} does not begin with a docstring"
