"""The manifest of an evaluation: data, configuration of the models, prices, seed and versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..config.load import Config
from ..config.schema import ModelTable
from ..costs import prices
from ..types import Usage
from .results_folder import FORMAT
from .task import Task

PROVIDER_SETTINGS = ("base_url", "unsupported", "renamed", "headers", "vision")
"""The settings of a provider that decide what is sent, and where."""

Price = Mapping[str, float]
"""US dollars per million tokens of `input` and of `output`."""


@dataclass(frozen=True)
class ManifestEntry:
    """What the manifest records of one model.

    `members` are the single models it consists of, by full name. `configuration` is a digest of all settings that
    decide what is sent. `instructions` are its system prompts. `prices` are those of the members; `None` is unknown.
    """

    name: str
    members: tuple[str, ...]
    configuration: str
    instructions: tuple[str, ...]
    prices: Mapping[str, Price | None]


def describe(config: Config, folder: Path, name: str) -> ManifestEntry:
    """Return the entry of a model. Relative paths in `config` start at `folder`. Raises `ConfigError`."""
    full = ":".join(config.resolve(name))
    settings = _settings(config, folder, full)
    members = tuple(dict.fromkeys(single_models(config, full)))
    known = {member: _price(config, member) for member in members}
    return ManifestEntry(full, members, _digest(settings), tuple(dict.fromkeys(_instructions(settings))), known)


def manifest(
    task: Task, models: Sequence[ManifestEntry], judge: ManifestEntry | None, seed: int | None
) -> dict[str, Any]:
    """Return the manifest, as JSON. Equal evaluations have equal manifests, except for the versions."""
    entries = [*models, *([judge] if judge else [])]
    return {
        "format": FORMAT,
        "task": task.name,
        "data": task.version,
        "samples": _digest([sample.id for sample in task.samples]),
        "options": dict(task.options),
        "models": [entry.name for entry in models],
        "judge": judge.name if judge else None,
        "seed": seed,
        "members": {entry.name: list(entry.members) for entry in entries},
        "configuration": {entry.name: entry.configuration for entry in entries},
        "instructions": {entry.name: list(entry.instructions) for entry in entries},
        "prices": {member: price for entry in entries for member, price in entry.prices.items()},
        "versions": {"moa": version("mixture-of-agents"), "python": platform.python_version()},
    }


def identity(manifest: Mapping[str, Any]) -> str:
    """Return a short name for the evaluation of a manifest."""
    return _digest({key: value for key, value in manifest.items() if key != "versions"})[:8]


def single_models(config: Config, name: str) -> Iterator[str]:
    """Yield the full names of the single models that a model consists of."""
    provider, model = config.resolve(name)
    if provider != "moa":
        yield f"{provider}:{model}"
        return
    for reference in config.mixtures[model].references:
        yield from single_models(config, reference)


def _price(config: Config, name: str) -> Price | None:
    provider, model = config.resolve(name)
    if provider not in config.providers:
        return {"input": 0.0, "output": 0.0}
    table = config.providers[provider]
    own = table.models.get(model, ModelTable()).price or table.price
    if own:
        return {"input": own.input, "output": own.output}
    read = prices.cost(Usage(1_000_000, 0), model, table.priced_as, None)
    written = prices.cost(Usage(0, 1_000_000), model, table.priced_as, None)
    return None if read is None or written is None else {"input": read, "output": written}


def _settings(config: Config, folder: Path, name: str) -> Any:
    """Return all settings that decide what a model is sent, as JSON."""
    provider, model = config.resolve(name)
    if provider != "moa":
        table = config.providers.get(provider)
        sent = table.model_dump(mode="json", include=set(PROVIDER_SETTINGS)) if table else {"at": provider}
        return {"model": model, **sent}
    mixture = config.mixtures[model]
    files = {path for path in (mixture.prompt_file, mixture.aggregator.prompt_file) if path}
    return {
        **mixture.model_dump(mode="json", exclude={"description", "effort"}),
        "files": {path: (folder / path).read_text("utf-8-sig") for path in sorted(files)},
        "of": [_settings(config, folder, reference) for reference in mixture.references],
    }


def _instructions(settings: Any) -> Iterator[str]:
    """Yield the system prompts anywhere in the settings of a model."""
    if isinstance(settings, list):
        for value in settings:
            yield from _instructions(value)
    elif isinstance(settings, dict):
        yield from (settings[key] for key in ("system", "prompt") if settings.get(key))
        yield from settings.get("files", {}).values()
        for value in settings.values():
            yield from _instructions(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
