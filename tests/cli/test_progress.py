"""Progress without a terminal is a line per 10 percent on standard error."""

from __future__ import annotations

import pytest

from moa.cli.terminal.progress import download_progress, progress
from moa.evals.runner import Progress


def test_a_download_prints_a_line_per_ten_percent(capsys: pytest.CaptureFixture[str]) -> None:
    with download_progress("tiny.gguf") as report:
        for done in range(0, 101, 4):
            report(done * 1_000_000, 100_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "downloading tiny.gguf: 0 of 100 MB"
    assert lines[-1] == "downloading tiny.gguf: 100 of 100 MB"
    assert len(lines) == 11


def test_an_evaluation_prints_its_count_cost_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("sums") as report:
        for done in range(1, 21):
            report(Progress(done, done, 20, failed=done // 10, paid=0.25))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert (lines[0], lines[-1]) == ("sums: 2 of 20 · $0.25", "sums: 20 of 20 · $0.25 · 2 failed")
    assert len(lines) == 10
