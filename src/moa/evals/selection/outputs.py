"""Answers of several models that exist, and how alike they are on average: the mean TF-IDF cosine over the prompts.

A model's answers are a file of its name in JSON, plain or packed: a list of {instruction, output}, as AlpacaEval has
them. Of an annotation file `output_2` is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import ConfigError
from ...optional import needs
from ...text.similarity import unit_vectors
from ..tasks.files import rows_of

with needs("eval"):
    import numpy as np

Outputs = Mapping[str, str]
"""What a model answered, by instruction."""

_WORD = re.compile(r"\b\w\w+\b")


def read(path: Path) -> Outputs:
    """Read a file of answers. Raises `ConfigError`."""
    rows = rows_of(path)
    field = "output" if "output" in rows[0] else "output_2"
    try:
        return {row["instruction"]: row[field] or "" for row in rows}
    except KeyError as error:
        raise ConfigError(f"{path}: a row has no {error}; it must have an instruction and an output") from None


def find(folder: Path, names: Sequence[str]) -> dict[str, Outputs]:
    """The answers of those of the models whose files are there, at any depth.

    In a folder laid out as selection/outputs beside alpaca_eval/annotations, the annotations are looked at too.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; --outputs names the one with the models' answers")
    beside = folder.resolve().parents[1] / "alpaca_eval" / "annotations" if folder.resolve().parents[1:] else folder
    files: dict[str, Path] = {}
    for place in (folder, beside):
        for path in sorted(place.rglob("*.json")) + sorted(place.rglob("*.json.gz")):
            files.setdefault(path.name.removesuffix(".gz").removesuffix(".json"), path)
    return {name: read(files[name]) for name in names if name in files}


def likeness(outputs: Mapping[str, Outputs]) -> dict[tuple[str, str], float]:
    """How alike the answers of each two models are, from 0 to 1: the mean over the instructions that both answered.

    The vectors are those of scikit-learn's defaults, fitted on all answers to one instruction.
    """
    names = sorted(outputs)
    total, count = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for instruction in dict.fromkeys(one for name in names for one in outputs[name]):
        there = [place for place, name in enumerate(names) if instruction in outputs[name]]
        bags = [Counter(_WORD.findall(outputs[names[place]][instruction].lower())) for place in there]
        columns = {word: column for column, word in enumerate(dict.fromkeys(word for bag in bags for word in bag))}
        matrix = np.zeros((len(there), len(columns) or 1))
        for row, vector in enumerate(unit_vectors(bags)):
            matrix[row, [columns[word] for word in vector]] = list(vector.values())
        total[np.ix_(there, there)] += matrix @ matrix.T
        count[np.ix_(there, there)] += 1
    return {
        (one, other): float(total[i, j] / count[i, j])
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if i < j and count[i, j]
    }


def preferences_of(path: Path) -> dict[str, list[float | None]]:
    """A table of preferences: CSV with a column for each model, a row for each prompt; an empty cell is missing.

    Columns named index, instruction or dataset are no models.
    """
    rows = rows_of(path)
    names = [name for name in rows[0] if name not in ("", "index", "instruction", "dataset")]
    if not names:
        raise ConfigError(f"{path}: has no column for a model")
    try:
        return {name: [_preference(row[name]) for row in rows] for name in names}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: a preference is no number: {error}") from None


def _preference(cell: str | None) -> float | None:
    number = float(cell) if cell and cell.strip() else math.nan
    return None if math.isnan(number) else number
