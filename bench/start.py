"""Measures the start time of `import moa`, `moa --help` and `moa serve`, and the size of an installation."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from common import arguments, median, report, seconds, served

ROOT = Path(__file__).parents[1]


def installed_megabytes() -> float:
    """Return the size of a virtual environment with `mixture-of-agents` installed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["uv", "venv", "--quiet", folder], check=True)
        python = str(Path(folder, "bin", "python"))
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, str(ROOT)], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        return sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) / 1e6


def ready(config: Path) -> float:
    """Return how many seconds `moa serve` takes until it accepts requests."""
    with served(config) as server:
        return server.ready


def main() -> None:
    options = arguments(__doc__)
    python = sys.executable
    moa = str(Path(python).with_name("moa"))
    usual = {"PYTHONDONTWRITEBYTECODE": ""}  # users' modules are compiled once
    for command in ([python, "-c", "import moa"], [moa, "--help"]):
        seconds(command, usual)
    rows = []
    for name, command, bound in (
        ("python -c pass", [python, "-c", "pass"], "-"),
        ("import moa", [python, "-c", "import moa"], "0.15 s"),
        ("moa --help", [moa, "--help"], "0.4 s"),
    ):
        took = median([seconds(command, usual) for _ in range(options.runs)])
        rows.append({"what": name, "measured": took, "goal": bound})
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "moa.toml")
        config.write_text(
            '[mixtures.panel]\nproposers = ["ollama:a", "ollama:b", "ollama:c"]\naggregator = "ollama:a"\n'
        )
        took = median([ready(config) for _ in range(options.runs)])
    rows.append({"what": "moa serve, ready", "measured": took, "goal": "1 s"})
    rows.append({"what": "install without the model, MB", "measured": installed_megabytes(), "goal": "60 MB"})
    report("start", rows, options)


if __name__ == "__main__":
    main()
