"""What came of an experiment: a table, a page with plots, the figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from ..report.html import Section, paragraph, table
from ..report.plots import bars, lines
from ..results_folder import Folder
from ..stats.bootstrap import Estimate
from .answer_similarity import Alike, alike
from .findings import Results, cells, prices, write
from .paper import Experiment
from .texts import MEASURES

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


def kept(folder: Folder, experiment: Experiment, results: Results) -> list[Path]:
    """Write it all into the results folder; where to."""
    data = folder.path / f"{experiment.name}.json"
    likeness = alike(experiment, folder)
    arms = [{**asdict(arm), **asdict(results[arm.candidate])} for arm in experiment.arms]
    told = {"arms": arms, "likeness": [asdict(one) for one in likeness]}
    data.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", "utf-8", newline="\n")
    draw = bars if experiment.shape == "bars" else lines
    plots = {experiment.name: draw(_series(experiment, results), experiment.axis, "score"), **prices(results)}
    sections = [Section("Figures", table(HEADER, rows(experiment, results), numbers=(2, 3, 4, 5)))]
    if likeness:
        sections.append(Section("Is an answer more like the better of its proposals?", _likeness(likeness)))
    title = f"{experiment.title} ({experiment.source} of the paper)"
    return [
        data,
        *write(folder, experiment.name, title, (said(experiment, results), "plain"), sections, plots, results),
    ]


def _likeness(likeness: Sequence[Alike]) -> str:
    """How alike answers and proposals are, then the rank correlation of that with the proposals' scores."""
    means = [
        (one.mixture, proposer, *(f"{getattr(like, measure):.3f}" for measure in MEASURES))
        for one in likeness
        for proposer, like in one.likeness.items()
    ]
    correlations = [
        (one.mixture, measure, "none" if found.mean is None else f"{found.mean:+.3f}", str(found.samples))
        for one in likeness
        for measure, found in one.correlation.items()
    ]
    return (
        table(("mixture", "its proposer", *MEASURES), means, numbers=(2, 3, 4))
        + paragraph("Rank correlation of likeness and score within each prompt, the mean over those with an order:")
        + table(("mixture", "likeness by", "correlation", "prompts"), correlations, numbers=(2, 3))
    )


def _series(experiment: Experiment, results: Results) -> dict[str, dict[str, Estimate]]:
    made: dict[str, dict[str, Estimate]] = {}
    for arm in experiment.arms:
        made.setdefault(arm.series, {})[arm.at] = results[arm.candidate].score
    return made
