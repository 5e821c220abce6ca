"""Load `moa.toml`, and resolve the names of models.

`provider:model` is a model of a provider, `local:smollm2` the embedded one, `gguf:/path/to/model.gguf` a file, and
`moa:name` a mixture. The catalog that is shipped with the package is a `moa.toml` too and is read first. In the user's
file, a provider of the same name changes only the settings that it lists; a mixture replaces the shipped one.
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
from .messages import config_error, did_you_mean, setting_error
from .schema import EngineTable, MixtureTable, ProviderTable, ServerTable, StoreTable, Table, TelemetryTable

FILE = "moa.toml"


class Config(Table):
    """The whole of `moa.toml`."""

    default: str = Field("moa:local", description="the mixture or model to use when none is named")
    engine: EngineTable = EngineTable()
    server: ServerTable = ServerTable()
    store: StoreTable = StoreTable()
    telemetry: TelemetryTable = TelemetryTable()
    providers: dict[str, ProviderTable] = Field({})
    mixtures: dict[str, MixtureTable] = Field({})

    @model_validator(mode="after")
    def _names(self) -> Self:
        for table in ("providers", "mixtures"):
            for name in getattr(self, table):
                if not name or ":" in name or any(c.isspace() for c in name):
                    raise setting_error(table, f"names must not have a colon or white space, got {name!r}")
        for reserved in {"moa", "gguf", "local"} & set(self.providers):
            raise setting_error(f"providers.{reserved}", "this name is built in; choose another")
        for name, mixture in self.mixtures.items():
            for reference in mixture.references:
                self._check_name(f"mixtures.{name}", reference)
            for effort, reference in mixture.effort.items():
                self._check_name(f"mixtures.{name}.effort.{effort}", reference)
        for name in self.mixtures:
            self._check_acyclic(name, ())
        self._check_name("default", self.default)
        for alias, name in self.server.aliases.items():
            self._check_name(f"server.aliases.{alias}", name)
        return self

    def resolve(self, name: str) -> tuple[str, str]:
        """Return the provider and the model of a name. A bare name is a mixture's. Raises `ConfigError`."""
        provider, colon, model = name.partition(":")
        if not colon:
            if name in self.providers and name not in self.mixtures:
                raise ConfigError(f"{name!r} is a provider; name one of its models, such as {name}:some-model")
            provider, model = "moa", name
        if not model:
            raise ConfigError(f"{name!r} has no model; names are provider:model or moa:mixture")
        if provider == "moa" and model not in self.mixtures:
            raise ConfigError(f"no mixture {model!r}{did_you_mean(model, self.mixtures)}")
        if provider not in ("moa", "gguf", "local") and provider not in self.providers:
            known = {*self.providers, "moa", "gguf", "local"}
            raise ConfigError(f"no provider {provider!r} (in {name!r}){did_you_mean(provider, known)}")
        if provider == "local" and model != "smollm2":
            raise ConfigError(f"no embedded model {model!r}; known: local:smollm2")
        return provider, model

    def _check_name(self, setting: str, name: str) -> None:
        try:
            self.resolve(name)
        except ConfigError as error:
            raise setting_error(setting, str(error)) from error

    def _check_acyclic(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            cycle = " -> ".join(f"moa:{one}" for one in (*path[path.index(name) :], name))
            raise setting_error(f"mixtures.{name}", f"a mixture cannot contain itself: {cycle}")
        for reference in self.mixtures[name].references:
            provider, inner = self.resolve(reference)
            if provider == "moa":
                self._check_acyclic(inner, (*path, name))


def load(path: Path | None = None) -> tuple[Config, Path | None]:
    """Return the configuration and its file: `path`, else `$MOA_CONFIG`, `./moa.toml`, the user's configuration folder.

    Without a file the shipped catalog is the configuration. Raises `ConfigError` for the first error, in one line.
    """
    path = path or find()
    shipped = tomllib.loads(files("moa.config").joinpath("catalog.toml").read_text("utf-8"))
    return _validated(_merged(shipped, _read(path)) if path else shipped, path), path


def find() -> Path | None:
    """Return the configuration file in use, or `None` if there is only the shipped catalog."""
    if named := os.environ.get("MOA_CONFIG"):
        return Path(named)
    return next((path for path in (Path(FILE), config_folder() / FILE) if path.is_file()), None)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `moa.toml`, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": FILE,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; create one with: moa config init") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
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
        raise config_error(error, path or "catalog.toml") from None
