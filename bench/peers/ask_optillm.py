"""Runs optillm's proxy with its approach `moa`: one model, sampled three times, criticized, answered again."""

import asyncio
import os
import socket
import subprocess
import sys
import time

from adapter import Task
from served import ask_server

task = Task.from_argument()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.executable, "-c", "import optillm; optillm.main()", "--port", str(port), "--base-url", task.url]
server = subprocess.Popen([*command, "--log", "error"], env={**os.environ, "OPENAI_API_KEY": "none"})
try:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    asyncio.run(ask_server(task, f"http://127.0.0.1:{port}/v1", f"moa-{task.aggregator}", streamed=False))
finally:
    server.terminate()
    server.wait()
