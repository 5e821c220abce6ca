"""What every test stands on: no configuration, no cache and no keys of the person who runs it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """What the processes that tests start inherit.

    Where the environment forbids Python to keep what it has compiled beside the source, it is kept in pytest's cache:
    else each of hundreds of processes compiles all that it imports. And a shell that runs the tests in the background
    has them ignore SIGINT, which tests send.
    """
    if sys.dont_write_bytecode and config.cache:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("compiled"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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

    from moa.models.llamacpp import weights
    from moa.models.llamacpp.model import LlamaCpp

    path = tmp_path_factory.mktemp("small") / "small.gguf"
    shutil.copyfile(weights.fetch(weights.SMOLLM2), path)
    return LlamaCpp(path, "small", context=256, slots=2)
