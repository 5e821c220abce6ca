"""Compares length-controlled win rates with AlpacaEval's published ones. Needs `--data DIR`.

DIR holds alpaca_eval/ with annotations/, expected_dev.csv (model, win_rate, length_controlled_winrate, C_star), the
leaderboard, and the files for length control.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import arguments, report
from moa.evals.stats.length_control import fit
from moa.evals.tasks.annotations import Annotations, Control, pair_results, score
from moa.evals.tasks.data import read_rows


def measured(path: Path, control: Control, expected: dict[str, str], board: dict[str, str]) -> dict[str, Any]:
    """Return a row with differences to the published win rate, in points.

    They are for the published C (`given C`), for C by cross-validation (`own C`), and without the gamed answers'
    preferences (`two numbers`). `error` is a bootstrap standard error; `published error` takes the weights as fixed.
    """
    judged, c = Annotations.read(path), float(expected["C_star"])
    published = float(expected["length_controlled_winrate"])
    given, own = score(judged, control, c), score(judged, control)
    blind = score(judged, replace(control, gamed=replace(control.gamed, preferences=None)))
    return {
        "model": expected["model"],
        "published": published,
        "given C": round(given.lc_win_rate - published, 4),
        "own C": round(own.lc_win_rate - published, 4),
        "two numbers": round(blind.lc_win_rate - published, 4),
        "raw": given.win_rate - float(expected["win_rate"]),
        "error": given.lc_bootstrap_se,
        "published error": float(board["lc_standard_error"]) if board.get("lc_standard_error") else None,
        "rows": _rows(path, judged, control, c),
    }


def _rows(path: Path, judged: Annotations, control: Control, c: float) -> float | None:
    """Return the largest difference of a single prediction, if predictions are published."""
    stored = [row.get("glm_preference") for row in read_rows(path)]
    if None in stored:
        return None
    given = pair_results(judged, control)
    predicted = fit(given, control.gamed, c).predictions(given.difficulty)
    return max(abs(one - other) for one, other in zip(predicted, stored, strict=True))


def main() -> None:
    options = arguments(__doc__, runs=1, data="")
    if not options.data:
        print("skipped: needs --data DIR, AlpacaEval's data with annotations", file=sys.stderr)
        return
    folder, control = Path(options.data, "alpaca_eval"), Control.read(Path(options.data))
    boards = {row[""]: row for row in read_rows(folder / "leaderboard_weighted_gpt4_turbo.csv")}
    rows = []
    for expected in read_rows(folder / "expected_dev.csv"):
        name = expected["model"]
        path = next((folder / "annotations").glob(f"{name}.json*"), None)
        if path:
            rows.append(measured(path, control, expected, boards.get(name, {})))
    report("length-controlled win rates against published ones", rows, options)


if __name__ == "__main__":
    main()
