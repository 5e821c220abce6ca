"""Folders of this machine for configuration, cache and state, and writing files whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import ConfigError


def cache_folder() -> Path:
    """Return the folder of downloaded models: `$MOA_CACHE`, else the user's cache folder. It may not exist yet."""
    if chosen := os.environ.get("MOA_CACHE"):
        return expanded(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("moa", appauthor=False)


def config_folder() -> Path:
    """Return the folder of the user's `moa.toml`. It may not exist.

    On macOS it is `~/.config/moa` as on Linux, because people edit the file and Finder hides `~/Library`.
    """
    if sys.platform == "win32":
        from platformdirs import user_config_path

        return user_config_path("moa", appauthor=False, roaming=True)
    from platformdirs.unix import Unix

    return Unix("moa").user_config_path


def state_folder() -> Path:
    """Return the folder of the stored runs. It may not exist yet."""
    from platformdirs import user_state_path

    return user_state_path("moa", appauthor=False)


def expanded(path: str) -> Path:
    """Return the path with `~` expanded. Raises `ConfigError` for the home folder of an unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: no such home folder; write the whole path") from None


@contextmanager
def write_atomically(path: Path, mode: str = "w", *, private: bool = False, sync: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that replaces it when the block ends without an error.

    Readers see the old content or the new one, never a part. Text is UTF-8 with Unix line ends. Permissions are 0600
    if `private`, else the usual ones. Without `sync` a power loss may leave an empty file. The folder must exist.
    Raises `OSError`.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600 if private else 0o666)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


_BINARY = getattr(os, "O_BINARY", 0)  # Windows
