"""The file of the clients' keys: lines of JSON with the hash of each key, which `moa keys` writes.

A key is 256 random bits behind a public id, so one round of SHA-256 keeps it secret at rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...config.load import Config, load
from ...config.messages import did_you_mean
from ...config.schema import ServerTable
from ...errors import ConfigError
from ...paths import config_folder, write_atomically
from .quota import Quota


@dataclass(frozen=True)
class Key:
    """A client's key, without its secret. `mixtures` are the models it may use, `None` for all; `budget` is in US
    dollars a day (UTC)."""

    id: str
    name: str
    hash: str
    mixtures: tuple[str, ...] | None = None
    budget: float | None = None
    created: str = ""

    def may(self, model: str) -> bool:
        """Whether the key may use the model of this name."""
        return self.mixtures is None or model in self.mixtures or model.removeprefix("moa:") in self.mixtures


def create_key(name: str, mixtures: Sequence[str] | None = None, budget: float | None = None) -> tuple[str, Key]:
    """Return a new secret, which is shown once, and its key."""
    identity = secrets.token_hex(4)
    secret = f"moa-{identity}-{secrets.token_urlsafe(32)}"
    created = time.strftime("%Y-%m-%d", time.gmtime())
    allowed = tuple(mixtures) if mixtures is not None else None
    return secret, Key(identity, name, hash_secret(secret.encode()), allowed, budget, created)


def hash_secret(secret: bytes) -> str:
    return "sha256:" + hashlib.sha256(secret).hexdigest()


def keys_path(table: ServerTable, folder: Path) -> Path:
    """Return the path of the key file: the configured one, relative to the configuration's folder, or the user's."""
    return folder / Path(table.keys_file).expanduser() if table.keys_file else config_folder() / "keys.jsonl"


def read_keys(path: Path) -> list[Key]:
    """Return the keys of a file, none if it does not exist. Raises `ConfigError`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return [_parse(line, f"{path}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _parse(line: str, where: str) -> Key:
    try:
        fields = json.loads(line)
        allowed = tuple(fields["mixtures"]) if fields.get("mixtures") is not None else None
        key = Key(**{**fields, "mixtures": allowed})
        if key.hash.startswith("sha256:"):
            return key
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise ConfigError(f"{where}: not a key; add keys with `moa keys add NAME`")


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Replace a key file atomically, readable by its owner alone. Raises `ConfigError`."""
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with write_atomically(path, private=True) as file:
            file.writelines(json.dumps(asdict(key)) + "\n" for key in keys)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None


def add_key(
    config: Path | None, name: str, mixtures: Sequence[str] | None = None, budget: float | None = None
) -> tuple[str, Path]:
    """Create a key in the file that the configuration names. Return its secret and the file. Raises `ConfigError`."""
    loaded, file, keys = _open(config)
    if not re.fullmatch(r"[\w.@+-]{1,64}", name):
        raise ConfigError(f"name: use 1 to 64 letters, digits and . @ + - _, got {name!r}")
    if any(name in (key.name, key.id) for key in keys):
        raise ConfigError(f"name: key {name!r} exists already; remove it first with `moa keys remove {name}`")
    if budget is not None and not 0 < budget < float("inf"):
        raise ConfigError(f"budget: must be greater than 0 dollars a day, got {budget:g}")
    for one in mixtures or ():
        loaded.resolve(one)
    secret, key = create_key(name, mixtures, budget)
    write_keys(file, [*keys, key])
    return secret, file


def remove_key(config: Path | None, name: str) -> str:
    """Remove the key of a name or an id. Raises `ConfigError`."""
    _, file, keys = _open(config)
    rest = [key for key in keys if name not in (key.name, key.id)]
    if len(rest) == len(keys):
        raise ConfigError(f"{file}: no key {name!r}{did_you_mean(name, [key.name for key in keys])}")
    write_keys(file, rest)
    return name


def list_keys(config: Path | None) -> list[tuple[str, ...]]:
    """Return the keys as rows: id, name, mixtures, dollars a day, dollars spent today, date of creation."""
    _, file, keys = _open(config)
    quota = Quota.beside(file)
    return [
        (
            key.id,
            key.name,
            "all" if key.mixtures is None else ",".join(key.mixtures),
            "any" if key.budget is None else f"{key.budget:g}",
            f"{quota.spent(key.id):.4f}",
            key.created,
        )
        for key in keys
    ]


def _open(config: Path | None) -> tuple[Config, Path, list[Key]]:
    loaded, path = load(config)
    file = keys_path(loaded.server, path.parent if path else Path())
    return loaded, file, read_keys(file)
