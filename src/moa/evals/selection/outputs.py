"""Existing answers and scores of models: from results folders, or from files of answers and a table of preferences.

A file of answers has the name of its model: a JSON list of {instruction, output}, plain or gzip, as AlpacaEval has
them. In an annotation file `output_2` is read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ...config.load import Config
from ...errors import ConfigError
from ...optional import needs
from ...text.similarity import unit_vectors
from ..results_folder import MANIFEST, ResultsFolder
from ..task import ScoredSample
from ..tasks import flask
from ..tasks.data import read_rows

with needs("eval"):
    import numpy as np

Outputs = Mapping[str, str]
"""The answers of a model by instruction."""

_WORD = re.compile(r"\b\w\w+\b")


def read_outputs(path: Path) -> Outputs:
    """Read a file of answers. Raises `ConfigError`."""
    rows = read_rows(path)
    field = "output" if "output" in rows[0] else "output_2"
    try:
        return {row["instruction"]: row[field] or "" for row in rows}
    except KeyError as error:
        raise ConfigError(
            f"{path}: {error}: is missing in a row; each row needs an instruction and an output"
        ) from None


def find_outputs(folder: Path, names: Sequence[str]) -> dict[str, Outputs]:
    """Read the answers of the models that have a file in the folder, at any depth.

    If the folder is selection/outputs beside alpaca_eval/annotations, annotations are searched too.
    """
    if not folder.is_dir():
        raise ConfigError(f"--outputs: no such folder, got {folder}; set it to the folder with the models' answers")
    beside = folder.resolve().parents[1] / "alpaca_eval" / "annotations" if folder.resolve().parents[1:] else folder
    files: dict[str, Path] = {}
    for searched in (folder, beside):
        for path in sorted(searched.rglob("*.json")) + sorted(searched.rglob("*.json.gz")):
            files.setdefault(path.name.removesuffix(".gz").removesuffix(".json"), path)
    return {name: read_outputs(files[name]) for name in names if name in files}


def output_similarities(outputs: Mapping[str, Outputs]) -> dict[tuple[str, str], float]:
    """Return the mean TF-IDF cosine of the answers of each two models, over the instructions that both answered.

    The vectors are those of scikit-learn's defaults, fitted on all answers to one instruction.
    """
    names = sorted(outputs)
    total, count = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for instruction in dict.fromkeys(instruction for name in names for instruction in outputs[name]):
        present = [index for index, name in enumerate(names) if instruction in outputs[name]]
        bags = [Counter(_WORD.findall(outputs[names[index]][instruction].lower())) for index in present]
        columns = {word: column for column, word in enumerate(dict.fromkeys(word for bag in bags for word in bag))}
        matrix = np.zeros((len(present), len(columns) or 1))
        for row, vector in enumerate(unit_vectors(bags)):
            matrix[row, [columns[word] for word in vector]] = list(vector.values())
        total[np.ix_(present, present)] += matrix @ matrix.T
        count[np.ix_(present, present)] += 1
    return {
        (one, other): float(total[i, j] / count[i, j])
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if i < j and count[i, j]
    }


def read_preferences(path: Path) -> dict[str, list[float | None]]:
    """Read a table of preferences: CSV with a column per model and a row per prompt; empty cells are missing values.

    Columns named index, instruction or dataset are ignored.
    """
    rows = read_rows(path)
    names = [name for name in rows[0] if name not in ("", "index", "instruction", "dataset")]
    if not names:
        raise ConfigError(f"{path}: has no column of a model")
    try:
        return {name: [_preference(row[name]) for row in rows] for name in names}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: preferences must be numbers: {error}") from None


def _preference(cell: str | None) -> float | None:
    number = float(cell) if cell and cell.strip() else math.nan
    return None if math.isnan(number) else number


BEST_SCORES = {"mt_bench": 10.0, "flask": flask.BEST, "flask_hard": flask.BEST}
"""The best score of a task; 1 for all others."""

Prompt = str
"""A key of a prompt: its task and data, the judge, the baseline and the id."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The composition of a mixture: its last proposers, one entry per sample, its layers and its aggregator."""

    proposers: tuple[str, ...]
    layers: int
    aggregator: str


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """The quality of a model's answers, from 0 to 1 by prompt, and their texts. A single model has no `shape`."""

    name: str
    shape: Shape | None
    quality: Mapping[Prompt, float]
    texts: Mapping[Prompt, str]

    @property
    def single(self) -> bool:
        """Whether this is a single model."""
        return " -> " not in self.name and not self.name.startswith("moa:")


def read_results(folder: Path, config: Config) -> list[ModelOutputs]:
    """Read all models of the results folders in a folder, or of a results folder. The baseline has a quality of 0.5.

    Raises `ConfigError` if there are no results.
    """
    folders = sorted(path.parent for path in folder.rglob(MANIFEST)) if folder.is_dir() else []
    if not folders:
        raise ConfigError(f"{folder}: has no results folder; moa eval run writes one")
    quality: dict[str, dict[Prompt, float]] = {}
    texts: dict[str, dict[Prompt, str]] = {}
    for results in map(ResultsFolder.read, folders):
        manifest, scored_models = results.manifest, {model for _, model in results.scored}
        first = manifest["models"][0]
        baseline = None if first in scored_models else first
        for model in dict.fromkeys(model for _, model in results.answers):
            for scored in results.scored_samples(model):
                value = 0.5 if model == baseline else _quality(scored, BEST_SCORES.get(manifest["task"], 1.0))
                if value is not None and scored.answer.error is None:
                    context = f"{manifest['task']}/{manifest['data']}/{manifest['judge']}/{baseline}"
                    prompt = f"{context}/{scored.sample.id}"
                    quality.setdefault(model, {})[prompt] = value
                    texts.setdefault(model, {})[prompt] = "\n\n".join(scored.answer.texts)
    return [ModelOutputs(name, shape_of(name, config), quality[name], texts[name]) for name in quality]


def _quality(scored: ScoredSample, best: float) -> float | None:
    """Return the mean of the scores of an answer, from 0 to 1."""
    values = [score.value for score in scored.scores if score.value is not None]
    return fmean(values) / best if values else None


def shape_of(name: str, config: Config) -> Shape | None:
    """Return the shape of a mixture: from the name an experiment gave it, else from moa.toml.

    `None` for a single model, for a mixture that is not in moa.toml, and for one that does not synthesize.
    """
    if " -> " in name:
        proposed, aggregator = name.split(" -> ", 1)
        aggregator, _, layers = aggregator.partition(", ")
        if aggregator.endswith(" picks"):
            return None
        members = [re.fullmatch(r"(.*?)(?: x(\d+))?", member) for member in proposed.split(" + ")]
        proposers = [match[1] for match in members if match for _ in range(int(match[2] or 1))]
        return Shape(tuple(sorted(proposers)), int(layers.removesuffix(" layers") or 2), aggregator)
    table = config.mixtures.get(name.removeprefix("moa:")) if name.startswith("moa:") else None
    if table is None or table.aggregator.model is None or table.aggregator.kind != "synthesize":
        return None
    last = [member.model for member in table.proposer_layers[-1] for _ in range(member.samples)]
    return Shape(tuple(sorted(last)), len(table.proposer_layers) + 1, table.aggregator.model)
