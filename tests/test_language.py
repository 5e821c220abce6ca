"""Code, docstrings, comments and docs use the field's plain terms: a short list of words that they avoid."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NAMES = {"told", "heard", "spoken", "mended", "whoever"}
"""Identifiers that say nothing of their content. Name a value after what it holds: `messages`, `payload`, `output`."""

WORDS = re.compile(r"\b(told|mend(s|ed|ing)?|whoever|somebody|anew|be it|so many)\b", re.IGNORECASE)
"""Words that docstrings, comments and docs avoid. Programs return, emit, raise, log, store, call and fix."""

PYTHON = [path for folder in ("src", "tests", "bench", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGE = [path for ending in ("*.ts", "*.svelte") for path in sorted((ROOT / "web" / "src").rglob(ending))]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HERE = Path(__file__)


def tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)


def where(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {text.strip()[:100]}"


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "examples"])
def test_no_identifier_is_a_word_of_the_list(folder: str) -> None:
    paths = [path for path in PYTHON if path.is_relative_to(ROOT / folder)]
    found = [
        where(path, token.start[0], token.line)
        for path in paths
        for token in tokens(path)
        if token.type == tokenize.NAME and token.string.strip("_").lower() in NAMES
    ]
    assert found == []


def test_no_identifier_of_the_page_is_a_word_of_the_list() -> None:
    pattern = re.compile(rf"(?<![\w'-])({'|'.join(NAMES)})(?=\s*(=|:|\(|\.|\[|\)|,|;|\?))")
    found = [
        where(path, number, line)
        for path in PAGE
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(re.sub(r"//.*|/\*.*?\*/", "", line))
    ]
    assert found == []


def test_no_docstring_and_no_comment_has_a_word_of_the_list() -> None:
    found = []
    for path in PYTHON:
        if path == HERE or not path.is_relative_to(ROOT / "src"):
            continue
        for token in tokens(path):
            prose = token.type == tokenize.COMMENT or (
                token.type == tokenize.STRING
                and token.string.startswith('"""')
                and token.line.lstrip().startswith('"""')
            )
            if prose and (match := WORDS.search(token.string)):
                found.append(where(path, token.start[0], f"{match[0]!r} in {token.string}"))
    assert found == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_no_page_of_the_docs_has_a_word_of_the_list(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [where(path, number, line) for number, line in enumerate(lines, 1) if WORDS.search(line)] == []
