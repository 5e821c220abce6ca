"""The schema of a store: creating it, upgrading older versions, and refusing unknown ones."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..errors import StoreError
from . import aggregates, search

APPLICATION = 0x6D6F6131
"""What marks a SQLite file as ours."""

MIGRATIONS = (
    """
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        started REAL NOT NULL,
        model TEXT NOT NULL,
        question TEXT,
        parent TEXT,
        state TEXT NOT NULL,
        writer TEXT,
        error TEXT,
        seconds REAL,
        first_word REAL,
        calls INTEGER,
        lost INTEGER,
        input_tokens INTEGER,
        output_tokens INTEGER,
        estimated INTEGER,
        cost REAL
    );
    CREATE INDEX runs_by_model ON runs (model, id);
    CREATE INDEX runs_by_state ON runs (state, id);
    CREATE TABLE chunks (
        number INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        body TEXT NOT NULL
    );
    CREATE INDEX chunks_by_run ON chunks (run, number);
    CREATE TABLE texts (
        number INTEGER PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        body TEXT NOT NULL,
        joined INTEGER NOT NULL
    );
    CREATE TABLE uses (
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        text INTEGER NOT NULL REFERENCES texts,
        PRIMARY KEY (run, text)
    ) WITHOUT ROWID;
    CREATE INDEX uses_by_text ON uses (text);
    CREATE TABLE swept (at REAL NOT NULL)
    """,
    """
    ALTER TABLE runs ADD COLUMN owner TEXT;
    CREATE INDEX runs_by_owner ON runs (owner, id)
    """,
    """
    CREATE VIRTUAL TABLE search USING fts5 (
        question, answer, tokenize = "unicode61 remove_diacritics 2", prefix = "3"
    )
    """,
    """
    CREATE TABLE series (
        number INTEGER PRIMARY KEY,
        day TEXT NOT NULL,
        owner TEXT NOT NULL,
        mixture TEXT NOT NULL,
        role TEXT NOT NULL,
        model TEXT NOT NULL,
        calls INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        cached INTEGER NOT NULL DEFAULT 0,
        made INTEGER NOT NULL DEFAULT 0,
        retries INTEGER NOT NULL DEFAULT 0,
        asked INTEGER NOT NULL DEFAULT 0,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        cost REAL NOT NULL DEFAULT 0,
        unpriced INTEGER NOT NULL DEFAULT 0,
        share REAL NOT NULL DEFAULT 0,
        shared INTEGER NOT NULL DEFAULT 0,
        UNIQUE (day, owner, mixture, role, model)
    );
    CREATE TABLE spreads (
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        measure TEXT NOT NULL,
        slot INTEGER NOT NULL,
        calls INTEGER NOT NULL,
        PRIMARY KEY (series, measure, slot)
    ) WITHOUT ROWID;
    CREATE TABLE calls (
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        span TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series,
        calls INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        cached INTEGER NOT NULL DEFAULT 0,
        made INTEGER NOT NULL DEFAULT 0,
        retries INTEGER NOT NULL DEFAULT 0,
        asked INTEGER NOT NULL DEFAULT 0,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        cost REAL NOT NULL DEFAULT 0,
        unpriced INTEGER NOT NULL DEFAULT 0,
        share REAL NOT NULL DEFAULT 0,
        shared INTEGER NOT NULL DEFAULT 0,
        seconds INTEGER,
        first_word INTEGER,
        PRIMARY KEY (run, span)
    ) WITHOUT ROWID;
    ALTER TABLE runs ADD COLUMN traced INTEGER;
    CREATE INDEX runs_untraced ON runs (id) WHERE traced IS NULL AND state = 'answered' AND question IS NOT NULL
    """,
    "CREATE INDEX runs_unanswered ON runs (id) WHERE state != 'answered'",
    """
    ALTER TABLE series RENAME COLUMN asked TO request_tokens;
    ALTER TABLE calls RENAME COLUMN asked TO request_tokens
    """,
    # Events of version 2 follow: an older moa must not read them. Prewarms, then called readings, are no calls.
    """
    UPDATE runs SET calls = calls - (
        SELECT sum(length(body) - length(replace(body, '"role":"reading"', ''))) / length('"role":"reading"')
        FROM chunks WHERE chunks.run = runs.number
    )
    WHERE number IN (SELECT run FROM chunks WHERE instr(body, '"role":"reading"'))
    """,
)
"""The SQL that makes each version from the one before. A store's version is the number of these it has been through.

They are never edited once released, and hold SQL alone: code that changes later would change what an old store becomes.
"""

DERIVED: Mapping[int, Callable[[sqlite3.Connection], None]] = {3: search.fill, 4: aggregates.fill}
"""By version, functions that fill its tables from the stored runs. They run once all migrations are done, on the newest
schema."""

WAIT = 10.0
"""Seconds to wait for another process that is writing."""


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the disk into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path}: {error}; another store can be named with MOA_STORE") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path} is damaged ({error}) and is left as it is; move it away to begin a new one, "
            "or name another with MOA_STORE"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; another store can be named with MOA_STORE") from error


def connected(
    path: Path,
    migrations: Sequence[str] = MIGRATIONS,
    application: int = APPLICATION,
    derived: Mapping[int, Callable[[sqlite3.Connection], None]] = DERIVED,
) -> sqlite3.Connection:
    """Open the store, creating or upgrading it if needed.

    `application` is the SQLite application id of files of this kind. Raises `StoreError` and leaves the file unchanged.
    """
    with reported(path):
        _created(path)
        db = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
        try:
            _upgrade(db, path, migrations, application, derived)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block as one transaction, after other writers."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _created(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _upgrade(
    db: sqlite3.Connection,
    path: Path,
    migrations: Sequence[str],
    application: int,
    derived: Mapping[int, Callable[[sqlite3.Connection], None]],
) -> None:
    version = _version(db, path, migrations, application)
    if version == len(migrations):
        return
    if not version:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    with transaction(db):
        version = _version(db, path, migrations, application)  # another process may have been quicker
        if 0 < version < len(migrations):
            _saved(path, version)
        for step in migrations[version:]:
            for statement in step.split(";"):
                db.execute(statement)
        for introduced, fill in derived.items():
            if version < introduced <= len(migrations):
                fill(db)
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(db: sqlite3.Connection, path: Path, migrations: Sequence[str], expected: int) -> int:
    """Return the schema version of a store, 0 for an empty file. Raises `StoreError` for an unknown file."""
    used = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]  # first, as another process may make it now
    version, application = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("user_version", "application_id")
    )
    if application != expected and used:
        raise StoreError(f"{path} is a database of another program; name another file with MOA_STORE")
    if version > len(migrations):
        raise StoreError(
            f"{path} was written by a newer moa (version {version}; this one knows {len(migrations)}); "
            "install the newer moa again, or name another store with MOA_STORE"
        )
    return version


def _saved(path: Path, version: int) -> None:
    """Back up the store beside it before an upgrade.

    A connection that writes cannot be copied from, so this opens another one.
    """
    beside = path.with_name(f"{path.name}.version-{version}")
    beside.unlink(missing_ok=True)
    _created(beside)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(beside)) as copy:
        source.backup(copy)
