"""What every test stands on: no configuration, no cache and no keys of the person who runs it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.leaks import Leaks


def pytest_configure(config: pytest.Config) -> None:
    """What the processes that tests start inherit.

    Where the environment forbids Python to keep what it has compiled beside the source, it is kept in pytest's cache:
    else each of hundreds of processes compiles all that it imports. And a shell that runs the tests in the background
    has them ignore SIGINT, which tests send.
    """
    cache = getattr(config, "cache", None)  # None without the cache plugin (-p no:cacheprovider)
    if sys.dont_write_bytecode and cache:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("compiled"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Leaks())


@pytest.fixture(autouse=True)
def clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, an empty configuration, no runs, no API keys and no telemetry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MOA_CONFIG", raising=False)
    monkeypatch.delenv("MOA_STORE", raising=False)
    for name in os.environ:
        if name.startswith("OTEL_") or name.endswith(("_API_KEY", "_API_TOKEN")) or name == "HF_TOKEN":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def process_wide() -> None:
    """Open what a process opens once and keeps, so that it is not a leak of the test which happens to need it first."""
    import moa

    moa.ask(moa.Scripted("any", "answer"), "Anything")  # starts the event loop of `moa.ask`
    with suppress(ImportError):
        import uvloop

        uvloop.new_event_loop().close()  # opens libuv's pipe for signals


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest) -> None:
    """Load the embedded model, which a process keeps, before a test that needs it."""
    if request.node.get_closest_marker("embedded"):
        request.getfixturevalue("smollm2")


@pytest.fixture(scope="session")
def smollm2() -> None:
    from helpers.embedded import the_engine

    the_engine()


@pytest.fixture(name="virtual_time")
def time_that_takes_none() -> Iterator[Any]:
    """Let time pass only where an event loop waits for it, and then at once. For tests without threads or processes."""
    from helpers.virtual_time import virtual_time

    with virtual_time() as clock:
        yield clock


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser for the tests of the page; without Playwright they are skipped."""
    from helpers.browser import started

    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The embedded model with little room: 256 tokens, two answers side by side."""
    import shutil

    from helpers.embedded import the_engine
    from moa.models.llamacpp import weights
    from moa.models.llamacpp.model import LlamaCpp

    path = tmp_path_factory.mktemp("small") / "small.gguf"
    shutil.copyfile(weights.fetch(weights.SMOLLM2), path)
    model = LlamaCpp(path, "small", context=256, slots=2)
    the_engine(model)
    return model
