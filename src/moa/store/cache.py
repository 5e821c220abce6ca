"""A cache of responses in one SQLite file, shared by all processes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import StoreError
from ..paths import state_folder
from ..wrappers.cache import Cache, CachedAnswer, When

if TYPE_CHECKING:
    from .cache_file import CallFile

FILE = "calls.sqlite"

log = logging.getLogger("moa.store")


class SQLiteCache(Cache):
    """Cached responses in one SQLite file, by default in the user's state folder. Several processes may use it at once.

    Pass it to `get_model`, to `Builder`, or to your own `Cached`. `when` selects the calls to cache: those with a seed
    or temperature 0 ("seeded"), or "all". A response is in the file before it is used, so a killed process loses none
    (a power cut may lose the last moments). Responses older than `days` are removed, and the oldest ones beyond
    `megabytes`; `None` is no limit. If the file cannot be read or written, `tell` is called once and `problem` is set;
    calls are made anyway.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        when: When = "seeded",
        *,
        days: float | None = None,
        megabytes: float | None = None,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        super().__init__(when)
        chosen = state_folder() / FILE if path is None else Path(path)
        self.path = chosen / FILE if chosen.is_dir() else chosen
        self.problem: str | None = None
        self._days = days
        self._megabytes = megabytes
        self._tell = tell
        self._file: CallFile | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, key: str) -> CachedAnswer | None:
        try:
            return self._opened().find(key)
        except StoreError as error:
            self._tell_once(str(error))
            return None

    def keep(self, key: str, given: CachedAnswer) -> Future[None]:
        try:
            return self._opened().keep(key, given)
        except (StoreError, RuntimeError) as error:  # which an interpreter that is ending raises
            self._tell_once(str(error))
            return super().keep(key, given)

    def purge(self, *, days: float | None = None, megabytes: float | None = None) -> int:
        """Remove the responses beyond these limits, or all without limits, and return their number.

        Raises `StoreError`.
        """
        from .cache_file import purge
        from .retention import Limits

        limits = Limits(days, megabytes) if days is not None or megabytes is not None else Limits(days=0.0)
        return purge(self.path, limits) if self.path.exists() else 0

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        with self._opening:
            file, self._file = self._file, None
        if file:
            file.close()

    def _opened(self) -> CallFile:
        with self._opening:
            if self._file is None or self._file.process != os.getpid():  # neither lives on in a forked child
                from .cache_file import CallFile
                from .retention import Limits

                self._file = CallFile(self.path, Limits(self._days, self._megabytes), self._tell_once)
            return self._file

    def _tell_once(self, problem: str | None) -> None:
        if problem and problem != self.problem:
            self._tell(f"answers are not remembered: {problem}")
        self.problem = problem
