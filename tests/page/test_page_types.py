"""The types of the page match the server's API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).parents[2] / "web"


def test_the_types_of_the_page_are_generated_from_the_server() -> None:
    """To update them: uv run python web/tools/schema_ts.py > web/src/lib/api/schema.ts."""
    program = [sys.executable, str(WEB / "tools" / "schema_ts.py")]
    types = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert (WEB / "src" / "lib" / "api" / "schema.ts").read_text("utf-8") == types
