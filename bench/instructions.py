"""Counts the user-space instructions of a request to `moa serve` under valgrind, which other load hardly changes.

Mixture and clients are those of load.py with slow models, because valgrind slows the server about fifty times.
`--show` and `--store` select one case; `--keep DIR` keeps callgrind's files.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from client import Client, request
from common import Mock, Served, arguments, median, mock, report, run, served
from load import CONFIG, MODEL, SHOWN

SLOWLY = "d1-w64-p0.15"
VALGRIND = ("--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes")


async def counted(server: Served, clients: int) -> None:
    """Count one request of each client, after one uncounted request each."""
    connections = [await Client.to(server.url) for _ in range(clients)]

    async def measure() -> None:
        replies = []
        for client in connections:
            replies.append(client.ask(request("moa:panel")))
            await asyncio.sleep(0.5)
        await asyncio.gather(*replies)

    await measure()
    _count(server, "on")
    await measure()
    await asyncio.sleep(2)  # lets the store finish writing
    _count(server, "off")


def _count(server: Served, state: str) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(server.process.pid)], check=True, stdout=subprocess.DEVNULL)


def totals(folder: Path) -> list[int]:
    """Return the instructions of each thread, the serving thread first."""
    found = []
    for file in sorted(folder.glob("callgrind.out-*")):
        text = file.read_text()
        found.append(int(re.findall(r"^totals: (\d+)", text, re.MULTILINE)[0]))
    return found


async def measured(upstream: Mock, shown: str, store: bool, options: Any) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = upstream.config(folder, CONFIG.replace(MODEL, SLOWLY) % shown)
        python = ["valgrind", *VALGRIND, f"--callgrind-out-file={folder}/callgrind.out", sys.executable]
        with served(config, store=store, python=python) as server:
            await counted(server, options.clients)
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        serving, *others = totals(folder)
        return {"serving": serving / options.clients / 1e6, "others": sum(others) / options.clients / 1e6}


async def main() -> None:
    options = arguments(__doc__, runs=1, clients=4, show="", store="", keep="")
    if not shutil.which("callgrind_control"):
        print("instructions: valgrind is not installed", file=sys.stderr)
        return
    rows = []
    with mock() as upstream:
        for name, shown in SHOWN.items():
            for store in ("on", "off"):
                if options.show in ("", shown) and options.store in ("", store):
                    found = [await measured(upstream, shown, store == "on", options) for _ in range(options.runs)]
                    serving, others = (median([one[what] for one in found]) for what in ("serving", "others"))
                    row = {"proposals": name, "store": store, "serving, M a request": serving, "other threads": others}
                    rows.append({**row, "together": serving + others})
    report("instructions", rows, options)


if __name__ == "__main__":
    run(main())
