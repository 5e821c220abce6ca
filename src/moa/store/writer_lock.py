"""Is the process that writes a run still there? It holds a lock for as long as it lives, however it ends."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _locked(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class Alive:
    """The sign of one writer: a locked file beside the store. `name` is what other processes know it by."""

    def __init__(self, store: Path) -> None:
        self.name = secrets.token_hex(8)
        self._path = _beside(store, self.name)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        _locked(self._file)

    def close(self) -> None:
        """Take the sign down."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def lives(store: Path, name: str) -> bool:
    """Whether the writer of that name is still there. The sign of one that is gone is removed."""
    path = _beside(store, name)
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    gone = _locked(file)
    os.close(file)
    if gone:
        with suppress(OSError):
            path.unlink()
    return not gone


def _beside(store: Path, name: str) -> Path:
    return store.with_name(f"{store.name}-writer-{name}")
