"""The documentation is correct: its programs run, its settings are valid, and its links resolve."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moa.config.load import load
from moa.config.schema import (
    AggregatorTable,
    EngineTable,
    MemberTable,
    MixtureTable,
    ProviderTable,
    StoreTable,
    Table,
)

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> Iterator[object]:
    """Return the fenced blocks of a language, except those whose fence has `no-run`."""
    for page in PAGES:
        found = re.findall(rf"^```{language}([^\n]*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for number, (words, text) in enumerate(found, 1):
            if "no-run" not in words:
                yield pytest.param(text, id=f"{page.name}-{number}")


@pytest.mark.parametrize("program", list(blocks("python")))
def test_programs_in_the_docs_run(program: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("settings", list(blocks("toml")))
def test_settings_in_the_docs_are_valid(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "moa.toml"
    path.write_text(settings, "utf-8")
    load(path)


@pytest.mark.parametrize("table", [ProviderTable, EngineTable, MixtureTable, MemberTable, AggregatorTable, StoreTable])
def test_every_setting_is_spoken_of(table: type[Table]) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    names = {name for name in table.model_fields if re.search(rf"(`|{{ ?|^|, ){name}(`| = )", text, re.MULTILINE)}
    assert names == set(table.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_tree_in_contributing_names_every_package() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("<!-- tree -->")[1]
    named: list[str] = []
    path: list[str] = []
    for indent, name in re.findall(r"^( *)([\w]+)/ ", tree, re.MULTILINE):
        path[len(indent) // 2 :] = [name]
        named.append("/".join(path))
    packages = {str(file.parent.relative_to(ROOT / "src").as_posix()) for file in (ROOT / "src/moa").rglob("*.py")}
    assert sorted(packages - set(named)) == []
    assert [name for name in named if name.startswith("moa") and name not in packages] == []


def test_the_reference_of_events_is_generated_from_their_classes() -> None:
    """To update it: uv run python docs/events.py > docs/events.md."""
    program = [sys.executable, str(ROOT / "docs" / "events.py")]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "events.md").read_text("utf-8") == printed


def test_the_reference_of_the_command_line_is_the_command_line() -> None:
    """docs/cli.md is the output of `typer moa.cli.app utils docs --name moa --title "Command line"`."""
    typer = [sys.executable, "-m", "typer", "moa.cli.app", "utils", "docs", "--name", "moa", "--title", "Command line"]
    output = subprocess.run(typer, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "cli.md").read_text("utf-8").strip() == output.strip()
