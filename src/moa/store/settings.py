"""Opens the store and the cache as configured: `$MOA_STORE`, else `[store]`, else the user's state folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..config.schema import StoreTable
from ..paths import expanded
from ..wrappers.cache import When
from .cache import FILE, SQLiteCache
from .store import Store

OFF = "off"
"""What `$MOA_STORE` says so that nothing is kept."""


def chosen(table: StoreTable, tell: Callable[[str], None] | None = None) -> Store:
    """Return the store to read, also if storing is disabled."""
    named = os.environ.get("MOA_STORE")
    path = named if named and named != OFF else table.path
    return Store(
        expanded(path) if path else None,
        text=table.store_content,
        days=table.max_age_days,
        megabytes=table.max_size_mb,
        tell=tell or logging.getLogger("moa.store").warning,
    )


def keeping(table: StoreTable, tell: Callable[[str], None] | None = None) -> Store | None:
    """Return the store to write to, or `None` if storing is disabled."""
    named = os.environ.get("MOA_STORE")
    off = named == OFF if named else not table.enabled
    return None if off else chosen(table, tell)


def remembering(table: StoreTable) -> SQLiteCache | None:
    """Return the cache beside the store, or `None` if it is disabled or content is not stored."""
    store = keeping(table)
    if store is None or table.cache == "off" or not table.store_content:
        return None
    return _calls(answers_beside(store), table.cache, table.max_age_days, table.max_size_mb)


def answers_beside(store: Store) -> Path:
    """Return the path of the cache that belongs to a store."""
    return store.path.with_name(FILE)


@cache
def _calls(path: Path, when: When, days: float | None, megabytes: float | None) -> SQLiteCache:
    return SQLiteCache(path, when, days=days, megabytes=megabytes)
