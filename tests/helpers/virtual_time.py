"""Time that passes only while an event loop waits for it, and then at once.

A test whose models are all in its own event loop then takes no time, and how busy the machine is changes nothing: a
deadline passes exactly when everything that was to happen before it has happened. It does not fit a test that waits
for another thread or process: its deadlines would pass at once.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

PASS = 1e-6
"""Seconds that a pass of an event loop takes, so that a deadline is over after it and not at it."""

_SELECTOR = selectors.DefaultSelector


@contextmanager
def virtual_time() -> Iterator[Callable[[], float]]:
    """Replace the clocks of this process and the waiting of its event loops. Yield the clock."""
    now = 1000.0
    select = _SELECTOR.select

    def wait(selector: selectors.BaseSelector, timeout: float | None = None) -> object:
        nonlocal now
        if timeout is None:
            return select(selector, None)  # type: ignore[arg-type]
        ready = select(selector, 0)  # type: ignore[arg-type]
        now += PASS + (0 if ready else timeout)
        return ready

    def clock() -> float:
        return now

    with (
        mock.patch.object(time, "monotonic", clock),
        mock.patch.object(time, "perf_counter", clock),
        mock.patch.object(_SELECTOR, "select", wait),
    ):
        yield clock
