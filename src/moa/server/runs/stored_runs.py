"""The stored runs as a caller may see them, read beside the event loop, so that no stream waits for the disk."""

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

AGAIN = 0.5
"""Seconds between two looks at a run that another process is making."""


class StoredRuns:
    """The store of one server. Whatever is asked of it raises `RunNotFound` or `StoreUnreadable`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def kept(self) -> bool:
        """Whether runs are stored at all."""
        return self._service.store is not None

    async def runs(self, **conditions: Any) -> list[StoredRun]:
        """The caller's runs, as `Store.runs` gives them."""
        return await self._mine(lambda store, owner: store.runs(**conditions, owner=owner))

    async def figures(self, **conditions: Any) -> list[Figures]:
        """What the calls of the caller's runs took, as `Store.figures` gives it."""
        return await self._mine(lambda store, owner: store.figures(**conditions, owner=owner))

    async def trace(self, limit: int) -> None:
        """Find out for so many more of the caller's answers whose words they are."""
        owner = self._service.client
        if self.kept:
            await self._read(lambda store: store.trace_shares(limit, owner=owner) if _there(store) else 0)

    async def find(self, run: str) -> StoredRun:
        """The caller's run of exactly this id."""
        found = await self._read(lambda store: store.find(run) if _there(store) else None) if self.kept else None
        if found is None or found.id != run or not self._service.shows(found.owner):
            raise RunNotFound("there is no such run, or it is over since long")
        return found

    async def events(self, run: StoredRun) -> list[Event]:
        """All events of a run, or all that there are so far."""
        return await self._read(lambda store: store.events(run.id))

    async def remove(self, run: StoredRun) -> None:
        """Remove a run for good."""
        await self._read(lambda store: store.remove(run.id))

    async def _mine(self, found: Callable[[Store, str | None], list[Result]]) -> list[Result]:
        owner = self._service.client
        return await self._read(lambda store: found(store, owner) if _there(store) else []) if self.kept else []

    async def _read(self, work: Callable[[Store], Result]) -> Result:
        store = self._service.store
        assert store is not None
        try:
            return await self._service.in_thread(work, store)
        except NoSuchRun:
            raise RunNotFound("there is no such run, or it is over since long") from None
        except StoreError as error:
            log.error("the stored runs cannot be read: %s", error)
            raise StoreUnreadable("the stored runs cannot be read; the log of moa serve says why") from error


def _there(store: Store) -> bool:
    """Whether anything is stored yet, what is on its way counted."""
    store.flush()
    return store.path.exists()


def full_name(model: str) -> str:
    """The whole name of a mixture or model: a bare one is a mixture's."""
    return model if ":" in model else f"moa:{model}"


class StoredRunReader:
    """A stored run, read again as a live one is. One that another process is making is followed to its end."""

    def __init__(self, past: StoredRuns, run: StoredRun) -> None:
        self._past = past
        self._run = run

    @property
    def state(self) -> State:
        return self._run.state

    async def read(self, after: int) -> AsyncIterator[list[tuple[int, Event]]]:
        """The events after a number, with their numbers from 1, until there are no more."""
        while True:
            over = self._run.state != "running"
            events = await self._past.events(self._run)
            for begin in range(after, len(events), 500):
                yield list(enumerate(events[begin : begin + 500], begin + 1))
            after = max(after, len(events))
            if over:
                return
            await asyncio.sleep(AGAIN)
            self._run = await self._past.find(self._run.id)
