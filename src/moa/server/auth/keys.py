"""Authentication: the keys of one server, from its key file and its environment, and the key of the present request."""

from __future__ import annotations

import hmac
import logging
import os
from contextvars import ContextVar
from pathlib import Path

from ...config.schema import ServerTable
from ...errors import ConfigError, MoaError
from .keyfile import Key, hash_secret, keys_path, read_keys
from .quota import Quota

log = logging.getLogger("moa.server")


class Denied(MoaError):
    """The client may not do this. `status` is 401, 403 or 429; `retry_after` is in seconds."""

    def __init__(self, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


caller: ContextVar[Key | None] = ContextVar("caller", default=None)
"""The key of the present request, `None` where none is required."""


class Keys:
    """The keys of one server. The file is read again when it has changed, so a removed key is refused at once."""

    def __init__(self, file: Path | None = None, environment: str | None = None, named: bool = False) -> None:
        self._file = file
        self._named = named
        self._quota = Quota.beside(file)
        self._of_environment = [
            Key(_id_of(secret), f"{environment}[{number}]", hash_secret(secret.encode()))
            for number, secret in enumerate(map(str.strip, os.environ.get(environment or "", "").split(",")), 1)
            if secret
        ]
        self._stamp = _stamp(file) if file else None
        self._of_file = read_keys(file) if file else []

    @staticmethod
    def of(table: ServerTable, folder: Path) -> Keys:
        """Return the keys of a configuration. Raises `ConfigError`."""
        path = keys_path(table, folder)
        keys = Keys(path, table.keys_env, bool(table.keys_env or table.keys_file))
        if keys._named and not keys.known:
            if table.keys_file:
                raise ConfigError(f"server.keys_file: no keys in {path}; add one with `moa keys add NAME`")
            raise ConfigError(f"server.keys_env: environment variable {table.keys_env} is not set; set it to the keys")
        return keys

    @property
    def known(self) -> list[Key]:
        return [*self._of_environment, *self._of_file]

    @property
    def required(self) -> bool:
        """Whether requests need a key: there are keys, or the configuration names a place for them."""
        self._refresh()
        return self._named or bool(self.known)

    def find(self, secret: bytes) -> Key | None:
        """Return the key of a secret. All keys are compared, in constant time."""
        self._refresh()
        digest = hash_secret(secret)
        match = None
        for key in self.known:
            if hmac.compare_digest(digest, key.hash):
                match = key
        return match

    def left(self, key: Key) -> float | None:
        """Return the US dollars that a key may still spend today, `None` for no limit."""
        return None if key.budget is None else max(0.0, key.budget - self._quota.spent(key.id))

    def spend(self, key: Key, dollars: float) -> None:
        """Count the cost of a run."""
        if dollars:
            self._quota.add(key.id, dollars, persist=key in self._of_file)

    def _refresh(self) -> None:
        if self._file is None or (stamp := _stamp(self._file)) == self._stamp:
            return
        try:
            self._of_file = read_keys(self._file)
        except ConfigError as error:
            log.error("cannot reload keys: %s", error)
            return
        self._named = True  # deleting the key file must not open the server
        self._stamp = stamp


def _id_of(secret: str) -> str:
    """Return an id for a key of the environment, which does not depend on its position in the list."""
    return hash_secret(f"id of {secret}".encode()).removeprefix("sha256:")[:16]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
