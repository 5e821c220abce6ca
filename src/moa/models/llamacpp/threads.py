"""Threads that end before the interpreter does, and resources that are freed after them.

A thread inside llama.cpp at the end of the interpreter aborts the process. So work here must watch `closing`, and the
interpreter waits for it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

closing = threading.Event()
"""Set when the interpreter is about to end: long work must stop."""

_lock = threading.Lock()
_threads: set[threading.Thread] = set()
_stops: list[Callable[[], None]] = []
_frees: list[Callable[[], None]] = []
_owner: int | None = None


def start(work: Callable[[], object], name: str) -> None:
    """Run work in a thread of its own. It must end soon after `closing` is set."""

    def run() -> None:
        try:
            work()
        finally:
            with _lock:
                _threads.discard(thread)

    thread = threading.Thread(target=run, name=name, daemon=True)
    with _lock:
        _watch_exit()
        _threads.add(thread)
        thread.start()


async def result_of(work: Callable[[], T], name: str) -> T:
    """Run work off the event loop and return its result. After a cancellation it still finishes, for other users.

    After the end of the interpreter there is no result: only daemon threads can still wait, and they vanish.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            if not closing.is_set():
                future.set_exception(error)
        else:
            future.set_result(result)

    start(run, name)
    return await asyncio.wrap_future(future)


def at_exit(*, stop: Callable[[], None], free: Callable[[], None]) -> None:
    """Call `stop` when `closing` is set, and `free` when every thread has ended."""
    with _lock:
        _watch_exit()
        _stops.append(stop)
        _frees.append(free)


def _watch_exit() -> None:
    global _owner
    if _owner is None:
        _owner = os.getpid()
        atexit.register(_end)


def _end() -> None:
    if os.getpid() != _owner:
        return  # a forked child has none of these threads
    closing.set()
    for stop in _stops:
        stop()
    while _threads:
        with _lock:
            running = list(_threads)
        for thread in running:
            thread.join()
    for free in _frees:
        free()
