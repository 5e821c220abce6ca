"""What results folders say of models: how good each one is, prompt by prompt, what it answered, what it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ...config.load import Config
from ...errors import ConfigError
from ..results_folder import MANIFEST, Folder
from ..sample import Scored
from ..tasks import flask

BEST = {"mt_bench": 10.0, "flask": flask.BEST, "flask_hard": flask.BEST}
"""The best score of a suite; 1 for all others."""

Key = str
"""A prompt: its suite, its id, who judged, and which model answers were compared with."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a mixture is made of: its last proposers, one for each sample, its layers, and who writes its answer."""

    proposers: tuple[str, ...]
    layers: int
    aggregator: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How good a model's answers are, from 0 to 1 by prompt, and what they are. `shape` is that of a mixture."""

    name: str
    shape: Shape | None
    quality: Mapping[Key, float]
    texts: Mapping[Key, str]

    @property
    def single(self) -> bool:
        """Whether it is one model, and no mixture."""
        return " -> " not in self.name and not self.name.startswith("moa:")


def gather(folder: Path, config: Config) -> list[Outcome]:
    """All models of the results folders in a folder, or of that one. The baseline of a comparison is as good as itself.

    Raises `ConfigError` where there are none.
    """
    folders = sorted(path.parent for path in folder.rglob(MANIFEST)) if folder.is_dir() else []
    if not folders:
        raise ConfigError(f"{folder} holds no results; moa eval run writes them")
    quality: dict[str, dict[Key, float]] = {}
    texts: dict[str, dict[Key, str]] = {}
    for results in map(Folder.read, folders):
        told, scored_models = results.manifest, {model for _, model in results.scored}
        first = told["models"][0]
        baseline = None if first in scored_models else first
        for model in dict.fromkeys(model for _, model in results.answers):
            for scored in results.of(model):
                value = 0.5 if model == baseline else _quality(scored, BEST.get(told["suite"], 1.0))
                if value is not None and scored.answer.error is None:
                    key = f"{told['suite']}/{told['data']}/{told['judge']}/{baseline}/{scored.sample.id}"
                    quality.setdefault(model, {})[key] = value
                    texts.setdefault(model, {})[key] = "\n\n".join(scored.answer.texts)
    return [Outcome(name, shape_of(name, config), quality[name], texts[name]) for name in quality]


def _quality(scored: Scored, best: float) -> float | None:
    """The mean of the scores of an answer, from 0 to 1."""
    values = [score.value for score in scored.scores if score.value is not None]
    return fmean(values) / best if values else None


def shape_of(name: str, config: Config) -> Shape | None:
    """What a mixture of some results is made of: out of its name where an experiment gave it, else out of moa.toml.

    `None` for a single model, for a mixture that is not in moa.toml, and for one whose answer nobody writes.
    """
    if " -> " in name:
        asked, aggregator = name.split(" -> ", 1)
        aggregator, _, deeper = aggregator.partition(", ")
        if aggregator.endswith(" picks"):
            return None
        members = [re.fullmatch(r"(.*?)(?: x(\d+))?", one) for one in asked.split(" + ")]
        proposers = [found[1] for found in members if found for _ in range(int(found[2] or 1))]
        return Shape(tuple(sorted(proposers)), int(deeper.removesuffix(" layers") or 2), aggregator)
    table = config.mixtures.get(name.removeprefix("moa:")) if name.startswith("moa:") else None
    if table is None or table.aggregator.model is None or table.aggregator.kind != "synthesize":
        return None
    last = [member.model for member in table.proposer_layers[-1] for _ in range(member.samples)]
    return Shape(tuple(sorted(last)), len(table.proposer_layers) + 1, table.aggregator.model)
