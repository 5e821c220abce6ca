"""The stored runs that a caller may see, read in a thread so that no stream waits for the disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from ...errors import StoreError
from ...events import Event
from ...store.reader import NoSuchRun, State, StoredRun
from ...store.stats import Figures
from ...store.store import Store
from ..service import RunNotFound, Service, StoreUnreadable

log = logging.getLogger("moa.server")

Result = TypeVar("Result")

POLL = 0.5
"""Seconds between two reads of a run that another process is making."""


NOT_FOUND = "run not found (it may have been deleted)"


class StoredRuns:
    """The store of one server. All methods raise `RunNotFound` or `StoreUnreadable`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def enabled(self) -> bool:
        """Whether runs are stored."""
        return self._service.store is not None

    async def runs(self, **conditions: Any) -> list[StoredRun]:
        """Return the caller's runs. Takes the conditions of `Store.runs`."""
        return await self._mine(lambda store, owner: store.runs(**conditions, owner=owner))

    async def figures(self, **conditions: Any) -> list[Figures]:
        """Return what the calls of the caller's runs took. Takes the conditions of `Store.figures`."""
        return await self._mine(lambda store, owner: store.figures(**conditions, owner=owner))

    async def trace(self, limit: int) -> None:
        """Attribute up to `limit` more of the caller's answers to their proposals."""
        owner = self._service.client
        if self.enabled:
            await self._read(lambda store: store.trace_shares(limit, owner=owner) if _exists(store) else 0)

    async def find(self, run: str) -> StoredRun:
        """Return the caller's run of exactly this id."""
        stored = await self._read(lambda store: store.find(run) if _exists(store) else None) if self.enabled else None
        if stored is None or stored.id != run or not self._service.may_see(stored.owner):
            raise RunNotFound(NOT_FOUND)
        return stored

    async def events(self, run: StoredRun) -> list[Event]:
        """Return the events of a run so far."""
        return await self._read(lambda store: store.events(run.id))

    async def remove(self, run: StoredRun) -> None:
        """Delete a run."""
        await self._read(lambda store: store.remove(run.id))

    async def _mine(self, read: Callable[[Store, str | None], list[Result]]) -> list[Result]:
        owner = self._service.client
        return await self._read(lambda store: read(store, owner) if _exists(store) else []) if self.enabled else []

    async def _read(self, work: Callable[[Store], Result]) -> Result:
        store = self._service.store
        assert store is not None
        try:
            return await self._service.in_thread(work, store)
        except NoSuchRun:
            raise RunNotFound(NOT_FOUND) from None
        except StoreError as error:
            log.error("cannot read the store: %s", error)
            raise StoreUnreadable("the store cannot be read; see the log of moa serve") from error


def _exists(store: Store) -> bool:
    """Write what is pending, and return whether anything is stored yet."""
    store.flush()
    return store.path.exists()


def full_name(model: str) -> str:
    """Return the full name of a mixture or model. A bare name is a mixture's."""
    return model if ":" in model else f"moa:{model}"


class StoredRunReader:
    """Reads a stored run like a live one. A run that another process is making is followed to its end."""

    def __init__(self, stored: StoredRuns, run: StoredRun) -> None:
        self._stored = stored
        self._run = run

    @property
    def state(self) -> State:
        return self._run.state

    async def read(self, after: int) -> AsyncIterator[list[tuple[int, Event]]]:
        """Yield the events after a number, with their numbers from 1, until the run is over."""
        while True:
            over = self._run.state != "running"
            events = await self._stored.events(self._run)
            for start in range(after, len(events), 500):
                yield list(enumerate(events[start : start + 500], start + 1))
            after = max(after, len(events))
            if over:
                return
            await asyncio.sleep(POLL)
            self._run = await self._stored.find(self._run.id)
