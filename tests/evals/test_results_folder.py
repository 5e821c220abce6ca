"""Results folders of earlier formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from moa import ConfigError
from moa.evals.report.report import write_report
from moa.evals.results_folder import FORMAT, ResultsFolder

FORMAT_1 = Path(__file__).parents[1] / "golden" / "results_format_1"
"""Three sums answered by two models, written by version 0.1.0 in format 1."""


def test_a_folder_of_format_1_is_read_and_has_a_report(tmp_path: Path) -> None:
    path = Path(shutil.copytree(FORMAT_1, tmp_path / "old"))
    folder = ResultsFolder.read(path)
    assert folder.manifest["task"] == "sums"
    assert [metric.value for metrics in folder.metrics.values() for metric in metrics] == [
        100.0,
        pytest.approx(100 / 3),
    ]
    assert {answer.cost.sequential_tokens for answer in folder.answers.values() if answer.model == "lab:good"} == {2}
    assert "lab:good: 100.0 % correct" in write_report(folder).read_text("utf-8")


def test_a_folder_of_format_1_is_not_continued(tmp_path: Path) -> None:
    path = Path(shutil.copytree(FORMAT_1, tmp_path / "old"))
    manifest = {**ResultsFolder.read(path).manifest, "format": FORMAT}
    with pytest.raises(ConfigError, match="another format; set --output-dir"):
        ResultsFolder.open(path, manifest, [])


def test_a_folder_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": FORMAT + 1}), "utf-8")
    with pytest.raises(ConfigError, match=f"format {FORMAT + 1}; update moa"):
        ResultsFolder.read(tmp_path)
