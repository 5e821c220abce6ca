"""Data files of tasks: JSON, JSON lines and CSV, plain or gzip, and the download of public ones."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...paths import cache_folder, write_atomically

TIMEOUT = 60.0
"""Seconds without data after which a download fails."""


def read_text(path: Path) -> str:
    """Return the text of a file; gzip is recognized by its first bytes."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file: a JSON list of objects, JSON lines, or CSV."""
    text = read_text(path)
    if path.name.removesuffix(".gz").endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text)))
    try:
        if text.lstrip()[:1] == "[":
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: has no rows; it must be a list of objects, or one object per line")
    return list(rows)


def find_file(folder: Path, *names: str) -> Path | None:
    """Return the first of these files that exists in a folder, plain or gzip."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def require_file(folder: Path, *names: str, content: str) -> Path:
    """Return the first of these files in a folder. Raises `ConfigError`, which names the missing `content`."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; set --data to the folder with the task's files")
    path = find_file(folder, *names)
    if path is None:
        raise ConfigError(f"{folder}: has no {' or '.join(names)} (plain or .gz), the file of {content}")
    return path


def data_folder(data: Path, task: str) -> Path:
    """Return the folder of a task's files: one of its name in `data`, or `data` itself."""
    return data / task if (data / task).is_dir() else data


def digest(*paths: Path) -> str:
    """Return a digest of the texts of files, the same whether they are gzip or not."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(read_text(path).encode()).digest())
    return whole.hexdigest()[:16]


def fill(template: str, **values: str) -> str:
    """Return a template with values in place of each `{name}`. Other braces, also within the values, stay."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: values[match[1]], template)


@dataclass(frozen=True)
class Source:
    """A public file: its name, URL and checksum."""

    name: str
    url: str
    sha256: str


def sources() -> dict[str, tuple[Source, ...]]:
    """Return the files of every public task."""
    return {
        task: tuple(Source(name, source["url"], source["sha256"]) for name, source in table["files"].items())
        for task, table in _tables().items()
    }


def licence(task: str) -> str:
    """Return the licence of the data of a public task."""
    return str(_tables()[task]["licence"])


def download_folder(task: str) -> Path:
    """Return the folder that the data of a public task is downloaded to by default."""
    return cache_folder() / "evals" / task


def fetch(task: str, into: Path, mirror: str | None = None, log: Callable[[str], None] = lambda line: None) -> None:
    """Download the missing files of a public task, from their authors or by their names from a `mirror`.

    A file with another checksum is not stored. Raises `ConfigError`.
    """
    for source in sources()[task]:
        path = into / source.name
        if path.exists() and _matches(source, path.read_bytes()):
            log(f"{path}: exists")
            continue
        url = f"{mirror.rstrip('/')}/{source.name}" if mirror else source.url
        data = _download(url)
        if not _matches(source, data):
            actual = hashlib.sha256(data).hexdigest()
            raise ConfigError(f"{url}: wrong checksum, got sha256 {actual}, not {source.sha256}; it was not stored")
        into.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, "wb") as file:
            file.write(data)
        log(f"{path}: {len(data):,} bytes from {url}")


def _matches(source: Source, data: bytes) -> bool:
    return fnmatchcase(hashlib.sha256(data).hexdigest(), source.sha256)


def _download(url: str) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"--mirror: must start with http:// or https://, got {url}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as reply:  # noqa: S310
            return bytes(reply.read())
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"{url}: cannot be downloaded: {reason}; if you have the files, set --data to their folder"
        ) from None


def _tables() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    return tomllib.loads(files("moa.evals.tasks").joinpath("sources.toml").read_text("utf-8"))
