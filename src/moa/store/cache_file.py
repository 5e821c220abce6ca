"""The open cache file: any thread reads it, one thread writes it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache, partial
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from ..errors import StoreError
from ..types import Response
from ..wrappers.cache import CachedAnswer
from .migrations import connected, reported, transaction
from .retention import EVERY, Limits, trim

APPLICATION = 0x6D6F6132
"""What marks a SQLite file as one of these."""

MIGRATIONS = (
    """
    CREATE TABLE calls (
        number INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        made REAL NOT NULL,
        model TEXT NOT NULL,
        seconds REAL NOT NULL,
        response TEXT NOT NULL
    );
    CREATE INDEX calls_by_time ON calls (made)
    """,
)

Row = tuple[bytes, float, str, float, str]


class CallFile:
    """Opens or creates the file. Raises `StoreError`.

    `tell` is called with a problem, and with `None` once it is solved.
    """

    def __init__(self, path: Path, limits: Limits, tell: Callable[[str | None], None]) -> None:
        self.process = os.getpid()
        self._path = path
        self._limits = limits
        self._tell = tell
        self._reading = _opened(path)
        self._lock = threading.Lock()
        self._waiting: deque[Row] = deque()
        self._writing: sqlite3.Connection | None = None
        self._writer = ThreadPoolExecutor(1, "moa-calls")
        self._swept = float("-inf")

    def find(self, key: str) -> CachedAnswer | None:
        """Return the response of a key. Raises `StoreError`."""
        with self._lock, reported(self._path):
            found = self._reading.execute(
                "SELECT seconds, response FROM calls WHERE key = ?", (bytes.fromhex(key),)
            ).fetchone()
        if found is None:
            return None
        seconds, response = found
        try:
            return CachedAnswer(_responses().validate_json(response), seconds)
        except ValueError as error:
            raise StoreError(f"{self._path}: an answer cannot be read: {error}") from error

    def keep(self, key: str, given: CachedAnswer) -> Future[None]:
        """Write a response; the future is done when that ended. Raises `StoreError` if it is not JSON."""
        try:
            response = orjson.dumps(given.response).decode()
        except TypeError as error:  # such as text that is not Unicode
            raise StoreError(f"an answer of {given.response.model} cannot be stored: {error}") from error
        self._waiting.append((bytes.fromhex(key), time.time(), given.response.model, given.seconds, response))
        return self._writer.submit(self._write)

    def close(self) -> None:
        """Write everything that is waiting and close the file."""
        self._writer.shutdown()
        self._reading.close()
        if self._writing:
            self._writing.close()

    def _write(self) -> None:
        """Write everything that is waiting at once; later calls may find nothing left."""
        rows: list[Row] = []
        while self._waiting:
            rows.append(self._waiting.popleft())
        if not rows:
            return
        try:
            with reported(self._path):
                self._writing = self._writing or _opened(self._path)
                with transaction(self._writing):
                    columns = "key, made, model, seconds, response"
                    self._writing.executemany(f"INSERT OR REPLACE INTO calls ({columns}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608
                if self._limits != Limits() and time.monotonic() > self._swept + EVERY:
                    self._swept = time.monotonic()
                    _purge(self._writing, self._limits)
        except StoreError as error:
            self._tell(str(error))
        else:
            self._tell(None)


def purge(path: Path, limits: Limits) -> int:
    """Remove the answers that are beyond the limits; how many they were. Raises `StoreError`."""
    with closing(_opened(path)) as db, reported(path):
        return _purge(db, limits)


def _purge(db: sqlite3.Connection, limits: Limits) -> int:
    return trim(db, limits, "calls", "made", partial(_remove, db))


def _remove(db: sqlite3.Connection, which: str, value: object, most: int) -> int:
    chosen = f"SELECT number FROM calls WHERE {which} ORDER BY made LIMIT {most}"  # noqa: S608
    with transaction(db):
        return db.execute(f"DELETE FROM calls WHERE number IN ({chosen})", (value,)).rowcount  # noqa: S608


def _opened(path: Path) -> sqlite3.Connection:
    return connected(path, MIGRATIONS, APPLICATION, {})


@cache
def _responses() -> TypeAdapter[Response]:
    return TypeAdapter(Response)
