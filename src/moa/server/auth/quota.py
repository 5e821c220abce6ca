"""What each key has spent today (UTC), in US dollars, kept in a file beside the key file."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from ...paths import write_atomically

log = logging.getLogger("moa.server")


class Quota:
    """Dollars spent today by the id of a key. With a `file`, they survive a restart of the server."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._day = _today()
        self._spent = self._load()

    @classmethod
    def beside(cls, keys: Path | None) -> Quota:
        """Return the quota of a key file."""
        return cls(keys.with_name(f"{keys.name}.spent") if keys else None)

    def spent(self, key: str) -> float:
        """Return the dollars that the key of this id has spent today."""
        self._start_day()
        return self._spent.get(key, 0.0)

    def add(self, key: str, dollars: float, persist: bool) -> None:
        """Count the cost of a run, and write it to the file if `persist`."""
        self._start_day()
        self._spent[key] = self._spent.get(key, 0.0) + dollars
        if self._file and persist:
            try:
                with write_atomically(self._file, private=True, sync=False) as file:  # it runs in the event loop
                    json.dump({"day": self._day, "spent": self._spent}, file)
            except OSError as error:
                log.warning("%s: cannot write what keys have spent: %s", self._file, error.strerror or error)

    def _start_day(self) -> None:
        if (today := _today()) != self._day:
            self._day, self._spent = today, {}

    def _load(self) -> dict[str, float]:
        try:
            stored = json.loads(self._file.read_text("utf-8")) if self._file else {}
            if stored.get("day") == self._day:
                return {str(key): float(dollars) for key, dollars in stored["spent"].items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            pass  # no file yet, or a damaged one
        return {}


def seconds_to_midnight() -> int:
    """Return the seconds until the next day begins (UTC)."""
    return 86_400 - int(time.time()) % 86_400


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
