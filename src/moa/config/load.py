"""`moa.toml`: providers, mixtures, and the names that stand for models.

`provider:model` is one model of a provider, `local:smollm2` the embedded one, `gguf:/path/to/model.gguf` a file of
yours, and `moa:name` a mixture. The catalogue that is shipped with the package is a `moa.toml` too, read first; a
provider of yours with the same name changes only the settings it names, a mixture of yours replaces the shipped one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigError
from ..paths import config_folder
from .messages import did_you_mean, told
from .schema import EngineTable, MixtureTable, ProviderTable, ServerTable, StoreTable, Table, TelemetryTable

FILE = "moa.toml"


class Config(Table):
    """All of `moa.toml`."""

    default: str = Field("moa:local", description="the mixture or model that answers when none is named")
    engine: EngineTable = EngineTable()
    server: ServerTable = ServerTable()
    store: StoreTable = StoreTable()
    telemetry: TelemetryTable = TelemetryTable()
    providers: dict[str, ProviderTable] = Field({})
    mixtures: dict[str, MixtureTable] = Field({})

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in (*self.providers, *self.mixtures):
            if not name or ":" in name or any(c.isspace() for c in name):
                raise ValueError(f"{name!r} cannot be a name: names have no colon and no white space")
        for reserved in {"moa", "gguf", "local"} & set(self.providers):
            raise ValueError(f"providers.{reserved}: this name is taken by what is built in; choose another")
        for name, mixture in self.mixtures.items():
            for reference in (*mixture.references, *mixture.effort.values()):
                try:
                    self.resolve(reference)
                except ConfigError as error:
                    raise ValueError(f"mixtures.{name}: {error}") from error
        for name in self.mixtures:
            self._acyclic(name, ())
        named = {"default": self.default, **{f"server.aliases.{a}": own for a, own in self.server.aliases.items()}}
        for place, name in named.items():
            try:
                self.resolve(name)
            except ConfigError as error:
                raise ValueError(f"{place}: {error}") from error
        return self

    def resolve(self, name: str) -> tuple[str, str]:
        """The two halves of a model's name. A bare name is a mixture's. Raises `ConfigError` if there is no such."""
        provider, colon, model = name.partition(":")
        if not colon:
            if name in self.providers and name not in self.mixtures:
                raise ConfigError(f"{name!r} is a provider; name a model of it, such as {name}:some-model")
            provider, model = "moa", name
        if not model:
            raise ConfigError(f"{name!r} names no model; names are provider:model or moa:mixture")
        if provider == "moa" and model not in self.mixtures:
            raise ConfigError(f"no mixture {model!r}{did_you_mean(model, self.mixtures)}")
        if provider not in ("moa", "gguf", "local") and provider not in self.providers:
            known = {*self.providers, "moa", "gguf", "local"}
            raise ConfigError(f"no provider {provider!r} (in {name!r}){did_you_mean(provider, known)}")
        if provider == "local" and model != "smollm2":
            raise ConfigError(f"no embedded model {model!r}; the one there is is local:smollm2")
        return provider, model

    def _acyclic(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join(f"moa:{one}" for one in (*path[path.index(name) :], name))
            raise ValueError(f"a mixture cannot contain itself: {circle}")
        for reference in self.mixtures[name].references:
            provider, inner = self.resolve(reference)
            if provider == "moa":
                self._acyclic(inner, (*path, name))


def load(path: Path | None = None) -> tuple[Config, Path | None]:
    """The configuration and the file it came from, if there is one: `path`, else `$MOA_CONFIG`, `./moa.toml`, the
    user's configuration folder. Raises `ConfigError` with one line for the first thing that is wrong."""
    path = path or find()
    shipped = tomllib.loads(files("moa.config").joinpath("catalog.toml").read_text("utf-8"))
    return _validated(_merged(shipped, _read(path)) if path else shipped, path), path


def find() -> Path | None:
    """The configuration file in use, or `None` when there is only the catalogue."""
    if named := os.environ.get("MOA_CONFIG"):
        return Path(named)
    return next((path for path in (Path(FILE), config_folder() / FILE) if path.is_file()), None)


def schema() -> dict[str, Any]:
    """The JSON Schema of `moa.toml`, for editors."""
    told = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **told, "title": FILE}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; write one with: moa config init") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _merged(shipped: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**shipped, **own}
    for table, merge in _MERGES.items():
        if isinstance(own.get(table), dict):
            merged[table] = {**shipped[table], **{k: merge(shipped[table].get(k), v) for k, v in own[table].items()}}
    return merged


_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "providers": lambda old, new: {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new,
    "mixtures": lambda old, new: new,
}


def _validated(data: Mapping[str, Any], path: Path | None) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path or 'catalog.toml'}: {told(error)}") from None
