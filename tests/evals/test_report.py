"""The report of an evaluation: its verdict, metrics with intervals, answers and warnings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from moa import ConfigError, ModelError, Scripted, Usage
from moa.evals.report.report import report_html
from moa.evals.results_folder import ResultsFolder
from moa.evals.runner import evaluate
from moa.evals.tasks.jsonl import JsonlTask
from moa.models.scripted import Line
from moa.types import Request

MANIFEST = {
    "task": "sums",
    "data": "d1",
    "models": ["good", "bad"],
    "judge": None,
    "seed": 0,
    "configuration": {"good": "c1", "bad": "c2"},
    "prices": {"good": {"input": 1.0, "output": 2.0}, "bad": None},
    "versions": {"moa": "1"},
}


def suite(folder: Path, count: int = 12) -> JsonlTask:
    path = folder / "sums.jsonl"
    lines = [{"prompt": f"{n} + <b>?", "answer": n, "scorer": "numeric", "category": "ab"[n % 2]} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return JsonlTask.read(path)


def right(request: Request) -> Line:
    return request.question.split()[0]


def rarely(request: Request) -> Line:
    return ModelError("bad: gone") if request.question.startswith("3 ") else "<script>alert(1)</script> 0"


async def evaluated(folder: Path, **models: Scripted) -> ResultsFolder:
    questions = suite(folder)
    there = ResultsFolder.open(folder / "out", MANIFEST, questions.samples)
    await evaluate(questions, models, folder=there)
    return there


async def both(folder: Path) -> ResultsFolder:
    good = Scripted("good", right, usage=Usage(100, 10, 0.002))
    return await evaluated(folder, good=good, bad=Scripted("bad", rarely, usage=Usage(10, 1, 0.001)))


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


async def test_it_starts_with_the_best_model_and_whether_that_may_be_luck(tmp_path: Path) -> None:
    text = words(report_html(await both(tmp_path)))
    assert re.search(
        r"sums: 12 samples good: 100\.0 % correct \([\d.]+ \.\. 100\.0\); ahead of bad with 8\.33 % "
        r"\(difference \+\d\d\.\d \.\. \+\d[\d.]* points\)",
        text,
    )


async def test_models_with_equal_scores_are_not_ranked(tmp_path: Path) -> None:
    there = await evaluated(tmp_path, good=Scripted("good", "0"), bad=Scripted("bad", "1"))
    assert "No model is shown to be best. good: 8.33 % correct" in words(report_html(there))


async def test_every_metric_has_its_interval_and_its_cost(tmp_path: Path) -> None:
    page = report_html(await both(tmp_path))
    assert re.search(r"<td>good</td><td class=n>100.0 %</td><td class=n>[\d.]+ .. 100.0</td><td class=n>12</td>", page)
    assert "<td>good</td><td class=n>2</td><td class=n>1</td><td class=n>100</td><td class=n>10</td>" in page
    assert "bad: 1 of 12 failed, such as: bad: gone" in page
    assert re.search(r"<td>a</td><td class=n>100\.0 % \([\d.]+ \.\. 100\.0\)</td><td class=n>16\.7 %", page)


async def test_answers_are_shown_and_never_run_as_markup(tmp_path: Path) -> None:
    page = report_html(await both(tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; 0" in page
    assert not re.search(r"(?:src|href)=|url\(|@import", page)


async def test_equal_answers_are_equal_bytes_and_seconds_are_optional(tmp_path: Path) -> None:
    there = await both(tmp_path)
    assert report_html(ResultsFolder.read(there.path)) == report_html(there)
    assert "<th class=n>seconds</th>" not in report_html(there)
    assert "<th class=n>seconds</th>" in report_html(there, seconds=True)


async def test_missing_answers_are_reported(tmp_path: Path) -> None:
    questions = suite(tmp_path)
    there = ResultsFolder.open(tmp_path / "out", MANIFEST, questions.samples)
    priced = Scripted("good", right, usage=Usage(1, 1, 0.5))
    await evaluate(questions, {"good": priced}, folder=there, max_cost=2)
    assert "4 of 12 answers are complete" in report_html(there)


def test_without_a_score_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no scores"):
        report_html(ResultsFolder.open(tmp_path, MANIFEST, []))
    with pytest.raises(ConfigError, match="nowhere: no results folder"):
        ResultsFolder.read(tmp_path / "nowhere")


async def test_a_plot_has_a_description(tmp_path: Path) -> None:
    assert 'aria-label="good: 100.0, from' in report_html(await both(tmp_path))
