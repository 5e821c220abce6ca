"""Shared code of the benchmarks: the mock upstream and `moa serve` as processes, statistics, and reports."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MOCK = Path(__file__).with_name("mock.py")

MOA = (
    "Qwen1.5-110B-Chat",
    "Qwen1.5-72B-Chat",
    "Meta-Llama-3-70B-Instruct",
    "Mixtral-8x22B-Instruct-v0.1",
    "dbrx-instruct",
)
"""Five of the six proposers of Together's MoA; the answers of the sixth are not published."""


class Cores(NamedTuple):
    """CPU cores: one for the mock and the clients, one for what is measured. `None` means any core."""

    helpers: int | None
    measured: int | None


def cores() -> Cores:
    """Return the first and the last core, or no binding if there is only one or the system cannot bind processes."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    available = sorted(os.sched_getaffinity(0))
    return Cores(available[0], available[-1]) if len(available) > 1 else Cores(None, None)


def bind(core: int | None) -> None:
    """Bind this process to one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


class Late(NamedTuple):
    """Delays of the mock's writes since the last query, in seconds."""

    most: float
    p99: float


@dataclass(frozen=True)
class Mock:
    """A running mock upstream. names.py describes the model names."""

    url: str
    process: subprocess.Popen[str]

    def config(self, folder: Path, mixtures: str) -> Path:
        """Write a moa.toml whose provider `mock` is this upstream, and return its path."""
        path = folder / "moa.toml"
        provider = f'[providers.mock]\nbase_url = "{self.url}"\nprice = {{ input = 0, output = 0 }}\n'
        path.write_text(f'[store]\ncache = "off"\n{provider}{mixtures}')
        return path

    def late(self) -> Late:
        stats = self._get("/late")
        return Late(stats["most"], stats["p99"])

    def state(self) -> dict[str, Any]:
        """Return the `faults` so far, the number of `open` calls, and when the last one ended (`left_at`)."""
        return self._get("/state")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path) as reply:
            return dict(json.load(reply))


@contextmanager
def mock(core: int | None = None) -> Iterator[Mock]:
    """Start the mock upstream, and stop it at the end."""
    command = [sys.executable, str(MOCK), *(["--core", str(core)] if core is not None else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process:
        try:
            yield Mock(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


def waited(process: int | str = "self") -> float:
    """Return the seconds in which a process was runnable, but other processes had its core; 0 where this is unknown.

    The time for which other threads of the same process ran is subtracted.
    """
    stats = Path(f"/proc/{process}/schedstat")
    if not stats.exists():
        return 0.0
    ran, waits, _ = map(int, stats.read_text().split())
    all_threads = sum(int(file.read_text().split()[0]) for file in stats.parent.glob("task/*/schedstat"))
    return (waits - (all_threads - ran)) / 1e9


@dataclass(frozen=True)
class Served:
    """A running `moa serve`."""

    url: str
    process: subprocess.Popen[bytes]
    ready: float
    """Seconds from the start of the process until it accepted requests."""
    log: Path

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    @property
    def cpu(self) -> float:
        """CPU seconds so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(
    config: Path, core: int | None = None, store: bool = True, python: Sequence[str] = (sys.executable,)
) -> Iterator[Served]:
    """Start `moa serve`, and stop it at the end. `python` is the command that runs it, such as a profiler.

    With `store`, runs are stored beside the configuration file.
    """
    command = [*python, "-m", "moa", "serve", "--config", str(config), "--port", "0"]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        path = Path(log.name)
        begun = time.perf_counter()
        environment = {**os.environ, "MOA_STORE": str(config.with_name("runs.sqlite")) if store else "off"}
        process = subprocess.Popen(command, stderr=log, env=environment, preexec_fn=lambda: bind(core))
        try:
            while not (found := re.search(r"ready on (\S+)", path.read_text())):
                assert process.poll() is None, path.read_text()
                time.sleep(0.002)
            yield Served(found[1], process, time.perf_counter() - begun, path)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()


def arguments(description: str | None, runs: int = 5, **more: Any) -> argparse.Namespace:
    """Parse the common options, and `more`: names with their defaults, which also give the types."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help="how often each measurement is repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help="%(default)s")
    return parser.parse_args()


def outputs(path: Path, field: str = "output") -> dict[str, str]:
    """Return a model's output for each instruction, from a gzipped JSON list of {instruction, output}."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {row["instruction"]: row[field] for row in json.load(file)}


def report(title: str, rows: Sequence[dict[str, Any]], options: argparse.Namespace, of_runs: str = "median") -> None:
    """Print the rows as a table or as JSON, with the machine and the statistic that they show."""
    if not rows:
        sys.exit(f"{title}: no case matches the options; see --help")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.json:
        print(json.dumps({"title": title, "machine": machine, "runs": options.runs, "rows": list(rows)}))
        return
    print(f"{title} ({of_runs} of {options.runs}; {machine})")
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def span(values: Sequence[float]) -> str:
    """Format the range of the values."""
    return f"{min(values):.1f}-{max(values):.1f}"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Return how long a command takes. Raises an error if it fails."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    return time.perf_counter() - begun


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous program, under uvloop if it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
