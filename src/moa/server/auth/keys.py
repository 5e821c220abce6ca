"""Who may ask: the keys of clients, known by their hashes, with the mixtures and the dollars a day that each may use.

A key is 256 random bits behind a public id, so one round of SHA-256 is enough to keep it secret at rest. The file is
lines of JSON, written by `moa keys`; what each key has spent today stands in a file beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ...config.load import Config, load
from ...config.messages import did_you_mean
from ...config.schema import ServerTable
from ...errors import ConfigError, MoaError
from ...paths import config_folder, write_atomically

log = logging.getLogger("moa.server")


class Denied(MoaError):
    """The client may not ask this. `status` is 401, 403 or 429; `retry_after` is in seconds."""

    def __init__(self, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Key:
    """What is known of a client's key. `mixtures` are the models it may name, `None` for all; `budget` is in US dollars
    a day (UTC)."""

    id: str
    name: str
    hash: str
    mixtures: tuple[str, ...] | None = None
    budget: float | None = None
    created: str = ""

    def may(self, model: str) -> bool:
        """Whether it may use the model of this name."""
        return self.mixtures is None or model in self.mixtures or model.removeprefix("moa:") in self.mixtures


caller: ContextVar[Key | None] = ContextVar("caller", default=None)
"""The key of the request being served, or `None` where none is needed."""


def made(name: str, mixtures: Sequence[str] | None = None, budget: float | None = None) -> tuple[str, Key]:
    """A new key, to be shown once, and what is kept of it."""
    identity = secrets.token_hex(4)
    secret = f"moa-{identity}-{secrets.token_urlsafe(32)}"
    created = time.strftime("%Y-%m-%d", time.gmtime())
    allowed = tuple(mixtures) if mixtures is not None else None
    return secret, Key(identity, name, hashed(secret.encode()), allowed, budget, created)


def hashed(secret: bytes) -> str:
    return "sha256:" + hashlib.sha256(secret).hexdigest()


def read(path: Path) -> list[Key]:
    """The keys of a file; none if there is no file. Raises `ConfigError`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                told = json.loads(line)
                allowed = tuple(told["mixtures"]) if told.get("mixtures") is not None else None
                keys.append(Key(**{**told, "mixtures": allowed}))
                if not keys[-1].hash.startswith("sha256:"):
                    raise ValueError
            except (ValueError, TypeError, KeyError, AttributeError):
                raise ConfigError(f"{path}: line {number} is not a key; write keys with: moa keys add NAME") from None
    return keys


def write(path: Path, keys: Iterable[Key]) -> None:
    """Replace the file, whole or not at all, for nobody but its owner to read. Raises `ConfigError`."""
    _replace(path, "".join(json.dumps(asdict(key)) + "\n" for key in keys))


def file_of(table: ServerTable, folder: Path) -> Path:
    """Where the keys of a configuration lie: what it says, from its own folder, else the user's own file."""
    return folder / Path(table.keys_file).expanduser() if table.keys_file else config_folder() / "keys.jsonl"


def add(
    config: Path | None, name: str, mixtures: Sequence[str] | None = None, budget: float | None = None
) -> tuple[str, Path]:
    """Make a key and keep its hash in the file that the configuration names. Raises `ConfigError`."""
    loaded, file, known = _opened(config)
    if not re.fullmatch(r"[\w.@+-]{1,64}", name):
        raise ConfigError(f"{name!r} cannot be the name of a key: letters, digits and . @ + - _ alone")
    if any(name in (key.name, key.id) for key in known):
        raise ConfigError(f"there is a key of the name {name} already; to replace it: moa keys remove {name}")
    if budget is not None and not 0 < budget < float("inf"):
        raise ConfigError(f"a budget of {budget:g} dollars a day buys nothing; it must be more than 0")
    for one in mixtures or ():
        loaded.resolve(one)
    secret, key = made(name, mixtures, budget)
    write(file, [*known, key])
    return secret, file


def remove(config: Path | None, name: str) -> str:
    """Remove the key of a name or an id. Raises `ConfigError`."""
    _, file, known = _opened(config)
    rest = [key for key in known if name not in (key.name, key.id)]
    if len(rest) == len(known):
        raise ConfigError(f"{file}: no key {name!r}{did_you_mean(name, [key.name for key in known])}")
    write(file, rest)
    return name


def listed(config: Path | None) -> list[tuple[str, ...]]:
    """The keys as rows: id, name, mixtures, dollars a day, dollars spent today, when it was made."""
    _, file, known = _opened(config)
    keys = Keys(file)
    return [
        (
            key.id,
            key.name,
            "all" if key.mixtures is None else ",".join(key.mixtures),
            "any" if key.budget is None else f"{key.budget:g}",
            f"{keys.spent(key):.4f}",
            key.created,
        )
        for key in known
    ]


def _opened(config: Path | None) -> tuple[Config, Path, list[Key]]:
    loaded, path = load(config)
    file = file_of(loaded.server, path.parent if path else Path())
    return loaded, file, read(file)


@dataclass
class Keys:
    """The keys of one server. The file is read again when it has changed, so a key that is removed is shut out at once.

    `required` says that nobody is served without one: there are keys, or the configuration names a place for them.
    """

    file: Path | None = None
    environment: str | None = None
    named: bool = False
    _known: list[Key] = field(default_factory=list)
    _stamp: tuple[int, int] | None = None
    _spent: dict[str, float] = field(default_factory=dict)
    _day: str = ""

    def __post_init__(self) -> None:
        self._own = [
            Key(_stable(one.strip()), f"{self.environment}[{place}]", hashed(one.strip().encode()))
            for place, one in enumerate(os.environ.get(self.environment or "", "").split(","), 1)
            if one.strip()
        ]
        if self.file:
            self._stamp, self._known = _stamp(self.file), read(self.file)
        self._recall()

    @staticmethod
    def of(table: ServerTable, folder: Path) -> Keys:
        """The keys that a configuration names. Raises `ConfigError`."""
        keys = Keys(file_of(table, folder), table.keys_env, bool(table.keys_env or table.keys_file))
        if keys.named and not keys.known:
            place = table.keys_file and f"{keys.file}: no keys; add one with: moa keys add NAME"
            raise ConfigError(place or f"keys_env: {table.keys_env} is not set; it holds the clients' keys")
        return keys

    @property
    def known(self) -> list[Key]:
        return [*self._own, *self._known]

    @property
    def required(self) -> bool:
        self._refresh()
        return self.named or bool(self.known)

    def find(self, presented: bytes) -> Key | None:
        """The key, whoever holds it. Every key is compared, in a time that says nothing of how near a guess is."""
        self._refresh()
        told = hashed(presented)
        found = None
        for key in self.known:
            if hmac.compare_digest(told, key.hash):
                found = key
        return found

    def left(self, key: Key) -> float | None:
        """US dollars that a key may spend today, or `None` for any."""
        if key.budget is None:
            return None
        return max(0.0, key.budget - self.spent(key))

    def spent(self, key: Key) -> float:
        """US dollars that a key has spent today."""
        self._turn()
        return self._spent.get(key.id, 0.0)

    def spend(self, key: Key, dollars: float) -> None:
        """Count what a run has cost."""
        if not dollars:
            return
        self._turn()
        self._spent[key.id] = self._spent.get(key.id, 0.0) + dollars
        if self.file and key in self._known:
            try:
                _replace(_beside(self.file), json.dumps({"day": self._day, "spent": self._spent}))
            except ConfigError as error:
                log.warning("what keys have spent is not kept: %s", error)

    def _refresh(self) -> None:
        if self.file is None or (stamp := _stamp(self.file)) == self._stamp:
            return
        try:
            self._known = read(self.file)
        except ConfigError as error:
            log.error("keys are not read again: %s", error)
            return
        self.named = True  # keys that were there once are not done without because a file is gone
        self._stamp = stamp

    def _turn(self) -> None:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if today != self._day:
            self._day, self._spent = today, {}

    def _recall(self) -> None:
        self._turn()
        try:
            told = json.loads(_beside(self.file).read_text("utf-8")) if self.file else {}
            if told.get("day") == self._day:
                self._spent = {str(key): float(dollars) for key, dollars in told["spent"].items()}
        except (OSError, ValueError, AttributeError, KeyError):
            pass  # there is none, or it is of no use


def _stable(secret: str) -> str:
    """An id for a key of the environment, which stays the same wherever in the list it stands."""
    return hashed(f"id of {secret}".encode()).removeprefix("sha256:")[:16]


def midnight() -> int:
    """Seconds until the next day begins (UTC)."""
    return 86_400 - int(time.time()) % 86_400


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.spent")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size


def _replace(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with write_atomically(path, private=True) as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
