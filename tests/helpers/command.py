"""Runs the command `moa` in its own process, as a user or a script does."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from helpers.subprocesses import run_forked
from helpers.upstream import Upstream

MOA = [sys.executable, "-m", "moa"]


def moa(*words: str, stdin: bytes | str = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. Standard input, output and error are files."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode() if isinstance(stdin, str) else stdin)
        given.seek(0)
        streams = [file.fileno() for file in (given, out, err)]
        code = run_forked(words, {**os.environ, **environment}, streams, 60)
        output = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess([*MOA, *words], code, *output)


def on_a_terminal(*words: str, interrupt: bool = False, answer: str = "") -> tuple[int, str]:
    """Run the command on a terminal of 80 columns. Return the exit code and the output. `answer` is typed first."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    with subprocess.Popen([*MOA, *words], stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        os.write(master, answer.encode())
        written = b""
        while True:
            ready, _, _ = select.select([master], [], [], 30)
            assert ready, "nothing was written for long"
            try:
                packet = os.read(master, 65536)
            except OSError:  # Linux, when the other side is closed
                break
            if not packet:
                break
            written += packet
            if interrupt and b"thinking" in written:
                interrupt = False
                process.send_signal(signal.SIGINT)
    os.close(master)
    return process.returncode, written.decode().replace("\r\n", "\n")


def configured(upstream: Upstream, text: str = "") -> None:
    """Write a `moa.toml` in the working folder with this upstream as provider `lab` and `moa:panel` as default."""
    panel = '[mixtures.panel]\nproposers = ["lab:a", "lab:b"]\naggregator = "lab:big"\n'
    config = text if "[mixtures.panel]" in text else panel + text
    provider = f'[providers.lab]\nbase_url = "{upstream.url}"\nattempts = 1\nprice = {{ input = 1, output = 1 }}\n'
    Path("moa.toml").write_text(f'default = "moa:panel"\n{provider}{config}', "utf-8")


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition, and fail after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
