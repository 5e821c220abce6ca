"""The tests run with any of pytest's own plugins left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("compiled", [True, False])
def test_they_run_without_a_cache(compiled: bool) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "" if compiled else "1"}
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", __file__]
    done = subprocess.run(
        words, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
