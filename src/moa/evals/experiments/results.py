"""Results of tuning and of experiments: tables, pages with plots, mixtures for moa.toml, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

from ...config.draft import written
from ...config.schema import MixtureTable
from ...paths import write_atomically
from ..report.html import Section, bullets, page, paragraph, preformatted, table
from ..report.summary import Verdict, find_flags
from ..report.svg import Point, bar_plot, line_plot, scatter_plot, standalone
from ..results_folder import ResultsFolder
from ..stats.bootstrap import Estimate
from .answer_similarity import MEASURES, MixtureSimilarity, mixture_similarities
from .candidate import Candidate, CandidateResult
from .paper import Experiment
from .tune import TuneResult, front

Results = Mapping[Candidate, CandidateResult]

EXPERIMENT_HEADER = ("", "", "score", "interval", "cost", "time", "mixture")
TUNE_HEADER = ("mixture", "score", "interval", "cost", "time", "")


def experiment_rows(experiment: Experiment, results: Results) -> list[tuple[str, ...]]:
    """Return the rows of an experiment's table."""
    return [(arm.series, arm.category, *_cells(results[arm.candidate]), arm.candidate.name) for arm in experiment.arms]


def experiment_summary(experiment: Experiment, results: Results) -> str:
    """Return the mean of each series and the best candidate, in a sentence."""
    means = [
        f"{name} {fmean(estimate.value for estimate in values.values()):.1f}"
        for name, values in _series(experiment, results).items()
    ]
    best = max(results, key=lambda candidate: results[candidate].score.value)
    score, interval, *_ = _cells(results[best])
    return f"On average {', '.join(means)}. Best: {best.name} with {score}, interval {interval}."


def write_experiment(folder: ResultsFolder, experiment: Experiment, results: Results) -> list[Path]:
    """Write the results of an experiment into the folder, and return the paths."""
    similar = mixture_similarities(experiment, folder)
    arms = [{**asdict(arm), **asdict(results[arm.candidate])} for arm in experiment.arms]
    data = _write(
        folder.path / f"{experiment.name}.json",
        json.dumps({"arms": arms, "similarity": [asdict(one) for one in similar]}, ensure_ascii=False, indent=2) + "\n",
    )
    draw = bar_plot if experiment.shape == "bars" else line_plot
    plots = {"": draw(_series(experiment, results), experiment.axis, "score"), **_cost_plots(results)}
    sections = [
        Section("Results", table(EXPERIMENT_HEADER, experiment_rows(experiment, results), numbers=(2, 3, 4, 5))),
        Section("Are answers more similar to the better proposals?", _similarity_tables(similar)),
    ]
    title = f"{experiment.title} ({experiment.source} of the paper)"
    verdict: Verdict = experiment_summary(experiment, results), "plain"
    return [data, *_write_page(folder, experiment.name, title, verdict, plots, sections, results)]


def tune_row(result: TuneResult) -> tuple[str, ...]:
    """Return a row of the table of tuning."""
    mark = "on the front" if result.on_front else "" if result.within_limits else "beyond the limits"
    return result.candidate.name, *_cells(result.result), mark


def tuned_mixtures(results: Sequence[TuneResult]) -> str:
    """Return the candidates on the front as tables of moa.toml, each with its result in a comment."""
    tables = []
    for number, one in enumerate((one for one in results if one.on_front), 1):
        score, interval, cost, seconds = _cells(one.result)
        comment = f"# {one.candidate.name}: {score} ({interval}) on {one.result.prompts} prompts, {cost}, {seconds} s\n"
        if one.candidate.aggregator is None:
            tables.append(f"{comment}# a single model, to be used by its name\n")
        else:
            tables.append(comment + written(f"tuned-{number}", MixtureTable.model_validate(one.candidate.table())))
    return "\n".join(tables)


def write_tuning(folder: ResultsFolder, results: Sequence[TuneResult]) -> list[Path]:
    """Write the results of tuning into the folder, and return the paths."""
    best, mixtures = results[0], tuned_mixtures(results)
    toml = _write(folder.path / "tuned.toml", mixtures)
    score, interval, *_ = _cells(best.result)
    sentence = f"{best.candidate.name}: {score}, interval {interval}"
    verdict: Verdict = (sentence, "plain")
    if not best.within_limits:
        verdict = f"No candidate is within the limits. The best one: {sentence}", "bad"
    sections = [
        Section("Mixtures", table(TUNE_HEADER, [tune_row(one) for one in results], numbers=(1, 2, 3, 4))),
        Section("For moa.toml", preformatted(mixtures) if best.within_limits else paragraph("Nothing.")),
    ]
    by_candidate = {one.candidate: one.result for one in results}
    plots = _cost_plots(by_candidate)
    return [toml, *_write_page(folder, "tuned", "Which mixture to use", verdict, plots, sections, by_candidate)]


def _cells(result: CandidateResult) -> tuple[str, str, str, str]:
    """Return score, interval, cost and seconds as texts."""
    cost = "unknown" if result.cost is None else f"${result.cost:.6f}"
    score = result.score
    return f"{score.value:.1f}", f"{score.low:.1f}..{score.high:.1f}", cost, f"{result.seconds:.2f}"


def _series(experiment: Experiment, results: Results) -> dict[str, dict[str, Estimate]]:
    series: dict[str, dict[str, Estimate]] = {}
    for arm in experiment.arms:
        series.setdefault(arm.series, {})[arm.category] = results[arm.candidate].score
    return series


def _cost_plots(results: Results) -> dict[str, str]:
    """Return plots of the score against seconds, and against dollars if all costs are known and not zero."""
    axes = {"seconds": [result.seconds for result in results.values()]}
    costs = [result.cost for result in results.values() if result.cost]
    if len(costs) == len(results):
        axes = {"cost": costs, **axes}
    titles = {"cost": "US dollars per question", "seconds": "seconds per question"}

    def plot(axis: str) -> str:
        placed = list(zip(results.items(), axes[axis], strict=True))
        best = front({candidate: replace(result, cost=None, seconds=x) for (candidate, result), x in placed})
        points = [
            Point(one.name, x, result.score.value, result.score.low, result.score.high, one in best, one in best)
            for (one, result), x in placed
        ]
        return scatter_plot(points, titles[axis], "score")

    return {axis: plot(axis) for axis in axes}


def _similarity_tables(similar: Sequence[MixtureSimilarity]) -> str:
    """Return the similarity of answers and proposals, and its rank correlation with the proposals' scores."""
    if not similar:
        return ""
    means = [
        (one.mixture, proposer, *(f"{getattr(similarity, measure):.3f}" for measure in MEASURES))
        for one in similar
        for proposer, similarity in one.similarity.items()
    ]
    correlations = [
        (one.mixture, measure, "none" if found.mean is None else f"{found.mean:+.3f}", str(found.samples))
        for one in similar
        for measure, found in one.correlation.items()
    ]
    return (
        table(("mixture", "proposer", *MEASURES), means, numbers=(2, 3, 4))
        + paragraph("Mean rank correlation of similarity and score within each prompt whose proposals can be ranked:")
        + table(("mixture", "similarity", "correlation", "prompts"), correlations, numbers=(2, 3))
    )


def _write_page(
    folder: ResultsFolder,
    name: str,
    title: str,
    verdict: Verdict,
    plots: Mapping[str, str],
    sections: Sequence[Section],
    results: Results,
) -> list[Path]:
    """Write a page of plots, sections and warnings, and each plot as SVG. `plots` are by their suffix to the name."""
    members = {one.name: [model for model, _ in one.proposers] + [one.aggregator or ""] for one in results}
    warnings = Section("Warnings", bullets([flag.evidence for flag in find_flags(folder, members)]))
    shown = [Section(f"Score and {suffix}" if suffix else "Scores", plot) for suffix, plot in plots.items()]
    paths = [_write(folder.path / f"{name}.html", page(title, *verdict, [*shown, *sections, warnings]))]
    for suffix, plot in plots.items():
        stem = f"{name}-{suffix}" if suffix else name
        paths.append(_write(folder.path / f"{stem}.svg", standalone(plot)))
    return paths


def _write(path: Path, text: str) -> Path:
    with write_atomically(path) as file:
        file.write(text)
    return path
