"""The report of an evaluation: what it comes to in words first; then figures, prices, flags and the answers themselves.

Everything on it is read from the results folder, and nothing of it depends on the day: the same answers make the same
bytes. How long things took does depend on it, so that is shown only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

from ...errors import ConfigError
from ...paths import write_atomically
from ..results_folder import Folder
from ..sample import Metric, Scored
from ..tasks import flask
from . import svg as charts
from .flags import flags
from .html import Section, folded, items, page, paragraph, quoted, table
from .leading import leading
from .measured import Measured, between, count, interval, number, value
from .verdict import compared, kept, verdict

REPORT = "report.html"

SHOWN = 20
"""Samples whose answers are shown, those first that tell the models apart most."""


def write(folder: Folder, *, seconds: bool = False) -> Path:
    """Write the report into the folder."""
    path = folder.path / REPORT
    with write_atomically(path) as file:
        file.write(html(folder, seconds=seconds))
    return path


def html(folder: Folder, *, seconds: bool = False) -> str:
    """The report. Raises `ConfigError` where nothing was scored yet."""
    worth = kept(folder)
    models = [Measured(name, figures, folder.of(name)) for name, figures in folder.figures.items() if figures]
    if all(model.headline.value is None for model in models):
        raise ConfigError(f"{folder.path}: nothing is scored yet; moa eval run goes on with it")
    sections = [
        Section("Not complete", _missing(folder, models)),
        Section("Is it worth it?", compared(worth) if worth else ""),
        Section("Scores", _scores(models)),
        Section("Skills", _skills(models)),
        Section("What a question takes", _prices(models, seconds)),
        Section("To be careful with", items([*_lost(models), *(flag.evidence for flag in flags(folder))])),
        Section("In parts", _parts(models)),
        Section("Answers", _answers(models)),
        Section("What was asked", _asked(folder.manifest)),
    ]
    said, tone = verdict(worth) if worth else leading(models)
    return page(f"{folder.manifest['suite']}: {len(folder.samples)} samples", said, tone, sections)


def _missing(folder: Folder, models: Sequence[Measured]) -> str:
    asked, there = len(folder.samples) * len(models), sum(len(model.scored) for model in models)
    return paragraph(f"{there} of {asked} answers are there; moa eval run goes on with it.") if there < asked else ""


def _scores(models: Sequence[Measured]) -> str:
    rows = [
        charts.Row(one.name, one.headline.value, one.headline.low, one.headline.high)
        for one in models
        if one.headline.value is not None
    ]
    unit = models[0].headline.unit
    cells = [
        (one.name, value(one.headline), interval(one.headline), str(one.headline.n), one.headline.note)
        for one in models
    ]
    header = ("model", models[0].headline.name, "95 % interval", "samples", "")
    return charts.intervals(rows, f" {unit}".rstrip()) + table(header, cells, numbers=(1, 2, 3))


def _skills(models: Sequence[Measured]) -> str:
    """The skills that FLASK marks, where it was asked."""
    told = {one.name: {figure.name: figure.value for figure in one.figures} for one in models}
    lines = {
        name: {skill: value for skill in flask.SKILLS if (value := found.get(f"score: {skill}")) is not None}
        for name, found in told.items()
    }
    drawn = {name: found for name, found in lines.items() if len(found) > 2}
    return charts.radar(drawn, flask.BEST) if drawn else ""


def _prices(models: Sequence[Measured], seconds: bool) -> str:
    header = ["model", "$ a thousand", "calls", "tokens read", "written", "one after another"]
    rows = []
    for one in models:
        cost = one.mean("cost")
        means = (count(one.mean(of)) for of in ("calls", "input_tokens", "output_tokens", "sequential_tokens"))
        row = [one.name, "unknown" if cost is None else f"{1000 * cost:.4g}", *means]
        rows.append([*row, f"{one.mean('seconds') or 0:.2f}"] if seconds else row)
    note = "Means, dollars for a thousand questions, all else for one; also what came from the call cache is counted."
    return (
        _plot([one for one in models if one.headline.value is not None])
        + table([*header, "seconds"] if seconds else header, rows, numbers=range(1, 7))
        + f'<p class="note">{note}</p>'
    )


def _plot(models: Sequence[Measured]) -> str:
    """Score against price, in dollars or, where they tell nothing, in tokens."""
    priced = all(one.mean("cost") for one in models)
    prices = {one.name: 1000 * (one.mean("cost") or 0.0) if priced else one.tokens for one in models}
    if len(models) < 2 or not max(prices.values()):
        return ""
    spots = []
    for one in models:
        score = one.headline.value or 0.0
        beaten = any(
            (other.headline.value or 0.0) >= score and prices[other.name] < prices[one.name] for other in models
        )
        spots.append(charts.Spot(one.name, prices[one.name], score, one.headline.low, one.headline.high, not beaten))
    axis = "US dollars a thousand questions" if priced else "tokens a question"
    return charts.scattered(spots, axis, f"{models[0].headline.name} {models[0].headline.unit}".rstrip())


def _lost(models: Sequence[Measured]) -> list[str]:
    told = []
    for one in models:
        lost = [why for scored in one.scored if (why := scored.answer.error or scored.error)]
        if lost:
            told.append(f"{one.name}: {len(lost)} of {len(one.scored)} failed, such as: {lost[0]}")
    return told


def _parts(models: Sequence[Measured]) -> str:
    """The figures after the headline, a column for each model."""
    names = dict.fromkeys(figure.name for one in models for figure in one.figures[1:])
    if not names:
        return ""
    by_name = [{figure.name: figure for figure in one.figures} for one in models]
    headline = models[0].headline.name

    def cell(found: Mapping[str, Metric], name: str) -> str:
        return f"{value(found[name])}{between(found[name])}" if name in found else ""

    rows = []
    for name in names:
        counts = {str(found[name].n) for found in by_name if name in found}
        notes = {found[name].note for found in by_name if name in found and found[name].note}
        told = name.removeprefix(f"{headline}: ")
        rows.append(
            (told, *(cell(found, name) for found in by_name), "/".join(sorted(counts)), "; ".join(sorted(notes)))
        )
    header = ("", *(one.name for one in models), "samples", "")
    return table(header, rows, numbers=range(1, len(models) + 2))


def _answers(models: Sequence[Measured]) -> str:
    by_sample: dict[str, list[Scored]] = {}
    for one in models:
        for scored in one.scored:
            by_sample.setdefault(scored.sample.id, []).append(scored)
    apart = sorted(by_sample.values(), key=_spread, reverse=True)[:SHOWN]
    more = len(by_sample) - len(apart)
    note = f'<p class="note">{more} more are in answers.jsonl.</p>' if more else ""
    return "".join(map(_answered, apart)) + note


def _answered(found: Sequence[Scored]) -> str:
    """A sample with all answers to it, folded."""
    sample = found[0].sample
    texts = [quoted(sample.question)]
    for scored in found:
        scores = ", ".join(f"{score.name} {number(score.value)}" for score in scored.scores)
        texts.append(f"<div><b>{escape(scored.answer.model)}</b> {escape(scores)}</div>")
        texts.append(quoted(scored.answer.error or "\n\n".join(scored.answer.texts)))
    asked = shorten(sample.question, 90, placeholder=" …")
    return folded(f"{asked} ({' · '.join(number(scored.first) for scored in found)})", "".join(texts))


def _spread(found: Sequence[Scored]) -> float:
    values = [scored.first for scored in found if scored.first is not None]
    return max(values) - min(values) if values else -1.0


def _asked(manifest: Mapping[str, Any]) -> str:
    prices = [
        f"{name} {'unknown' if price is None else '{input:g} in, {output:g} out'.format(**price)}"
        for name, price in manifest["prices"].items()
    ]
    rows = [
        ("suite", f"{manifest['suite']}, data {manifest['data']}"),
        ("models", ", ".join(f"{name} ({manifest['configuration'][name][:8]})" for name in manifest["models"])),
        ("judge", manifest["judge"] or "none"),
        ("seed", str(manifest["seed"])),
        ("prices", f"{'; '.join(prices)} (US dollars a million tokens)"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
    ]
    return table(("", ""), rows)
