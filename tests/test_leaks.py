"""A test that leaves a resource open fails, and no other test does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CONFTEST = """
from helpers.leaks import Leaks

def pytest_configure(config):
    config.pluginmanager.register(Leaks(grace={grace}))
"""

LEAKS = """
import asyncio, gc, socket, subprocess, sys, threading

kept = []

def test_socket():
    kept.append(socket.socket())

def test_after_it():
    gc.collect()

def test_socket_in_a_cycle():
    cycle = [socket.create_server(("127.0.0.1", 0))]
    cycle.append(cycle)

def test_coroutine_in_a_cycle():
    async def never_awaited(): pass
    cycle = [never_awaited()]
    cycle.append(cycle)

def test_after_cycles():
    gc.collect()

def test_thread():
    threading.Thread(target=threading.Event().wait, name="the-one-left", daemon=True).start()

def test_after_the_thread(): pass

def test_child_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_after_the_process(): pass

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(3600)))
    await asyncio.sleep(0)

async def test_after_the_task(): pass

def test_socket_and_a_failure(request):
    @request.addfinalizer
    def fails():
        raise ValueError("in the teardown")
    kept.append(socket.socket())

def test_after_all(): pass
"""

CLOSED = """
import asyncio, gc, socket, subprocess, sys, threading, time
import pytest
from helpers.leaks import kept_open

@pytest.fixture(scope="module")
def server():
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened

@pytest.fixture
async def pending_task():
    task = asyncio.create_task(asyncio.sleep(3600))
    yield
    task.cancel()

def test_a_fixture_of_the_module_opens(server): pass

def test_a_fixture_of_the_module_opens_in_the_test(request):
    request.getfixturevalue("server")

def test_it_is_kept():
    with kept_open():
        globals()["kept"] = socket.socket()

async def test_a_fixture_ends_its_task(pending_task): pass

def test_a_thread_ends_soon():
    threading.Thread(target=time.sleep, args=(0.2,)).start()

async def test_a_task_ends_soon():
    globals()["task"] = asyncio.create_task(asyncio.sleep(0.2))

def test_all_is_closed():
    subprocess.run([sys.executable, "-c", ""])
    with socket.socket(): pass

def test_the_last():
    kept.close()
"""


def run(path: Path, tests: str, grace: float) -> str:
    (path / "conftest.py").write_text(CONFTEST.format(grace=grace))
    (path / "test_it.py").write_text(tests)
    (path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        f"pythonpath = {Path(__file__).parent}\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(path), str(path)]
    return subprocess.run(words, cwd=path, stdout=-1, stderr=-2, text=True, timeout=60).stdout


def test_what_a_test_leaves_open_fails_that_test(tmp_path: Path) -> None:
    out = run(tmp_path, LEAKS, grace=0)
    blamed = [
        "test_socket",
        "test_socket_in_a_cycle",
        "test_coroutine_in_a_cycle",
        "test_thread",
        *(["test_child_process"] if Path("/proc/self/task").exists() else []),
        "test_task",
        "test_socket_and_a_failure",
    ]
    assert re.findall(r"^ERROR test_it.py::(\w+)", out, re.M) == blamed, out
    assert f"{len(re.findall('def test_', LEAKS))} passed, {len(blamed)} errors" in out
    reports = dict(re.findall(r"^_+ ERROR at teardown of (\w+) _+\n(.*?)(?=^[_=]{3})", out, re.M | re.S))
    for name, words in {
        "test_socket": "<socket.socket fd=",
        "test_socket_in_a_cycle": "laddr=('127.0.0.1', ",
        "test_coroutine_in_a_cycle": "never_awaited",
        "test_thread": "the-one-left",
        "test_child_process": "-c input()",
        "test_task": "coro=<sleep()",
        "test_socket_and_a_failure": "<socket.socket fd=",
    }.items():
        assert name not in blamed or words in reports[name]


def test_what_closes_and_what_is_meant_to_stay_open_fails_no_test(tmp_path: Path) -> None:
    out = run(tmp_path, CLOSED, grace=30)
    assert f"{len(re.findall('def test_', CLOSED))} passed in" in out, out
