"""Compares the latency of mixtures of agents that can be installed from PyPI, this library included, on the same mock.

Three proposers, then an aggregator, 1.0 s a call: the ideal is 2.0 s, and 1.0 s to the first word. Each peer has its
own environment and an adapter, bench/peers/ask_NAME.py. `--only` selects peers; `--envs DIR` keeps the environments.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Mock, median, mock, report

ROOT = Path(__file__).parents[1]
ADAPTERS = Path(__file__).with_name("peers")
CALL = "d0-w64-p0.015625"
PROPOSERS = tuple(f"{CALL}-{letter}" for letter in "abc")
FAILING = (*PROPOSERS[:2], "500-c")
LATE = 0.02
"""Maximum delay of the mock for one client, in seconds. Measurements with a later mock are void."""


@dataclass(frozen=True)
class Peer:
    """A distribution, its requirements, and a note for its row."""

    name: str
    distribution: str
    needs: tuple[str, ...]
    alone: tuple[str, ...] = ()
    """Packages that are installed without their dependencies."""
    one_model: bool = False
    """Whether it calls one model only, so that no single proposer can fail."""
    note: str = ""


OURS = ("moa", "moa_serve")
PEERS = (
    Peer("moa", "mixture-of-agents", (str(ROOT),), note="ours, as a library"),
    Peer("moa_serve", "mixture-of-agents", (f"{ROOT}[server]",), note="ours, through moa serve"),
    Peer("autogen", "autogen-core", ("autogen-agentchat", "autogen-ext[openai]"), note="its documentation's pattern"),
    Peer("hermes_agent", "hermes-agent", ("hermes-agent",), note="its provider moa, no tools"),
    Peer(
        "llama_index",
        "llama-index-packs-mixture-of-agents",
        ("llama-index-packs-mixture-of-agents==0.2.0", "llama-index-core<0.12", "llama-index-llms-openai-like"),
        note="0.5.1 cannot be imported; its aggregator does not see the proposals",
    ),
    Peer("llm_council", "llm-council-core", ("llm-council-core",), note="a review between: three phases"),
    Peer("moa_llm", "moa-llm", ("moa-llm",), note="its aggregator does not see the proposals"),
    Peer(
        "optillm",
        "optillm",
        (
            "aiohttp",
            "cerebras_cloud_sdk",
            "flask",
            "math-verify",
            "networkx",
            "numpy",
            "openai",
            "pyyaml",
            "requests",
            "sympy",
            "z3-solver",
        ),
        alone=("optillm",),
        one_model=True,
        note="one model, three phases; installed with what its moa imports only, without torch",
    ),
    Peer("swarms", "swarms", ("swarms",), note="proposers one after another on fewer than three cores"),
)


class CannotRun(Exception):
    """A peer could not be installed or run."""


@dataclass(frozen=True)
class Measurements:
    """The answers that an adapter reported, by round, without the first round."""

    rounds: tuple[tuple[dict[str, Any], ...], ...]
    first_at: float
    """Seconds from the start of the process to the first answer."""
    calls: int
    late: float


def output_of(command: Sequence[str], what: str) -> str:
    """Return a command's standard output. Raises `CannotRun` with the last line of its standard error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise CannotRun(f"{what}: {_last(done.stderr)}")
    return done.stdout


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "no output"


def install(peer: Peer, envs: Path) -> tuple[Path, dict[str, Any]]:
    """Return the interpreter of a peer's environment and its figures. Creates the environment if necessary."""
    folder = envs / peer.name
    python = folder / "bin" / "python"
    installed, wanted = folder / "requirements", "\n".join((*peer.alone, *peer.needs))
    if peer.name in OURS or not installed.exists() or installed.read_text() != wanted:
        output_of(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], "uv venv")
        into = ["uv", "pip", "install", "--quiet", "--refresh-package", peer.distribution, "--python", str(python)]
        if peer.alone:
            output_of([*into, "--no-deps", *peer.alone], "uv pip install")
        output_of([*into, *peer.needs], "uv pip install")
        installed.write_text(wanted)
    listing = ["uv", "pip", "list", "--quiet", "--format=json", "--python", str(python)]
    listed = json.loads(output_of(listing, "uv pip list"))
    packages = next(folder.glob("lib/python*/site-packages"))
    files = (file for file in packages.rglob("*") if file.is_file() and file.suffix != ".pyc")
    versions = {row["name"]: row["version"] for row in listed}
    size = sum(file.stat().st_size for file in files) / 1e6
    return python, {"version": versions[peer.distribution], "MB": round(size), "distributions": len(listed)}


def ask(
    peer: Peer, python: Path, upstream: Mock, clients: int, rounds: int, proposers: Sequence[str], limit: float
) -> Measurements:
    """Run the adapter: one uncounted round, then `rounds` rounds in which all clients ask at once."""
    task = {"url": upstream.url, "proposers": proposers, "aggregator": CALL, "clients": clients, "rounds": rounds + 1}
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' modules are compiled once
    with tempfile.TemporaryDirectory() as folder:
        upstream.late()
        before = sum(upstream.state()["faults"].values())
        begun = time.monotonic()
        process = subprocess.Popen(
            [str(python), str(ADAPTERS / f"ask_{peer.name}.py"), json.dumps(task)],
            stdout=subprocess.PIPE,
            stderr=(Path(folder) / "errors").open("w"),
            text=True,
            cwd=folder,
            env={**environment, "HOME": folder},
            start_new_session=True,
        )
        try:
            lines, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CannotRun(f"{clients} clients at once: no answer within {limit:g} s") from None
        if process.returncode or not lines:
            raise CannotRun(_last((Path(folder) / "errors").read_text()))
        calls = sum(upstream.state()["faults"].values()) - before
    answers = [json.loads(line) for line in lines.splitlines()]
    counted = tuple(tuple(each for each in answers if each["round"] == number) for number in range(1, rounds + 1))
    return Measurements(counted, answers[0]["at"] - begun, round(calls / len(answers)), upstream.late().most)


def measure(peer: Peer, envs: Path, upstream: Mock, options: argparse.Namespace) -> dict[str, Any]:
    """Return a peer's row.

    `N all` is the time until N clients at once have their answers, `one fails` the time with a proposer that returns
    500, `start` the time from process start to the first answer less `total`, `calls` the upstream calls of one answer.
    """
    many = options.clients
    columns = ("version", "total", "first word", f"{many} all", f"{many} median", "one fails", "start")
    row = {"peer": peer.name} | dict.fromkeys((*columns, "MB", "distributions", "calls", "late ms"), "-")
    row["note"] = peer.note
    try:
        python, there = install(peer, envs)
        row |= there
        row |= _alone(peer, python, upstream, options)
        row["one fails"] = "one model" if peer.one_model else _survived(peer, python, upstream, options)
        row |= _crowd(peer, python, upstream, options)
    except CannotRun as error:
        row["note"] = f"not measured: {error}"
    return row


def _alone(peer: Peer, python: Path, upstream: Mock, options: argparse.Namespace) -> dict[str, Any]:
    ask(peer, python, upstream, 1, 0, PROPOSERS, options.limit)  # compiles its modules
    starts = [ask(peer, python, upstream, 1, 0, PROPOSERS, options.limit).first_at for _ in range(options.runs)]
    for _ in range(3):
        one = ask(peer, python, upstream, 1, options.runs, PROPOSERS, options.limit)
        if one.late <= LATE:
            break
    else:
        raise CannotRun(f"the mock upstream was {1000 * one.late:.0f} ms late; retry on an idle machine")
    answers = [answer for (answer,) in one.rounds]
    if failed := [answer["error"] for answer in answers if answer["error"]]:
        raise CannotRun(failed[0])
    total, words = median([answer["total"] for answer in answers]), [answer["first"] for answer in answers]
    first = "whole only" if None in words else median(words)
    return {"total": total, "first word": first, "start": median(starts) - total, "calls": one.calls}


def _survived(peer: Peer, python: Path, upstream: Mock, options: argparse.Namespace) -> str | float:
    ((answer,),) = ask(peer, python, upstream, 1, 1, FAILING, options.limit).rounds
    return f"no answer ({answer['total']:.1f} s)" if answer["error"] else answer["total"]


def _crowd(peer: Peer, python: Path, upstream: Mock, options: argparse.Namespace) -> dict[str, Any]:
    many = options.clients
    crowd = ask(peer, python, upstream, many, options.runs, PROPOSERS, options.limit)
    if lost := sum(1 for round_ in crowd.rounds for answer in round_ if answer["error"]):
        return {f"{many} all": f"{lost} of {many * options.runs} lost"}
    totals = [[answer["total"] for answer in round_] for round_ in crowd.rounds]
    whole, middle = median([max(each) for each in totals]), median([median(each) for each in totals])
    return {f"{many} all": whole, f"{many} median": middle, "late ms": round(1000 * crowd.late)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--runs", type=int, default=5, help="counted questions per client")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="peers to measure")
    parser.add_argument("--clients", type=int, default=64, help="concurrent clients")
    parser.add_argument("--limit", type=float, default=170, help="timeout for a peer in seconds")
    parser.add_argument("--envs", type=Path, help="folder for the environments; a temporary one by default")
    options = parser.parse_args()
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        envs = options.envs.resolve() if options.envs else Path(folder)
        rows = [measure(peer, envs, upstream, options) for peer in PEERS if peer.name in options.only]
    report("peers, 1.0 s a call, ideal 2.0 s", rows, options)
    if any(row["note"].startswith("not measured") for row in rows if row["peer"] in OURS):
        sys.exit("ours could not be measured")


if __name__ == "__main__":
    main()
