"""What the programs of this folder share: a mock upstream in a process of its own, medians, a table and JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOCK = Path(__file__).with_name("mock.py")


@dataclass(frozen=True)
class Mock:
    """A running mock upstream, see mock.py for what a model's name means."""

    url: str

    def config(self, folder: Path, mixtures: str) -> Path:
        """A moa.toml whose provider `mock` is this upstream."""
        path = folder / "moa.toml"
        path.write_text(f'[providers.mock]\nbase_url = "{self.url}"\nprice = {{ input = 0, output = 0 }}\n{mixtures}')
        return path

    def lateness(self) -> float:
        """By how many seconds, at worst, the mock itself was late since it was last asked."""
        import urllib.request

        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/late") as reply:
            return float(json.load(reply)["seconds"])


@contextmanager
def mock() -> Iterator[Mock]:
    """Start the mock upstream and stop it again."""
    process = subprocess.Popen([sys.executable, str(MOCK)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield Mock(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()


def arguments(description: str | None, runs: int = 5) -> argparse.Namespace:
    """The options that every program takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=runs, help="how often each measurement is repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def report(title: str, rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the rows, with the machine they were measured on."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.json:
        print(json.dumps({"title": title, "machine": machine, "runs": options.runs, "rows": list(rows)}))
        return
    print(f"{title} (median of {options.runs}; {machine})")
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """How long a command takes; it must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    return time.perf_counter() - begun


def run(main: Any) -> None:
    """Run an asynchronous program."""
    asyncio.run(main)
