"""Builds the web page into a wheel. An editable install does without: `uv run moa` must not need Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebPage(BuildHookInterface):  # type: ignore[type-arg]
    """`npm ci` and `npm run build` in `web/`. Without npm the wheel is made without the page, and `moa serve` says how
    to build it; with `MOA_WEB=required` in the environment, as for a release, there is no wheel without it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or (problem := self._built()) is None:
            return
        if os.environ.get("MOA_WEB") == "required":
            raise RuntimeError(f"the web page cannot be built: {problem}")
        self.app.display_warning(f"this wheel holds no web page: {problem}")

    def _built(self) -> str | None:
        """Build it. Why that failed, or `None`."""
        npm = shutil.which("npm")
        if npm is None:
            return "it needs npm, which comes with Node.js 20 or newer"
        for command in (["ci"], ["run", "build"]):
            done = subprocess.run([npm, *command], cwd=Path(self.root, "web"), capture_output=True, text=True)  # noqa: S603
            if done.returncode:
                return f"npm {' '.join(command)} failed:\n{done.stderr or done.stdout}"
        return None
