"""Isolates every test from the user's configuration, cache and API keys."""

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
    """Set up the environment that child processes inherit.

    Compiled modules go to pytest's cache where the environment forbids to write them beside the source; otherwise
    hundreds of processes would each compile all imports. SIGINT is enabled, because a shell that runs the tests in the
    background has them ignore it, and tests send it.
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
    """Give each test an empty working folder and no configuration, runs, API keys or telemetry."""
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
    """Open what a process opens once and keeps, so that it is not a leak of the test that first needs it."""
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
    """A browser for the tests of the page, which are skipped without Playwright."""
    from helpers.browser import started

    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The embedded model with a context of 256 tokens and two slots."""
    import shutil

    from helpers.embedded import the_engine
    from moa.models.llamacpp import weights
    from moa.models.llamacpp.model import LlamaCpp

    path = tmp_path_factory.mktemp("small") / "small.gguf"
    shutil.copyfile(weights.fetch(weights.SMOLLM2), path)
    model = LlamaCpp(path, "small", context=256, slots=2)
    the_engine(model)
    return model
