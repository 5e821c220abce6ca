"""Runs `moa serve` in its own process, streamed."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from adapter import Task
from ours import config
from served import ask_server

task = Task.from_argument()
with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-m", "moa", "serve", "--config", str(config(Path(folder), task)), "--port", "0"]
    environment = {**os.environ, "MOA_STORE": str(Path(folder, "runs.sqlite"))}
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert server.stderr
    try:
        found = re.search(r"ready on (\S+)", server.stderr.readline())
        assert found, server.stderr.read()
        with subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL):
            asyncio.run(ask_server(task, f"{found[1]}/v1", "panel", streamed=True))
            server.terminate()
    finally:
        server.terminate()
        server.wait()
