"""The types of the page match the server's API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.mark.parametrize("types", ["schema", "events"])
def test_the_types_of_the_page_are_generated_from_the_package(types: str) -> None:
    """To update them: uv run python web/tools/events_ts.py > web/src/lib/api/events.ts, and likewise schema."""
    program = [sys.executable, str(WEB / "tools" / f"{types}_ts.py")]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert (WEB / "src" / "lib" / "api" / f"{types}.ts").read_text("utf-8") == printed
