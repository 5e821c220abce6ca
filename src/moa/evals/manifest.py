"""What an evaluation was: which data, which models as they were configured, which prices, seeds and versions."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from ..config.build import Builder
from ..config.load import Config
from ..config.schema import ModelTable
from ..costs import prices
from ..types import Usage
from .task import Task

FORMAT = 1
"""Of a results folder."""

SENT = ("base_url", "unsupported", "renamed", "headers", "images")
"""What of a provider's settings decides what is sent, and where."""


def manifest(
    builder: Builder, benchmark: Task, models: Sequence[str], judge: str | None, seed: int | None
) -> dict[str, Any]:
    """The manifest, as JSON. The same evaluation has the same one, but for the versions."""
    asked = [*models, *([judge] if judge else [])]
    members = {name: list(dict.fromkeys(single(builder.config, name))) for name in asked}
    configured = {name: _configured(builder, name) for name in asked}
    return {
        "format": FORMAT,
        "suite": benchmark.name,
        "data": benchmark.version,
        "samples": _digest([sample.id for sample in benchmark.samples]),
        "options": dict(benchmark.options),
        "models": list(models),
        "judge": judge,
        "seed": seed,
        "members": members,
        "configuration": {name: _digest(told) for name, told in configured.items()},
        "instructions": {name: list(dict.fromkeys(_instructions(told))) for name, told in configured.items()},
        "prices": {leaf: price(builder.config, leaf) for of in members.values() for leaf in of},
        "versions": {"moa": version("mixture-of-agents"), "python": platform.python_version()},
    }


def identity(told: dict[str, Any]) -> str:
    """A short name for the evaluation of a manifest."""
    return _digest({key: value for key, value in told.items() if key != "versions"})[:8]


def single(config: Config, name: str) -> Iterator[str]:
    """The names of the single models that a model is made of."""
    provider, model = config.resolve(name)
    if provider != "moa":
        yield f"{provider}:{model}"
        return
    for reference in config.mixtures[model].references:
        yield from single(config, reference)


def price(config: Config, name: str) -> dict[str, float] | None:
    """US dollars per million tokens read and written by a single model; `None` when nobody knows."""
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


def _configured(builder: Builder, name: str) -> Any:
    """All that decides what a model is asked, as JSON."""
    provider, model = builder.config.resolve(name)
    if provider != "moa":
        table = builder.config.providers.get(provider)
        return {"model": model, **(table.model_dump(mode="json", include=set(SENT)) if table else {"at": provider})}
    mixture = builder.config.mixtures[model]
    told = mixture.model_dump(mode="json", exclude={"description", "effort"})
    files = {path for path in (mixture.prompt_file, mixture.aggregator.prompt_file) if path}
    texts = {path: (builder.folder / path).read_text("utf-8-sig") for path in sorted(files)}
    return {**told, "files": texts, "of": [_configured(builder, one) for one in mixture.references]}


def _instructions(told: Any) -> Iterator[str]:
    """What models are told beforehand, wherever it stands in their configuration."""
    if isinstance(told, list):
        for one in told:
            yield from _instructions(one)
    elif isinstance(told, dict):
        yield from (told[key] for key in ("system", "prompt") if told.get(key))
        yield from told.get("files", {}).values()
        for one in told.values():
            yield from _instructions(one)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
