"""A pytest plugin that fails a test which leaves a file descriptor, a thread, a child process or a task open.

Without it, what one test leaves open is closed when the garbage collector happens to run, and the warning fails
whichever test runs then. So garbage is collected at the end of each test. What outlives a test is moved out of the
collector's reach (`gc.freeze`), so that each collection looks only at what that one test created.

What a fixture with a wider scope opens belongs to no test; nor does what is opened under `kept_open`.
`PYTHONTRACEMALLOC=20` adds where an object was created.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

GRACE = 10.0
"""Seconds for something to close by itself: a thread that was stopped, a connection whose other end is closed."""

Resource = tuple[str, Any]
"""A kind, and what identifies one of it: a thread, a process ID, or a descriptor's number, device and inode."""

_kept: set[Resource] = set()


@contextmanager
def kept_open() -> Iterator[None]:
    """Do not count what opens in this block: it stays open for later tests."""
    before = open_resources()
    yield
    _kept.update(open_resources() - before)


class Leaks:
    """The hooks. Register an instance with pytest's plugin manager."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._before: set[Resource] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        self._before = open_resources()
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        if fixturedef.scope != "function":
            with kept_open():
                return (yield)
        value = yield
        if isinstance(value, asyncio.Runner):  # pytest-asyncio's, which cancels the tasks that are left
            fixturedef.addfinalizer(lambda: self._tasks.update(self._left(value)))
        return value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            for leak in self._leaks():
                error.add_note(leak)
            raise
        if leaks := self._leaks():
            pytest.fail(f"{item.nodeid} left open:\n" + "\n".join(leaks), pytrace=False)

    def _left(self, runner: asyncio.Runner) -> set[asyncio.Task[Any]]:
        """Return the tasks that do not end."""
        if tasks := asyncio.all_tasks(runner.get_loop()):
            _, tasks = runner.run(asyncio.wait(tasks, timeout=self._grace))
        return tasks

    def _leaks(self) -> list[str]:
        """Describe what the test that has just ended left open. The next test is not blamed for it."""
        found = [f"task: {task!r}" for task in self._tasks] + _collect()
        self._tasks.clear()
        end = time.monotonic() + self._grace
        while (left := self._new()) and time.monotonic() < end:
            time.sleep(0.002)
        found += [_described(kind, which) for kind, which in left]
        gc.freeze()
        return found

    def _new(self) -> set[Resource]:
        return {one for one in open_resources() - self._before - _kept if not _of_a_library(one)}


def open_resources() -> set[Resource]:
    """Return what is open in this process. A system that does not list descriptors or children has none here."""
    return {*_descriptors(), *_children(), *(("thread", thread) for thread in threading.enumerate())}


def _descriptors() -> Iterator[Resource]:
    try:
        names = os.listdir("/dev/fd")  # noqa: PTH208
    except OSError:
        return
    for name in names:
        try:
            status = os.fstat(int(name))
        except OSError:  # the descriptor by which they were listed
            continue
        yield "file descriptor", (int(name), status.st_dev, status.st_ino)


def _children() -> Iterator[Resource]:
    for children in Path("/proc/self/task").glob("*/children"):
        try:
            ids = children.read_text()
        except OSError:  # a thread that has ended
            continue
        yield from (("child process", int(one)) for one in ids.split())


def _of_a_library(resource: Resource) -> bool:
    """Return whether it is one of an installed library's own files, such as a font that the library keeps open."""
    kind, which = resource
    return kind == "file descriptor" and _target(which[0]).startswith(sys.prefix)


def _target(number: int) -> str:
    try:
        return str(Path(f"/dev/fd/{number}").readlink())
    except OSError:
        return ""


def _collect() -> list[str]:
    """Collect garbage. Return the warnings and errors of what was still open in it."""
    failed: list[str] = []

    def note(unraisable: sys.UnraisableHookArgs) -> None:
        failed.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    previous, sys.unraisablehook = sys.unraisablehook, note
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ResourceWarning)
            gc.collect()
    finally:
        sys.unraisablehook = previous
    return failed + [f"{warning.message}{_created(warning.source)}" for warning in warned]


def _described(kind: str, which: Any) -> str:
    if kind == "thread":
        frame = sys._current_frames().get(which.ident)
        return f"thread: {which!r}\n" + "".join(traceback.format_stack(frame))
    if kind == "child process":
        try:
            words = Path(f"/proc/{which}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            words = ""
        return f"child process: {which} {words or '(ended, not waited for)'}"
    owners = [one for one in gc.get_objects() if _number(one) == which[0]]
    return f"file descriptor: {which[0]} {_target(which[0])}" + "".join(f"\n  {one!r}{_created(one)}" for one in owners)


def _number(one: object) -> int | None:
    """Return the descriptor of a socket or a file."""
    if isinstance(one, type) or not hasattr(type(one), "fileno"):
        return None
    try:
        return int(one.fileno())  # type: ignore[attr-defined]
    except Exception:
        return None


def _created(one: object) -> str:
    where = tracemalloc.get_object_traceback(one)
    return "\n" + "\n".join(where.format()) if where else ""
