"""What every test stands on: no configuration, no cache and no keys of the person who runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


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
    from browser import started

    with started() as browser:
        yield browser
