"""Full-text search of questions and answers, with an SQLite index that is written as each run begins and ends."""

from __future__ import annotations

import re
import sqlite3

import orjson

from ..events import SpanEnd, SpanStart, from_record
from ..text.scripts import spaced
from .texts import stored_texts, unfolded, whole

_TERMS = re.compile(r'"([^"]*)"|(\S+)')


def put(db: sqlite3.Connection, number: int, question: str, answer: str) -> None:
    """Index a run by these texts, in place of earlier ones."""
    row = number, spaced(question), spaced(answer)
    db.execute("INSERT OR REPLACE INTO search (rowid, question, answer) VALUES (?, ?, ?)", row)


def remove(db: sqlite3.Connection, number: int) -> None:
    """Remove a run from the index."""
    db.execute("DELETE FROM search WHERE rowid = ?", (number,))


def query(typed: str) -> str:
    """Return what a user typed as an SQLite query: all the words, prefix*, "several words next to each other".

    It is "" if there is nothing to search for.
    """
    items = []
    for phrase, word in _TERMS.findall(typed):
        if term := " ".join(re.findall(r"\w+", spaced(phrase or word))):
            items.append(f'"{term}"' + "*" * word.endswith("*"))
    return " AND ".join(items)


def fill(db: sqlite3.Connection) -> None:
    """Index the runs of a store that had no index."""
    numbers = db.execute("SELECT number FROM runs WHERE question IS NOT NULL").fetchall()
    for (number,) in numbers:
        put(db, number, *_words(db, number))


def _words(db: sqlite3.Connection, number: int) -> tuple[str, str]:
    """Return the question of a stored run, and its answer or error."""
    chunks = db.execute("SELECT body FROM chunks WHERE run = ? ORDER BY number", (number,)).fetchall()
    records = [record for (body,) in chunks for record in orjson.loads(body)]
    texts = whole(stored_texts(db, number))
    version = records[0].get("version", 1)
    start, end = (from_record(unfolded(record, texts), version) for record in (records[0], records[-1]))
    assert isinstance(start, SpanStart)
    answer = (end.text or end.error) if isinstance(end, SpanEnd) and end.span == start.span else None
    return start.request.question if start.request else "", answer or ""
