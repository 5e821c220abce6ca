"""A mixture that is not in moa.toml: read and checked as if it were, in the same words, and written as it would stand
there."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from .load import Config
from .messages import told
from .schema import MixtureTable, Sampling


@dataclass(frozen=True)
class Draft:
    """A mixture and its name; `config` is the configuration with it in."""

    name: str
    table: MixtureTable
    config: Config

    @property
    def toml(self) -> str:
        """As it stands in moa.toml, with what it says and no default."""
        return written(self.name, self.table)


def of_table(config: Config, name: str, table: Mapping[str, Any]) -> Draft:
    """The draft of a table, under this name. Raises `ConfigError` as a moa.toml with it would."""
    rest = {key: getattr(config, key) for key in type(config).model_fields}
    try:
        checked = Config.model_validate({**rest, "mixtures": {**config.mixtures, name: table}})
    except ValidationError as error:
        raise ConfigError(told(error)) from None
    return Draft(name, checked.mixtures[name], checked)


def of_toml(config: Config, text: str) -> Draft:
    """The draft of a text that holds one table [mixtures.NAME]. Raises `ConfigError` as a moa.toml with it would."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        raise ConfigError(f"not valid TOML: {error}") from None
    mixtures = data.pop("mixtures", {})
    if data:
        raise ConfigError(f"{next(iter(data))}: a draft is one mixture and nothing else")
    if not isinstance(mixtures, dict) or len(mixtures) != 1:
        raise ConfigError("a draft is one table [mixtures.NAME], with what belongs to it")
    ((name, table),) = mixtures.items()
    return of_table(config, name, table)


def as_told(table: MixtureTable) -> dict[str, Any]:
    """A mixture as a table of what is said of it: what it is made of, then how it samples. A model of which there is
    nothing else to say is its name alone."""
    told: dict[str, Any] = _short(table.model_dump(exclude_unset=True, exclude_none=True))
    return told


def written(name: str, table: MixtureTable) -> str:
    """A mixture as it stands in moa.toml."""
    import tomli_w

    return tomli_w.dumps({"mixtures": {name: as_told(table)}}, multiline_strings=True)


def _short(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_short(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"model"}:
        return value["model"]
    return {key: _short(value[key]) for key in sorted(value, key=lambda key: key in Sampling.model_fields)}
