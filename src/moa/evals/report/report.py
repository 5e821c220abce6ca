"""The report of an evaluation: a verdict in words, then scores, costs, warnings and the answers themselves.

Everything is read from the results folder and nothing depends on the day, so the same answers are the same bytes.
Times do depend on it, so they are optional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

from ...errors import ConfigError
from ...paths import write_atomically
from ..results_folder import ResultsFolder
from ..task import Metric, ScoredSample
from ..tasks import flask
from .html import Section, bullets, details, page, paragraph, preformatted, table
from .summary import (
    ModelResult,
    find_flags,
    format_count,
    format_interval,
    format_number,
    format_value,
    in_brackets,
    leading_model,
)
from .svg import Point, Row, interval_plot, radar_plot, scatter_plot
from .verdict import comparison_section, stored_worth, verdict

REPORT = "report.html"

SHOWN = 20
"""How many samples are shown with their answers; those with the largest differences in score come first."""


def write_report(folder: ResultsFolder, *, seconds: bool = False) -> Path:
    """Write the report into the folder, and return its path."""
    path = folder.path / REPORT
    with write_atomically(path) as file:
        file.write(report_html(folder, seconds=seconds))
    return path


def report_html(folder: ResultsFolder, *, seconds: bool = False) -> str:
    """Return the report. Raises `ConfigError` if there are no scores yet."""
    worth = stored_worth(folder)
    models = [
        ModelResult(name, metrics, folder.scored_samples(name)) for name, metrics in folder.metrics.items() if metrics
    ]
    if all(model.headline.value is None for model in models):
        raise ConfigError(f"{folder.path}: has no scores yet; moa eval run continues it")
    sections = [
        Section("Incomplete", _missing(folder, models)),
        Section("Is it worth it?", comparison_section(worth) if worth else ""),
        Section("Scores", _scores(models)),
        Section("Skills", _skills(models)),
        Section("Cost of a question", _costs(models, seconds)),
        Section("Warnings", bullets([*_failures(models), *(flag.evidence for flag in find_flags(folder))])),
        Section("Details", _details(models)),
        Section("Answers", _answers(models)),
        Section("Setup", _setup(folder.manifest)),
    ]
    sentence, tone = verdict(worth) if worth else leading_model(models)
    return page(f"{folder.manifest['task']}: {len(folder.samples)} samples", sentence, tone, sections)


def _missing(folder: ResultsFolder, models: Sequence[ModelResult]) -> str:
    total, done = len(folder.samples) * len(models), sum(len(model.scored) for model in models)
    return paragraph(f"{done} of {total} answers are complete; moa eval run continues.") if done < total else ""


def _scores(models: Sequence[ModelResult]) -> str:
    rows = [
        Row(model.name, model.headline.value, model.headline.low, model.headline.high)
        for model in models
        if model.headline.value is not None
    ]
    cells = [
        (
            model.name,
            format_value(model.headline),
            format_interval(model.headline),
            str(model.headline.n),
            model.headline.note,
        )
        for model in models
    ]
    headline = models[0].headline
    header = ("model", headline.name, "95 % interval", "samples", "")
    return interval_plot(rows, f" {headline.unit}".rstrip()) + table(header, cells, numbers=(1, 2, 3))


def _skills(models: Sequence[ModelResult]) -> str:
    """Return a plot of the skills of FLASK, if the task has them."""
    values = {model.name: {metric.name: metric.value for metric in model.metrics} for model in models}
    lines = {
        name: {skill: value for skill in flask.SKILLS if (value := of.get(f"score: {skill}")) is not None}
        for name, of in values.items()
    }
    drawn = {name: skills for name, skills in lines.items() if len(skills) > 2}
    return radar_plot(drawn, flask.BEST) if drawn else ""


def _costs(models: Sequence[ModelResult], seconds: bool) -> str:
    header = ["model", "$ per thousand", "calls", "input tokens", "output tokens", "sequential tokens"]
    rows = []
    for model in models:
        cost = model.mean("cost")
        fields = ("calls", "input_tokens", "output_tokens", "sequential_tokens")
        means = (format_count(model.mean(field)) for field in fields)  # type: ignore[arg-type]
        row = [model.name, "unknown" if cost is None else f"{1000 * cost:.4g}", *means]
        rows.append([*row, f"{model.mean('seconds') or 0:.2f}"] if seconds else row)
    note = (
        "Means per question; dollars per thousand questions. Answers from the call cache are included. Sequential "
        "tokens are those on the longest path, which a caller waits for."
    )
    return (
        _scatter([model for model in models if model.headline.value is not None])
        + table([*header, "seconds"] if seconds else header, rows, numbers=range(1, 7))
        + f'<p class="note">{note}</p>'
    )


def _scatter(models: Sequence[ModelResult]) -> str:
    """Plot scores against the cost in dollars, or in tokens if a cost is zero or unknown."""
    priced = all(model.mean("cost") for model in models)
    prices = {model.name: 1000 * (model.mean("cost") or 0.0) if priced else model.tokens for model in models}
    if len(models) < 2 or not max(prices.values()):
        return ""
    points = []
    for model in models:
        headline, score = model.headline, model.headline.value or 0.0
        beaten = any(
            (other.headline.value or 0.0) >= score and prices[other.name] < prices[model.name] for other in models
        )
        points.append(Point(model.name, prices[model.name], score, headline.low, headline.high, not beaten))
    axis = "US dollars per thousand questions" if priced else "tokens per question"
    return scatter_plot(points, axis, f"{models[0].headline.name} {models[0].headline.unit}".rstrip())


def _failures(models: Sequence[ModelResult]) -> list[str]:
    texts = []
    for model in models:
        failures = [failure for scored in model.scored if (failure := scored.failure)]
        if failures:
            texts.append(f"{model.name}: {len(failures)} of {len(model.scored)} failed, such as: {failures[0]}")
    return texts


def _details(models: Sequence[ModelResult]) -> str:
    """Return a table of the metrics after the headline, a column for each model."""
    names = dict.fromkeys(metric.name for model in models for metric in model.metrics[1:])
    if not names:
        return ""
    by_name = [{metric.name: metric for metric in model.metrics} for model in models]
    headline = models[0].headline.name

    def cell(metrics: Mapping[str, Metric], name: str) -> str:
        if name not in metrics:
            return ""
        return format_value(metrics[name]) + in_brackets(format_interval(metrics[name]))

    rows = []
    for name in names:
        present = [metrics[name] for metrics in by_name if name in metrics]
        counts = "/".join(sorted({str(metric.n) for metric in present}))
        notes = "; ".join(sorted({metric.note for metric in present if metric.note}))
        title = name.removeprefix(f"{headline}: ")
        rows.append((title, *(cell(metrics, name) for metrics in by_name), counts, notes))
    header = ("", *(model.name for model in models), "samples", "")
    return table(header, rows, numbers=range(1, len(models) + 2))


def _answers(models: Sequence[ModelResult]) -> str:
    by_sample: dict[str, list[ScoredSample]] = {}
    for model in models:
        for scored in model.scored:
            by_sample.setdefault(scored.sample.id, []).append(scored)
    shown = sorted(by_sample.values(), key=_spread, reverse=True)[:SHOWN]
    more = len(by_sample) - len(shown)
    note = f'<p class="note">{more} more are in answers.jsonl.</p>' if more else ""
    return "".join(map(_sample, shown)) + note


def _sample(answers: Sequence[ScoredSample]) -> str:
    """Return a sample with all its answers, collapsed."""
    sample = answers[0].sample
    texts = [preformatted(sample.question)]
    for scored in answers:
        scores = ", ".join(f"{score.name} {format_number(score.value)}" for score in scored.scores)
        texts.append(f"<div><b>{escape(scored.answer.model)}</b> {escape(scores)}</div>")
        texts.append(preformatted(scored.answer.error or "\n\n".join(scored.answer.texts)))
    question = shorten(sample.question, 90, placeholder=" …")
    return details(f"{question} ({' · '.join(format_number(scored.first) for scored in answers)})", "".join(texts))


def _spread(answers: Sequence[ScoredSample]) -> float:
    values = [scored.first for scored in answers if scored.first is not None]
    return max(values) - min(values) if values else -1.0


def _setup(manifest: Mapping[str, Any]) -> str:
    prices = [
        f"{name} {'unknown' if price is None else '{input:g} in, {output:g} out'.format(**price)}"
        for name, price in manifest["prices"].items()
    ]
    rows = [
        ("task", f"{manifest['task']}, data {manifest['data']}"),
        ("models", ", ".join(f"{name} ({manifest['configuration'][name][:8]})" for name in manifest["models"])),
        ("judge", manifest["judge"] or "none"),
        ("seed", str(manifest["seed"])),
        ("prices", f"{'; '.join(prices)} (US dollars per million tokens)"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
    ]
    return table(("", ""), rows)
