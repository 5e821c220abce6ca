"""The command `moa`, run as a person or a script runs it: in a process of its own."""

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

from helpers.subprocesses import ended
from helpers.upstream import Upstream

MOA = [sys.executable, "-m", "moa"]


def moa(*words: str, stdin: bytes | str = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Standard input, output and error are files."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode() if isinstance(stdin, str) else stdin)
        given.seek(0)
        streams = [file.fileno() for file in (given, out, err)]
        code = ended(words, {**os.environ, **environment}, streams, 60)
        output = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess([*MOA, *words], code, *output)


def on_a_terminal(*words: str, interrupt: bool = False, answer: str = "") -> tuple[int, str]:
    """Run it on a terminal of 80 columns; the exit code and all that was written. `answer` is typed at its start."""
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
            except OSError:  # what Linux says when the other side is closed
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
    """Write a `moa.toml` here whose provider `lab` is this upstream and whose default is `moa:panel`."""
    panel = '[mixtures.panel]\nproposers = ["lab:a", "lab:b"]\naggregator = "lab:big"\n'
    config = text if "[mixtures.panel]" in text else panel + text
    provider = f'[providers.lab]\nbase_url = "{upstream.url}"\nattempts = 1\nprice = {{ input = 1, output = 1 }}\n'
    Path("moa.toml").write_text(f'default = "moa:panel"\n{provider}{config}', "utf-8")


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so; fail if it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
