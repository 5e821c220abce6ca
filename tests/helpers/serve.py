"""`moa serve` in its own process."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from helpers.server import TOML
from helpers.upstream import Upstream


class Process:
    """A running `moa serve` and the lines of its standard error."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "moa", "serve", "--config", "moa.toml", "--port", "0", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._condition = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = re.search(r"ready on http://127\.0\.0\.1:(\d+)", self.line("ready on"))
        assert found
        self.port = int(found[1])

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            with self._condition:
                self.lines.append(line.rstrip("\n"))
                self._condition.notify_all()
        with self._condition:
            self._condition.notify_all()

    def line(self, words: str) -> str:
        """Wait for the first line that contains these words, and return it."""

        def found_line() -> str | None:
            return next((line for line in self.lines if words in line), None)

        with self._condition:
            self._condition.wait_for(lambda: found_line() or self._process.poll() is not None, timeout=30)
        assert found_line(), self.lines
        return found_line() or ""

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def code(self) -> int:
        """Wait for the process to end, and return its exit code."""
        code = self._process.wait(timeout=30)
        self._reader.join(timeout=30)
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=30)
        assert self._process.stderr
        self._process.stderr.close()

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body else None, dict(headers))
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()


@contextmanager
def process(upstream: Upstream, toml: str = TOML, *options: str) -> Iterator[Process]:
    Path("moa.toml").write_text(toml.replace("{url}", upstream.url))
    running = Process(*options)
    try:
        yield running
    finally:
        running.kill()
