"""Which store is in use: `$MOA_STORE`, else what `[store]` says, else the one in the user's state folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from ..config import StoreTable
from ..folders import expanded
from .store import Store

OFF = "off"
"""What `$MOA_STORE` says so that nothing is kept."""


def chosen(table: StoreTable, tell: Callable[[str], None] | None = None) -> Store:
    """The store to read, also where nothing is kept at present."""
    named = os.environ.get("MOA_STORE")
    path = named if named and named != OFF else table.path
    return Store(
        expanded(path) if path else None,
        text=table.text,
        days=table.days,
        megabytes=table.megabytes,
        tell=tell or logging.getLogger("moa.store").warning,
    )


def keeping(table: StoreTable, tell: Callable[[str], None] | None = None) -> Store | None:
    """The store to write to, or `None` where nothing is to be kept."""
    named = os.environ.get("MOA_STORE")
    off = named == OFF if named else table.off
    return None if off else chosen(table, tell)
