"""The data of public benchmarks, fetched from where their authors keep it, and checked."""

from __future__ import annotations

import hashlib
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from ...errors import ConfigError
from ...paths import cache_folder, write_atomically

TIMEOUT = 60.0
"""Seconds in which something must come."""


@dataclass(frozen=True)
class Source:
    """Where one file is, and what it must be."""

    name: str
    url: str
    sha256: str


def sources() -> dict[str, tuple[Source, ...]]:
    """The files of every public benchmark."""
    return {
        suite: tuple(Source(name, one["url"], one["sha256"]) for name, one in table["files"].items())
        for suite, table in _tables().items()
    }


def licence(suite: str) -> str:
    """Under which licence its authors give the data of a benchmark."""
    return str(_tables()[suite]["licence"])


def folder(suite: str) -> Path:
    """Where the data of a benchmark is kept, once fetched."""
    return cache_folder() / "evals" / suite


def fetch(suite: str, into: Path, mirror: str | None = None, tell: Callable[[str], None] = lambda line: None) -> None:
    """Fetch the files of a benchmark that are not there yet, from their authors or by their names from a `mirror`.

    A file that is not what it should be is not kept. Raises `ConfigError`.
    """
    for source in sources()[suite]:
        path = into / source.name
        if path.exists() and _is(source, path.read_bytes()):
            tell(f"{path}: is there")
            continue
        url = f"{mirror.rstrip('/')}/{source.name}" if mirror else source.url
        data = _got(url)
        if not _is(source, data):
            found = hashlib.sha256(data).hexdigest()
            raise ConfigError(f"{url}: is not the file it should be (sha256 {found}, not {source.sha256}); not kept")
        into.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, "wb") as file:
            file.write(data)
        tell(f"{path}: {len(data):,} bytes from {url}")


def _is(source: Source, data: bytes) -> bool:
    return fnmatchcase(hashlib.sha256(data).hexdigest(), source.sha256)


def _got(url: str) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{url}: a mirror begins with http:// or https://")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as reply:  # noqa: S310
            return bytes(reply.read())
    except (urllib.error.URLError, OSError) as error:
        words = getattr(error, "reason", None) or error
        mend = "where you have the files, name their folder with --data"
        raise ConfigError(f"{url}: cannot be fetched: {words}; {mend}") from None


def _tables() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    return tomllib.loads(files("moa.evals.tasks").joinpath("sources.toml").read_text("utf-8"))
