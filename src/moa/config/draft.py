"""A mixture that is not in moa.toml, checked and written with the same rules as if it were."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from .load import Config
from .messages import config_error
from .schema import MixtureTable, Sampling


@dataclass(frozen=True)
class Draft:
    """A mixture and its name. `config` is the configuration with the mixture added."""

    name: str
    table: MixtureTable
    config: Config

    @property
    def toml(self) -> str:
        """The mixture as TOML, without defaults."""
        return written(self.name, self.table)


def of_table(config: Config, name: str, table: Mapping[str, Any]) -> Draft:
    """Return a table as a draft with this name. Raises `ConfigError` as loading a moa.toml with it would."""
    rest = {key: getattr(config, key) for key in type(config).model_fields}
    try:
        checked = Config.model_validate({**rest, "mixtures": {**config.mixtures, name: table}})
    except ValidationError as error:
        raise config_error(error) from None
    return Draft(name, checked.mixtures[name], checked)


def of_toml(config: Config, text: str) -> Draft:
    """Return a text with one table [mixtures.NAME] as a draft. Raises `ConfigError` as loading it would."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        raise ConfigError(f"not valid TOML: {error}") from None
    mixtures = data.pop("mixtures", {})
    if data:
        raise ConfigError(f"{next(iter(data))}: not allowed in a draft, which has one mixture only")
    if not isinstance(mixtures, dict) or len(mixtures) != 1:
        raise ConfigError("a draft needs exactly one table [mixtures.NAME]")
    ((name, table),) = mixtures.items()
    return of_table(config, name, table)


def as_table(table: MixtureTable) -> dict[str, Any]:
    """Return the settings of a mixture that were set, members before sampling options.

    A member without other settings than its model is only the model's name.
    """
    shortened: dict[str, Any] = _short(table.model_dump(exclude_unset=True, exclude_none=True))
    return shortened


def written(name: str, table: MixtureTable) -> str:
    """Return a mixture as TOML."""
    import tomli_w

    return tomli_w.dumps({"mixtures": {name: as_table(table)}}, multiline_strings=True)


def _short(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_short(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"model"}:
        return value["model"]
    return {key: _short(value[key]) for key in sorted(value, key=lambda key: key in Sampling.model_fields)}
