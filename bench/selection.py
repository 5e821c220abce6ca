"""Compares choosing models by quality and diversity with choosing by quality alone, on judged answers of real models.

Half of the prompts choose, the other half test; each run is another split. Needs `--data DIR` with
selection/preference_matrix_dev.csv (or `--preferences`) and selection/outputs (or `--outputs`).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import arguments, report
from moa.evals.selection.outputs import find_outputs, output_similarities, read_preferences
from moa.evals.selection.select import USUAL, select

Table = dict[str, list[float | None]]
METHODS: dict[str, dict[str, Any]] = {
    "quality": {"method": "quality"},
    "diversity": {"method": "diversity"},
    "fixed": {"weight": USUAL},
    "both": {},
}


def best_of(table: Table, members: Sequence[str], prompts: Sequence[int]) -> float:
    """Return the best member's preference in percent, averaged over the prompts; a gap counts as the member's mean."""
    means = {name: statistics.fmean(one for one in table[name] if one is not None) for name in members}
    reached = [max(_or(table[name][prompt], means[name]) for name in members) for prompt in prompts]
    return 100 * statistics.fmean(reached)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def split(table: Table, alike: dict[tuple[str, str], float], k: int, seed: int) -> dict[str, float]:
    """Return what each method reaches on the half of the prompts that it did not choose on."""
    order = np.random.default_rng(seed).permutation(len(next(iter(table.values())))).tolist()
    half = len(order) // 2
    choosing, testing = order[:half], order[half:]
    seen = {name: [column[prompt] for prompt in choosing] for name, column in table.items()}
    reached = {
        name: best_of(table, select(seen, alike, k, seed=seed, **how).members, testing) for name, how in METHODS.items()
    }
    single = select(seen, alike, 1, "quality").members
    dice = np.random.default_rng(seed).permutation(sorted(table)).tolist()
    return {**reached, "single": best_of(table, single, testing), "random": best_of(table, dice[:k], testing)}


def row(name: str, models: int, k: int, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return a row: `gain` is "both" minus "quality", `wins` counts splits with a higher / lower figure."""
    gains = [one["both"] - one["quality"] for one in found]
    means = {key: round(statistics.fmean(one[key] for one in found), 2) for key in ("single", "random", *METHODS)}
    wins = f"{sum(gain > 1e-9 for gain in gains)} / {sum(gain < -1e-9 for gain in gains)}"
    return {"pool": name, "models": models, "k": k, **means, "gain": round(statistics.fmean(gains), 2), "wins": wins}


def pools(table: Table, family: str) -> Iterator[tuple[str, list[str]]]:
    """Yield all models, those outside the leading family, and those with a quality of 5 to 11 percent."""
    quality = {name: statistics.fmean(one for one in column if one is not None) for name, column in table.items()}
    yield "all", list(table)
    if family:
        yield f"without {family}", [name for name in table if not name.startswith(family)]
    yield "near ties", [name for name, one in quality.items() if 0.05 <= one <= 0.11]


def measured(table: Table, outputs: Path, family: str, splits: int) -> Iterator[dict[str, Any]]:
    answers = find_outputs(outputs, list(table))
    if missing := sorted(set(table) - set(answers)):
        print(f"no answers of {', '.join(missing)}", file=sys.stderr)
    whole = output_similarities(answers)
    for name, members in pools(table, family):
        pool = {one: table[one] for one in members}
        alike = output_similarities({one: answers[one] for one in members if one in answers})
        for k in (3, 6):
            if k < len(pool):
                yield row(name, len(pool), k, [split(pool, alike, k, seed) for seed in range(splits)])
    drawn = [np.random.default_rng(seed).permutation(sorted(table)).tolist()[:15] for seed in range(splits)]
    for k in (3, 6):
        if len(table) > 15:
            found = [split({one: table[one] for one in pool}, whole, k, seed) for seed, pool in enumerate(drawn)]
            yield row("random 15", 15, k, found)


def main() -> None:
    options = arguments(__doc__, runs=100, data="", preferences="", outputs="", family="FuseChat")
    if not options.data:
        print("skipped: needs --data DIR, preferences and answers of real models", file=sys.stderr)
        return
    data = Path(options.data)
    table = read_preferences(Path(options.preferences or data / "selection" / "preference_matrix_dev.csv"))
    outputs = Path(options.outputs or data / "selection" / "outputs")
    rows = list(measured(table, outputs, options.family, options.runs))
    report("best of k on prompts not seen, %", rows, options, "mean")


if __name__ == "__main__":
    main()
