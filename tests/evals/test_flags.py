"""The warnings in the report of an evaluation."""

from __future__ import annotations

from pathlib import Path

from helpers.command import configured, moa
from helpers.upstream import Body, Upstream

THINGS = ("door", "wall", "roof", "barn", "boat", "cart", "gate", "shed", "fence", "bench")
PROMPTS = [f"How do you paint a {thing}?" for thing in THINGS]
MINE = '{"task": "mine"}\n' + "".join(f'{{"prompt": "{prompt}"}}\n' for prompt in PROMPTS)
PANEL = """
[mixtures.panel]
proposers = [{ model = "lab:a", system = "Example: How do you paint a door? With care." }, "lab:judge"]
aggregator = "lab:big"
"""
NULL = "There is nothing to add, as everything that could be asked here has been answered in full already."


def plain(body: Body) -> str:
    thing = body["messages"][-1]["content"].split()[-1]
    return f"Sand the {thing}, then prime it, and let the {thing} dry before the second coat goes on."


def judge(body: Body) -> str:
    """Prefer the first of two answers; as a proposer, answer."""
    return "Verdict: 1" if "Verdict" in str(body) else "Use a brush."


def test_a_report_shows_the_evidence_of_every_flag() -> None:
    with Upstream({"a": plain, "b": plain, "judge": judge, "big": NULL}) as upstream:
        configured(upstream, PANEL)
        Path("mine.jsonl").write_text(MINE, "utf-8")
        ask = [
            "eval",
            "run",
            "mine.jsonl",
            "-m",
            "lab:b",
            "-m",
            "moa:panel",
            "--judge",
            "lab:judge",
            "--output-dir",
            "out",
        ]
        done = moa(*ask)
        assert done.returncode == 0, done.stderr
    assert moa("eval", "report", "out").returncode == 0
    report = Path("out/report.html").read_text("utf-8")
    assert "moa:panel: 10 of 10 answers are, or start with, the same text" in report
    assert "moa:panel: lab:judge judges itself" in report
    assert "moa:panel: in 10 of 10 comparisons the verdict depends on the order" in report
    assert "moa:panel: 1 of 10 prompts occur in its instructions" in report
    assert "lab:b: " not in report.split("Warnings")[1].split("<h2")[0]
