"""How quick are the mixtures that can be installed from PyPI, asked for the same work in one run, ours among them?

One layer of three proposers, then an aggregator; every call takes 1.0 s and says 64 words evenly, the first at once, so
that the ideal is 2.0 s, and 1.0 s to the first word of the answer. Each peer is in an environment of its own, and asked
by a small program of ours, bench/peers/ask_NAME.py. A peer that cannot be installed or does not answer is listed with
the reason. The columns:

total       one client, from the question to the end of the answer, in seconds; the first question is left out
first word  the same, to the first word of the answer; "whole only" for a peer that does not stream it
64 all      64 clients at once, until all have their answers; 64 median is the median client's
one fails   one of the three proposers answers with status 500 to every call
start       from the start of the process to its first answer, less the total
calls       upstream calls for one answer
late ms     by how much the mock was late at worst while all asked at once, in milliseconds: a busy peer delays it
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
"""How late the mock may be with a word for one client, in seconds: what was measured when it was later is void."""


@dataclass(frozen=True)
class Peer:
    """What is installed for an adapter, and what a reader of its row must know."""

    name: str
    distribution: str
    needs: tuple[str, ...]
    alone: tuple[str, ...] = ()
    """What is installed without what it asks for."""
    one_model: bool = False
    """It asks one model only: no proposer can fail by itself."""
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
    """A peer that cannot be installed or asked; says why."""


@dataclass(frozen=True)
class Cache:
    """What an adapter reported, round by round, without the first."""

    rounds: tuple[tuple[dict[str, Any], ...], ...]
    first_at: float
    """When the first answer was there, in seconds after the start of the process."""
    calls: int
    late: float


def output_of(command: Sequence[str], what: str) -> str:
    """What a command prints; raises CannotRun with its last line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise CannotRun(f"{what}: {_last(done.stderr)}")
    return done.stdout


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "it said nothing"


def install(peer: Peer, envs: Path) -> tuple[Path, dict[str, Any]]:
    """The environment's interpreter, made where there is none yet, and what is in it."""
    folder = envs / peer.name
    python = folder / "bin" / "python"
    done, wanted = folder / "asked-for", "\n".join((*peer.alone, *peer.needs))
    if peer.name in OURS or not done.exists() or done.read_text() != wanted:
        output_of(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], "uv venv")
        into = ["uv", "pip", "install", "--quiet", "--refresh-package", peer.distribution, "--python", str(python)]
        if peer.alone:
            output_of([*into, "--no-deps", *peer.alone], "uv pip install")
        output_of([*into, *peer.needs], "uv pip install")
        done.write_text(wanted)
    listing = ["uv", "pip", "list", "--quiet", "--format=json", "--python", str(python)]
    listed = json.loads(output_of(listing, "uv pip list"))
    packages = next(folder.glob("lib/python*/site-packages"))
    files = (file for file in packages.rglob("*") if file.is_file() and file.suffix != ".pyc")
    versions = {row["name"]: row["version"] for row in listed}
    size = sum(file.stat().st_size for file in files) / 1e6
    return python, {"version": versions[peer.distribution], "MB": round(size), "distributions": len(listed)}


def ask(
    peer: Peer, python: Path, upstream: Mock, clients: int, rounds: int, proposers: Sequence[str], limit: float
) -> Cache:
    """Run the adapter: one round that is not counted, then so many in which all clients ask at once."""
    task = {"url": upstream.url, "proposers": proposers, "aggregator": CALL, "clients": clients, "rounds": rounds + 1}
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # as on a user's machine, where modules are compiled once
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
            env={**kept, "HOME": folder},
            start_new_session=True,
        )
        try:
            lines, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CannotRun(f"{clients} at once were not answered within {limit:g} s") from None
        if process.returncode or not lines:
            raise CannotRun(_last((Path(folder) / "errors").read_text()))
        calls = sum(upstream.state()["faults"].values()) - before
    answers = [json.loads(line) for line in lines.splitlines()]
    counted = tuple(tuple(each for each in answers if each["round"] == number) for number in range(1, rounds + 1))
    return Cache(counted, answers[0]["at"] - begun, round(calls / len(answers)), upstream.late().most)


def measure(peer: Peer, envs: Path, upstream: Mock, options: argparse.Namespace) -> dict[str, Any]:
    """The row of a peer."""
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
    ask(peer, python, upstream, 1, 0, PROPOSERS, options.limit)  # its modules are compiled now
    starts = [ask(peer, python, upstream, 1, 0, PROPOSERS, options.limit).first_at for _ in range(options.runs)]
    for _ in range(3):
        one = ask(peer, python, upstream, 1, options.runs, PROPOSERS, options.limit)
        if one.late <= LATE:
            break
    else:
        raise CannotRun(f"the mock upstream was {1000 * one.late:.0f} ms late: ask when the machine is idle")
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
    parser.add_argument("--runs", type=int, default=5, help="how many questions of each client are counted")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these peers")
    parser.add_argument("--clients", type=int, default=64, help="how many ask at once")
    parser.add_argument("--limit", type=float, default=170, help="seconds after which a peer is given up")
    parser.add_argument("--envs", type=Path, help="where the environments are kept; else they are made anew")
    options = parser.parse_args()
    with mock() as upstream, tempfile.TemporaryDirectory() as folder:
        envs = options.envs.resolve() if options.envs else Path(folder)
        rows = [measure(peer, envs, upstream, options) for peer in PEERS if peer.name in options.only]
    report("peers, 1.0 s a call, ideal 2.0 s", rows, options)
    if any(row["note"].startswith("not measured") for row in rows if row["peer"] in OURS):
        sys.exit("ours could not be measured")


if __name__ == "__main__":
    main()
