"""Detects dead writers: each holds a lock on a file beside the store for as long as its process lives."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout


class WriterLock:
    """The lock of one writer. Other processes know the writer by `name`."""

    def __init__(self, store: Path) -> None:
        self.name = secrets.token_hex(8)
        self._path = _path(store, self.name)
        self._lock = FileLock(self._path, mode=0o600, thread_local=False)
        self._lock.acquire(timeout=0)

    def close(self) -> None:
        """Release the lock and remove its file."""
        self._lock.release()
        self._path.unlink(missing_ok=True)


def is_held(store: Path, name: str) -> bool:
    """Return whether the writer of that name is alive. The lock file of a dead one is removed."""
    path = _path(store, name)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            pass
    except (Timeout, OSError):
        return True
    with suppress(OSError):
        path.unlink()
    return False


def _path(store: Path, name: str) -> Path:
    return store.with_name(f"{store.name}-writer-{name}")
