"""Build hook that adds the web page to a wheel. Editable installs skip it, so that `uv run moa` needs no Node.js."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebPage(BuildHookInterface):  # type: ignore[type-arg]
    """Runs `npm ci` and `npm run build` in `web/`.

    If that fails, the wheel is built without the page, and `moa serve` shows how to build it. With `MOA_WEB=required`
    in the environment, as for a release, the build fails instead.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or (problem := self._build()) is None:
            return
        if os.environ.get("MOA_WEB") == "required":
            raise RuntimeError(f"the web page could not be built: {problem}")
        self.app.display_warning(f"this wheel does not contain the web page: {problem}")

    def _build(self) -> str | None:
        """Build the page. Return the error, or None."""
        npm = shutil.which("npm")
        if npm is None:
            return "npm not found; install Node.js 20 or newer"
        for command in (["ci"], ["run", "build"]):
            process = subprocess.run([npm, *command], cwd=Path(self.root, "web"), capture_output=True, text=True)  # noqa: S603
            if process.returncode:
                return f"npm {' '.join(command)} failed:\n{process.stderr or process.stdout}"
        return None
