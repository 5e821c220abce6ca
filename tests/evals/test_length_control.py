"""Length-controlled win rates, by the model of AlpacaEval 2.0."""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command import moa
from moa.errors import ConfigError
from moa.evals.stats.length_control import GAMED_WEIGHT, GRID, PULL, Gamed, PairResults, fit, standard_error
from moa.evals.tasks.annotations import Annotations, Control, score, win_rate
from moa.optional import needs

LENGTH, DIFFICULTY, QUALITY = -1.5, 0.8, -0.4
"""The weights of simulated preferences."""

DATA = Path(os.environ.get("MOA_EVAL_DATA", "nowhere"))
with_data = pytest.mark.skipif(
    not (DATA / "alpaca_eval" / "annotations").is_dir(),
    reason="needs AlpacaEval's annotations; MOA_EVAL_DATA names the folder that holds alpaca_eval/",
)


def simulated(rows: int = 800, seed: int = 1) -> tuple[PairResults, Gamed]:
    """Return preferences that follow the model exactly, so that the fit must recover the weights."""
    dice = np.random.default_rng(seed)
    difficulty, delta = dice.normal(0, 1.5, rows), dice.normal(200, 700, rows)
    shape = np.tanh(delta / delta.std(ddof=1))
    preferences = 1 / (1 + np.exp(-(LENGTH * shape + DIFFICULTY * difficulty + QUALITY)))
    gamed_delta, gamed_difficulty = np.repeat((1.0, -1.0), rows), np.tile(difficulty, 2)
    gamed = 1 / (1 + np.exp(-(LENGTH * np.tanh(gamed_delta) + DIFFICULTY * gamed_difficulty)))
    return PairResults(preferences, delta, difficulty), Gamed(gamed_delta, gamed_difficulty, gamed)


def test_the_fit_recovers_the_weights_that_generated_the_preferences() -> None:
    compared, gamed = simulated()
    found = fit(compared, gamed, c=1e4)
    assert (found.length, found.difficulty, found.quality) == pytest.approx((LENGTH, DIFFICULTY, QUALITY), abs=0.01)


def test_the_controlled_win_rate_is_that_of_answers_as_long_as_the_baselines() -> None:
    compared, gamed = simulated()
    even = 1 / (1 + np.exp(-(DIFFICULTY * compared.difficulty + QUALITY)))
    assert fit(compared, gamed, c=1e4).win_rate(compared.difficulty) == pytest.approx(100 * even.mean(), abs=0.1)
    assert win_rate(list(compared.preferences)).win_rate < 100 * even.mean() - 3  # its answers are shorter


def test_rows_without_a_preference_are_predicted_but_not_fitted() -> None:
    compared, gamed = simulated()
    gaps = compared.preferences.copy()
    gaps[::7] = np.nan
    found = fit(replace(compared, preferences=gaps), gamed, c=1e4)
    assert len(found.predictions(compared.difficulty)) == 800
    assert (found.length, found.difficulty, found.quality) == pytest.approx((LENGTH, DIFFICULTY, QUALITY), abs=0.01)


def test_the_penalty_is_chosen_from_the_grid_and_is_the_same_each_time() -> None:
    compared, gamed = simulated(200)
    noisy = replace(compared, preferences=np.round(compared.preferences))
    first, second = fit(noisy, gamed), fit(noisy, gamed)
    assert first == second
    assert first.c in GRID


def test_two_numbers_replace_unknown_gamed_preferences() -> None:
    compared, _ = simulated()
    dice = np.random.default_rng(2)
    given = Gamed(dice.uniform(-2, 2, 4000), dice.uniform(-2.5, 2.5, 4000), None)
    x = given.features()[:, :2]
    lean = np.linalg.solve(x.T @ x, np.array(PULL) / GAMED_WEIGHT - x.sum(axis=0) / 2)
    known = replace(given, preferences=0.5 + x @ lean)
    assert 0 < known.preferences.min() < known.preferences.max() < 1
    without = fit(compared, given)
    assert without.c is None
    assert without.win_rate(compared.difficulty) == pytest.approx(
        fit(compared, known, c=1e4).win_rate(compared.difficulty), abs=0.05
    )


def test_the_bootstrap_measures_how_much_the_win_rate_varies() -> None:
    """Compare with the spread of the win rate over many samples of the same population."""
    rates, errors = [], []
    for seed in range(60):
        compared, gamed = simulated(200, seed)
        drawn = np.random.default_rng(seed).random(200) < compared.preferences
        judged = replace(compared, preferences=drawn.astype(float))
        fitted = fit(judged, gamed, c=10.0)
        rates.append(fitted.win_rate(judged.difficulty))
        if seed < 10:
            errors.append(standard_error(judged, gamed, fitted, samples=200))
    assert np.mean(errors) == pytest.approx(np.std(rates, ddof=1), rel=0.35)


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    compared, gamed = simulated(100)
    fitted = fit(compared, gamed, c=10.0)
    first, second, third = (standard_error(compared, gamed, fitted, seed=seed, samples=50) for seed in (3, 3, 4))
    assert first == second != third


def test_a_tie_is_half_a_win_and_any_lead_a_whole_discrete_one() -> None:
    found = win_rate([1.0, 0.6, 0.5, 0.1])
    assert (found.win_rate, found.discrete) == (pytest.approx(55), 62.5)
    assert found.standard_error == pytest.approx(100 * np.std([1.0, 0.6, 0.5, 0.1], ddof=1) / 2)


def written(folder: Path, preferences: list[Any], words: str | None = None, packed: bool = False) -> Path:
    """Write an annotation file, and the data of length control."""
    data = folder / "alpaca_eval"
    data.mkdir(exist_ok=True)
    dice = np.random.default_rng(5)
    rows = [f"{place},{dice.normal()}" for place in range(len(preferences))]
    (data / "instruction_difficulty.csv").write_text("index,instruction_difficulty\n" + "\n".join(rows))
    rows = [f"brief,{dice.random()},0,{dice.normal()},{dice.normal()},False" for _ in range(50)]
    head = "model,preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline\n"
    (data / "df_gamed.csv").write_text(head + "\n".join(rows))
    rows = [
        {
            "instruction": f"question {place}",
            "output_1": "word " * (place % 17),
            "output_2": words or f"{place} " * (place % 13),
            "generator_1": "base",
            "generator_2": "mine",
            "preference": preference,
        }
        for place, preference in enumerate(preferences)
    ]
    path = folder / "annotations.json"
    text = json.dumps(rows).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_command_scores_an_annotation_file(tmp_path: Path, packed: bool) -> None:
    path = written(tmp_path, [1.0, 1.9, 0, None, 1.5, 2.0, 1.2, 3.7, 1.4, "1.6"] * 5, packed=packed)
    done = moa(
        "eval", "score", "alpaca_eval", "--annotations", str(path), "--data", str(tmp_path), "--c", "2.5", "--json"
    )
    found = json.loads(done.stdout)
    assert found["n"] == 40  # neither what is missing nor what is no preference
    assert found["win_rate"] == pytest.approx(100 * np.mean([0, 0.9, 0.5, 0.5, 1, 0.2, 0.4, 0.6]))
    assert found["discrete_win_rate"] == pytest.approx(100 * (3 + 2 / 2) / 8)
    assert found["c"] == 2.5
    assert 0 < found["lc_win_rate"] < 100
    assert found["lc_bootstrap_se"] > 0
    assert "5 of 50 comparisons have no preference" in done.stderr
    assert "5 preferences are not a number from 1 to 2" in done.stderr


def test_the_baseline_has_a_win_rate_of_one_half(tmp_path: Path) -> None:
    judged = replace(Annotations.read(written(tmp_path, [1.5, 1.4, 1.7])), model="base")
    assert score(judged, Control.read(tmp_path)).lc_win_rate == 50


def test_constant_answers_cause_a_warning_however_often_they_win(tmp_path: Path) -> None:
    path = written(tmp_path, [1.99] * 40, words="I win whatever you ask.")
    found = score(Annotations.read(path), Control.read(tmp_path))
    assert found.win_rate > 98
    assert any("40 of 40" in warning for warning in found.warnings)


def test_errors_name_the_file_and_the_fault(tmp_path: Path) -> None:
    path = written(tmp_path, [1.2] * 5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"has no instruction_difficulty\.csv or instruction_"):
        Control.read(tmp_path / "empty")
    with pytest.raises(ConfigError, match="nowhere: no such folder; set --data"):
        Control.read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"5 comparisons, .* 4 difficulties"):
        control = Control.read(tmp_path)
        score(Annotations.read(path), replace(control, difficulty=control.difficulty[:4]))
    path.write_text("[{]")
    with pytest.raises(ConfigError, match="is not JSON"):
        Annotations.read(path)
    path.write_text('[{"output": "x"}]')
    with pytest.raises(ConfigError, match="output_1: is missing"):
        Annotations.read(path)


def test_a_missing_library_is_an_error_that_names_its_extra() -> None:
    with (
        pytest.raises(ConfigError, match=r'needs nobody_has_this: pip install "mixture-of-agents\[eval\]"'),
        needs("eval"),
    ):
        import nobody_has_this  # type: ignore[import-not-found]  # noqa: F401


def published() -> list[dict[str, str]]:
    path = DATA / "alpaca_eval" / "expected_dev.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if judgements(row["model"]).exists()]


def judgements(model: str) -> Path:
    return DATA / "alpaca_eval" / "annotations" / f"{model}.json.gz"


@with_data
@pytest.mark.parametrize("row", [pytest.param(row, id=row["model"]) for row in published()])
def test_published_win_rates_are_reproduced(row: dict[str, str]) -> None:
    judged, control = Annotations.read(judgements(row["model"])), Control.read(DATA)
    given, own = score(judged, control, float(row["C_star"])), score(judged, control)
    assert given.win_rate == pytest.approx(float(row["win_rate"]), abs=1e-6)
    assert given.discrete_win_rate == pytest.approx(float(row["discrete_win_rate"]), abs=1e-6)
    assert given.standard_error == pytest.approx(float(row["standard_error"]), abs=1e-6)
    assert given.lc_win_rate == pytest.approx(float(row["length_controlled_winrate"]), abs=0.01)
    assert own.lc_win_rate == pytest.approx(float(row["length_controlled_winrate"]), abs=0.16)
    blind = replace(control, gamed=replace(control.gamed, preferences=None))
    assert score(judged, blind).lc_win_rate == pytest.approx(float(row["length_controlled_winrate"]), abs=0.12)
