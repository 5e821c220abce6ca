"""Judgements of AlpacaEval that exist: annotation files, and what its length control has to know besides.

A folder of data holds `alpaca_eval/` or is that folder itself:

    instruction_difficulty.csv   how hard each instruction is (or instruction_difficulty_recovered.csv)
    df_gamed.csv                 the brief and the wordy answers of the baseline, with their preferences (or
                                 df_gamed_surrogate.csv); without a column of preferences the fit does without them
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...optional import needs
from ..stats.length_control import Compared, Controlled, Gamed, controlled
from ..stats.validity import constant
from ..stats.win_rate import win_rate
from .files import folder_of, needed_in, rows_of

with needs("eval"):
    import numpy as np


@dataclass(frozen=True, slots=True)
class Annotation:
    """One comparison with the baseline: both answers, and the preference from 0 (the baseline) to 1 (the model).

    `None` is no preference: none was given, or it was no number from 1 to 2 (0 counts as a tie, as upstream has it).
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
    odd: int = 0
    """How many preferences were there but were none."""

    @staticmethod
    def read(path: Path) -> Annotations:
        """Read an annotation file as alpaca_eval writes it. Raises `ConfigError`."""
        rows = rows_of(path)
        for field in ("output_1", "output_2", "preference"):
            if not any(field in row for row in rows):
                raise ConfigError(f"{path}: no row has {field!r}; this is no annotation file of AlpacaEval")
        models, baselines = (
            [str(name) for name in dict.fromkeys(row.get(field, "") for row in rows)]
            for field in ("generator_2", "generator_1")
        )
        if len(models) > 1 or len(baselines) > 1:
            raise ConfigError(
                f"{path}: holds several comparisons ({', '.join(models + baselines)}); give them one by one"
            )
        read = tuple(
            Annotation(_words(row, "output_1"), _words(row, "output_2"), preference_of(row.get("preference")))
            for row in rows
        )
        given = sum(_given(row.get("preference")) for row in rows)
        odd = given - sum(one.preference is not None for one in read)
        return Annotations(models[0], baselines[0], read, odd)


def preference_of(value: Any) -> float | None:
    """A preference of an annotation file (1 to 2, or 0 for a tie) as a number from 0 to 1."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if number == 0:
        return 0.5
    return number - 1 if 1 <= number <= 2 else None


def _given(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _words(row: Mapping[str, Any], field: str) -> str:
    return str(row.get(field) or "")


@dataclass(frozen=True)
class Control:
    """What length control needs to know beforehand."""

    difficulty: Sequence[float]
    gamed: Gamed

    @staticmethod
    def read(data: Path) -> Control:
        """Read it from a folder of data. Raises `ConfigError`."""
        folder = folder_of(data, "alpaca_eval")
        why = "length control needs"
        names = ("instruction_difficulty.csv", "instruction_difficulty_recovered.csv")
        difficulty = _numbers(needed_in(folder, *names, why=why), "instruction_difficulty")
        path = needed_in(folder, "df_gamed.csv", "df_gamed_surrogate.csv", why=why)
        delta, hard = _numbers(path, "std_delta_len"), _numbers(path, "instruction_difficulty")
        preferences = None
        if all((row.get("preference") or "").strip() for row in rows_of(path)):
            preferences = np.array(_numbers(path, "preference"))
        return Control(difficulty, Gamed(np.array(delta), np.array(hard), preferences))


def _numbers(path: Path, column: str) -> list[float]:
    try:
        return [float(row[column]) for row in rows_of(path)]
    except KeyError:
        raise ConfigError(f"{path}: has no column {column!r}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: column {column!r} holds something else than numbers: {error}") from None


@dataclass(frozen=True)
class AlpacaScore:
    """What the comparisons come to, in percent. `c` is the penalty's, `None` where there was none."""

    model: str
    win_rate: float
    discrete_win_rate: float
    lc_win_rate: float
    standard_error: float
    lc_bootstrap_se: float
    n: int
    c: float | None
    warnings: tuple[str, ...] = ()


def compared(annotations: Annotations, control: Control) -> Compared:
    """The comparisons as length control reads them.

    As upstream does, the difficulty of a row is that of its place, so rows after a gap have their neighbours':
    published figures depend on that. Raises `ConfigError`.
    """
    rows, known = annotations.rows, control.difficulty
    if len(rows) > len(known):
        raise ConfigError(
            f"{annotations.model}: {len(rows)} comparisons, but the difficulty of {len(known)} instructions is known"
        )
    return Compared(
        np.array([math.nan if row.preference is None else row.preference for row in rows]),
        np.array([len(row.baseline) - len(row.output) for row in rows], dtype=float),
        np.array(known[: len(rows)]),
    )


def score(annotations: Annotations, control: Control, c: float | None = None, seed: int = 0) -> AlpacaScore:
    """Score them as AlpacaEval 2.0 does. Raises `ConfigError`."""
    rows = annotations.rows
    known = [row.preference for row in rows if row.preference is not None]
    if not known:
        raise ConfigError(f"{annotations.model}: no comparison has a preference")
    if annotations.model == annotations.baseline:  # by definition
        found = Controlled(50.0, 0.0, c)
    else:
        found = controlled(compared(annotations, control), control.gamed, c, seed)
    raw = win_rate(known)
    return AlpacaScore(
        annotations.model,
        raw.win_rate,
        raw.discrete,
        found.win_rate,
        raw.standard_error,
        found.error,
        raw.n,
        found.c,
        tuple(_warnings(annotations)),
    )


def _warnings(annotations: Annotations) -> list[str]:
    told = [flag.evidence for flag in constant(annotations.model, [row.output for row in annotations.rows])]
    missing = sum(row.preference is None for row in annotations.rows) - annotations.odd
    if missing:
        told.append(f"{missing} of {len(annotations.rows)} comparisons have no preference and are left out")
    if annotations.odd:
        told.append(f"{annotations.odd} preferences are no number from 1 to 2 (or 0) and are left out")
    return told
