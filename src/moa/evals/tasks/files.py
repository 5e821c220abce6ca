"""Files of data that exist: JSON, JSON lines and CSV, plain or packed by gzip. Errors name the file and the fault."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from ...errors import ConfigError


def text_of(path: Path) -> str:
    """The text of a file; whether it is packed is seen by its first bytes, not by its name."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: a JSON list of objects, JSON lines, or CSV."""
    text = text_of(path)
    if path.name.removesuffix(".gz").endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text)))
    try:
        found = (
            json.loads(text)
            if text.lstrip()[:1] == "["
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not found or not all(isinstance(row, dict) for row in found):
        raise ConfigError(f"{path}: holds no rows; it must be a list of objects, or one object a line")
    return list(found)


def found_in(folder: Path, *names: str) -> Path | None:
    """The first of these files that a folder has, plain or packed."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def needed_in(folder: Path, *names: str, why: str) -> Path:
    """The same, where one must be there; `why` ends the sentence that says which is missing."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; --data names the one with the benchmark's files")
    path = found_in(folder, *names)
    if path is None:
        raise ConfigError(f"{folder} has no {' or '.join(names)} (plain or .gz), which {why}")
    return path


def folder_of(data: Path, suite: str) -> Path:
    """The folder of a benchmark's files: one of its name in `data`, or `data` itself."""
    return data / suite if (data / suite).is_dir() else data


def digest(*paths: Path) -> str:
    """What changes when a file does, packed or not."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(text_of(path).encode()).digest())
    return whole.hexdigest()[:16]


def filled(template: str, **words: str) -> str:
    """A template with words in place of `{name}`s. What stands in braces otherwise, also within the words, stays."""
    names = "|".join(map(re.escape, words))
    return re.sub(rf"\{{({names})\}}", lambda found: words[found[1]], template)
