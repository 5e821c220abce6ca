"""What the programs of this folder share: a mock upstream and a server as processes, medians, a table and JSON."""

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
"""Five of the six proposers of Together's MoA; the answers of the sixth are not there."""


class Cores(NamedTuple):
    """Where processes run: the mock and the clients on one core, what is measured on another. `None` is anywhere."""

    helpers: int | None
    measured: int | None


def cores() -> Cores:
    """The first and the last core that there are, where there are two and a process can be bound to one."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    there = sorted(os.sched_getaffinity(0))
    return Cores(there[0], there[-1]) if len(there) > 1 else Cores(None, None)


def bind(core: int | None) -> None:
    """Run this process on one core from now on."""
    if core is not None:
        os.sched_setaffinity(0, {core})


class Late(NamedTuple):
    """How late the mock was itself since it was last asked, in seconds."""

    most: float
    p99: float


@dataclass(frozen=True)
class Mock:
    """A running mock upstream, see names.py for what a model's name means."""

    url: str
    process: subprocess.Popen[str]

    def config(self, folder: Path, mixtures: str) -> Path:
        """A moa.toml whose provider `mock` is this upstream."""
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
    """Start the mock upstream and stop it again."""
    command = [sys.executable, str(MOCK), *(["--core", str(core)] if core is not None else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process:
        try:
            yield Mock(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


def waited(process: int | str = "self") -> float:
    """Seconds that a process was ready to run, but others had its core; 0 where the system does not say.

    What other threads of its own have run meanwhile is taken off: they are no others.
    """
    stats = Path(f"/proc/{process}/schedstat")
    if not stats.exists():
        return 0.0
    ran, waits, _ = map(int, stats.read_text().split())
    every = sum(int(one.read_text().split()[0]) for one in stats.parent.glob("task/*/schedstat"))
    return (waits - (every - ran)) / 1e9


@dataclass(frozen=True)
class Served:
    """A running `moa serve`."""

    url: str
    process: subprocess.Popen[bytes]
    ready: float
    """How many seconds it took until it was ready."""
    log: Path

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far, of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(
    config: Path, core: int | None = None, store: bool = True, python: Sequence[str] = (sys.executable,)
) -> Iterator[Served]:
    """Start `moa serve` with a configuration, and stop it again. `python` is what runs it, such as a profiler.

    It keeps its runs, as it does for everybody who has not switched that off, but beside its configuration.
    """
    command = [*python, "-m", "moa", "serve", "--config", str(config), "--port", "0"]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        path = Path(log.name)
        begun = time.perf_counter()
        kept = {**os.environ, "MOA_STORE": str(config.with_name("runs.sqlite")) if store else "off"}
        process = subprocess.Popen(command, stderr=log, env=kept, preexec_fn=lambda: bind(core))
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
    """The options that every program takes, and `more`: their names with the defaults, whose types they have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help="how often each measurement is repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help="%(default)s")
    return parser.parse_args()


def outputs(path: Path, field: str = "output") -> dict[str, str]:
    """What a model answered to each instruction, from a list of {instruction, output} in JSON packed by gzip."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {row["instruction"]: row[field] for row in json.load(file)}


def report(title: str, rows: Sequence[dict[str, Any]], options: argparse.Namespace, of_runs: str = "median") -> None:
    """Print the rows, with the machine they were measured on, and what of the runs they are."""
    if not rows:
        sys.exit(f"{title}: nothing was measured; is there what was asked for? --help says what there is")
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
    """The least and the most of some values: how much a median is worth."""
    return f"{min(values):.1f}-{max(values):.1f}"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """How long a command takes; it must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    return time.perf_counter() - begun


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous program, under uvloop where that is present."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        from asyncio import new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
