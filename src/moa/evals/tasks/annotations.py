"""Win rates of AlpacaEval from annotation files, with the data of its length control.

A data folder contains `alpaca_eval/` or is that folder itself:

    instruction_difficulty.csv   the difficulty of each instruction (or instruction_difficulty_recovered.csv)
    df_gamed.csv                 brief and wordy answers of the baseline (or df_gamed_surrogate.csv), with an optional
                                 column of preferences
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...optional import needs
from ..stats.length_control import Controlled, Gamed, PairResults, length_controlled
from ..stats.validity import constant
from .data import data_folder, read_rows, require_file

with needs("eval"):
    import numpy as np


@dataclass(frozen=True, slots=True)
class Annotation:
    """One comparison with the baseline: both answers, and the preference from 0 (the baseline) to 1 (the model).

    `None` if there is none, or if it is not a number from 1 to 2 (0 counts as a tie, as upstream).
    """

    baseline: str
    output: str
    preference: float | None


@dataclass(frozen=True, slots=True)
class Annotations:
    """All comparisons of one model with one baseline, in the order of the instructions."""

    model: str
    baseline: str
    rows: tuple[Annotation, ...]
    invalid: int = 0
    """How many preferences are not a number from 1 to 2, or 0."""

    @staticmethod
    def read(path: Path) -> Annotations:
        """Read an annotation file of alpaca_eval. Raises `ConfigError`."""
        rows = read_rows(path)
        for field in ("output_1", "output_2", "preference"):
            if not any(field in row for row in rows):
                raise ConfigError(f"{path}: {field}: is missing; this is not an annotation file of AlpacaEval")
        models, baselines = (
            [str(name) for name in dict.fromkeys(row.get(field, "") for row in rows)]
            for field in ("generator_2", "generator_1")
        )
        if len(models) > 1 or len(baselines) > 1:
            names = ", ".join(models + baselines)
            raise ConfigError(f"{path}: contains several comparisons ({names}); score one file for each")
        read = tuple(
            Annotation(_text(row, "output_1"), _text(row, "output_2"), preference_of(row.get("preference")))
            for row in rows
        )
        given = sum(_is_given(row.get("preference")) for row in rows)
        invalid = given - sum(annotation.preference is not None for annotation in read)
        return Annotations(models[0], baselines[0], read, invalid)


def preference_of(value: Any) -> float | None:
    """Return a preference of an annotation file (1 to 2, or 0 for a tie) as a number from 0 to 1."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if number == 0:
        return 0.5
    return number - 1 if 1 <= number <= 2 else None


def _is_given(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _text(row: Mapping[str, Any], field: str) -> str:
    return str(row.get(field) or "")


@dataclass(frozen=True)
class Control:
    """The data of length control."""

    difficulty: Sequence[float]
    gamed: Gamed

    @staticmethod
    def read(data: Path) -> Control:
        """Read it from a data folder. Raises `ConfigError`."""
        folder = data_folder(data, "alpaca_eval")
        names = ("instruction_difficulty.csv", "instruction_difficulty_recovered.csv")
        difficulty = _numbers(require_file(folder, *names, content="difficulties"), "instruction_difficulty")
        path = require_file(folder, "df_gamed.csv", "df_gamed_surrogate.csv", content="gamed answers")
        delta, hard = _numbers(path, "std_delta_len"), _numbers(path, "instruction_difficulty")
        preferences = None
        if all((row.get("preference") or "").strip() for row in read_rows(path)):
            preferences = np.array(_numbers(path, "preference"))
        return Control(difficulty, Gamed(np.array(delta), np.array(hard), preferences))


def _numbers(path: Path, column: str) -> list[float]:
    try:
        return [float(row[column]) for row in read_rows(path)]
    except KeyError:
        raise ConfigError(f"{path}: {column}: no such column") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {column}: must be a number in each row: {error}") from None


@dataclass(frozen=True, slots=True)
class WinRate:
    """Win rates and the standard error, in percent. Ties count half; in `discrete` any lead is a whole win."""

    win_rate: float
    discrete: float
    standard_error: float
    n: int


def win_rate(preferences: Sequence[float]) -> WinRate:
    """Return the win rates of preferences, each from 0 (the baseline's answer) to 1 (the model's).

    The standard error of a single preference is NaN.
    """
    if not preferences:
        raise ValueError("a win rate needs at least one preference")
    n = len(preferences)
    mean = math.fsum(preferences) / n
    wins, ties = sum(value > 0.5 for value in preferences), sum(value == 0.5 for value in preferences)
    squares = math.fsum((value - mean) ** 2 for value in preferences)
    error = math.sqrt(squares / (n - 1) / n) if n > 1 else math.nan
    return WinRate(100 * mean, 100 * (wins + ties / 2) / n, 100 * error, n)


@dataclass(frozen=True)
class AlpacaScore:
    """The scores of annotations, in percent. `c` is that of the penalty, `None` without one."""

    model: str
    win_rate: float
    discrete_win_rate: float
    lc_win_rate: float
    standard_error: float
    lc_bootstrap_se: float
    n: int
    c: float | None
    warnings: tuple[str, ...] = ()


def pair_results(annotations: Annotations, control: Control) -> PairResults:
    """Return the comparisons for length control. Raises `ConfigError`.

    As upstream, a row has the difficulty at its index, so rows after a gap have that of their neighbours: published
    results depend on it.
    """
    rows, known = annotations.rows, control.difficulty
    if len(rows) > len(known):
        raise ConfigError(f"{annotations.model}: has {len(rows)} comparisons, but there are {len(known)} difficulties")
    return PairResults(
        np.array([math.nan if row.preference is None else row.preference for row in rows]),
        np.array([len(row.baseline) - len(row.output) for row in rows], dtype=float),
        np.array(known[: len(rows)]),
    )


def score(annotations: Annotations, control: Control, c: float | None = None, seed: int = 0) -> AlpacaScore:
    """Score annotations as AlpacaEval 2.0 does. Raises `ConfigError`."""
    rows = annotations.rows
    known = [row.preference for row in rows if row.preference is not None]
    if not known:
        raise ConfigError(f"{annotations.model}: has no comparison with a preference")
    if annotations.model == annotations.baseline:  # by definition
        result = Controlled(50.0, 0.0, c)
    else:
        result = length_controlled(pair_results(annotations, control), control.gamed, c, seed)
    rates = win_rate(known)
    return AlpacaScore(
        annotations.model,
        rates.win_rate,
        rates.discrete,
        result.win_rate,
        rates.standard_error,
        result.error,
        rates.n,
        result.c,
        tuple(_warnings(annotations)),
    )


def _warnings(annotations: Annotations) -> list[str]:
    texts = [flag.evidence for flag in constant(annotations.model, [row.output for row in annotations.rows])]
    missing = sum(row.preference is None for row in annotations.rows) - annotations.invalid
    if missing:
        texts.append(f"{missing} of {len(annotations.rows)} comparisons have no preference and are ignored")
    if annotations.invalid:
        texts.append(f"{annotations.invalid} preferences are not a number from 1 to 2 (or 0) and are ignored")
    return texts
