"""Runs `moa` in processes forked from one that has loaded it, because loading takes longer than most tests.

A forked process gets the arguments, the folder, the environment and the three streams of a new one, and ends like one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

LOADED = (
    "moa.cli.app",
    "moa.config.build",
    "moa.evals.session",
    "moa.models.openai.model",
    "moa.provenance.attribution",
    "moa.estimates.likely",
    "moa.runs.rerun",
    "moa.store.reader",
    "moa.store.writer",
    "moa.cli.terminal.live",
    "moa.cli.terminal.plain",
    "scipy.special",
    "typer._adapters",
)
"""Modules that many commands need."""


def run_forked(words: Sequence[str], environment: Mapping[str, str], streams: Sequence[int], seconds: float) -> int:
    """Run `moa` with these arguments and return its exit code. Raises `TimeoutError`."""
    process, loaded = _loaded()
    message = json.dumps([words, str(Path.cwd()), dict(environment)]).encode()
    loaded.settimeout(seconds)
    try:
        socket.send_fds(loaded, [len(message).to_bytes(4)], streams)
        loaded.sendall(message)
        received = loaded.recv(4)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        _loaded.cache_clear()
        raise
    assert received, "the forking process has ended"
    return int.from_bytes(received, signed=True)


@cache
def _loaded() -> tuple[subprocess.Popen[bytes], socket.socket]:
    from helpers.leaks import kept_open  # the forking process needs no pytest

    with kept_open():
        here, there = socket.socketpair()
        with there:
            command = [sys.executable, "-P", __file__, str(there.fileno())]  # this folder shadows library names
            nothing = subprocess.DEVNULL
            process = subprocess.Popen(
                command, stdin=nothing, stdout=nothing, pass_fds=[there.fileno()], start_new_session=True
            )

    def close() -> None:
        here.close()
        process.wait()

    atexit.register(close)
    return process, here


def _serve(connection: socket.socket) -> None:
    """Fork for each request until the connection is closed. Returns in the forked process."""
    while True:
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        if not size:
            sys.exit()
        words, folder, environment = json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL))
        if not (child := os.fork()):
            break
        for one in streams:
            os.close(one)
        connection.sendall(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]).to_bytes(4, signed=True))
    connection.close()
    for place, one in enumerate(streams):
        os.dup2(one, place)
        os.close(one)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = words


if __name__ == "__main__":
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # otherwise each process collects all of it at exit
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from moa.__main__ import main

    main()
