"""What came of an experiment: a table, a page with plots, the figures as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from .experiments import Experiment
from .findings import Results, cells, prices, write
from .page import Section, table
from .plots import bars, lines
from .statistics import Estimate

HEADER = ("", "", "score", "interval", "cost", "time", "mixture")


def rows(experiment: Experiment, results: Results) -> list[tuple[str, ...]]:
    """The lines of the table."""
    return [(arm.series, arm.at, *cells(results[arm.candidate]), arm.candidate.name) for arm in experiment.arms]


def said(experiment: Experiment, results: Results) -> str:
    """What it comes to: the mean of each series, and the best of all."""
    means = [
        f"{name} {fmean(one.value for one in made.values()):.1f}" for name, made in _series(experiment, results).items()
    ]
    best = max(results, key=lambda one: results[one].score.value)
    score, interval, *_ = cells(results[best])
    return f"On average {', '.join(means)}. Best: {best.name} with {score}, interval {interval}."


def kept(folder: Path, experiment: Experiment, results: Results) -> list[Path]:
    """Write it all into the results folder; where to."""
    data = folder / f"{experiment.name}.json"
    told = [{**asdict(arm), **asdict(results[arm.candidate])} for arm in experiment.arms]
    data.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", "utf-8", newline="\n")
    draw = bars if experiment.shape == "bars" else lines
    plots = {experiment.name: draw(_series(experiment, results), experiment.axis, "score"), **prices(results)}
    sections = [Section("Figures", table(HEADER, rows(experiment, results), numbers=(2, 3, 4, 5)))]
    title = f"{experiment.title} ({experiment.source} of the paper)"
    return [data, *write(folder, experiment.name, title, (said(experiment, results), "plain"), sections, plots)]


def _series(experiment: Experiment, results: Results) -> dict[str, dict[str, Estimate]]:
    made: dict[str, dict[str, Estimate]] = {}
    for arm in experiment.arms:
        made.setdefault(arm.series, {})[arm.at] = results[arm.candidate].score
    return made
