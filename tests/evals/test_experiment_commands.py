"""The commands `moa tune` and `moa eval experiment`."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from helpers.command import configured, moa
from helpers.upstream import Body, Upstream
from moa.config.load import load

COUNT = 24
QUESTIONS = [(number, number * 7 % 11) for number in range(1, COUNT + 1)]


def asked(body: Body) -> tuple[int, int]:
    one, other = body["messages"][-1]["content"].rstrip("?").split(" + ")
    return int(one), int(other)


def answering(wrong_every: int) -> Callable[[Body], str]:
    """Return a model that errs on some sums, different ones for each model, and aggregates by majority."""

    def answer(body: Body) -> str:
        one, other = asked(body)
        shown = body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else ""
        figures = Counter(re.findall(r"^\d+$", shown, re.MULTILINE))
        if figures:
            return figures.most_common(1)[0][0]
        return str(one + other + (1 if one % wrong_every == 0 else 0))

    return answer


MODELS = {"a": answering(4), "b": answering(5), "c": answering(7), "poor": lambda body: "99"}


def written() -> None:
    lines = [json.dumps({"task": "sums", "scorer": "numeric"})]
    lines += [json.dumps({"prompt": f"{one} + {other}?", "answer": one + other}) for one, other in QUESTIONS]
    Path("sums.jsonl").write_text("\n".join(lines), "utf-8")


def test_tune_finds_the_mixture_that_outvotes_its_members_and_writes_the_front() -> None:
    with Upstream(MODELS) as upstream:
        configured(upstream)
        written()
        command = ["tune", "--prompts", "sums.jsonl", *(f"-mlab:{name}" for name in MODELS), "--output-dir", "out"]
        done = moa(*command)
        assert done.returncode == 0, done.stderr
        calls = len(upstream.calls)
        again = moa(*command)
        assert (again.stdout, len(upstream.calls)) == (done.stdout, calls)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    best, alone = rows[0], next(row for row in rows if row[0] == "lab:c")
    assert (best[0].partition(" -> ")[0], best[5]) == ("lab:c + lab:b + lab:a", "on the front")
    assert float(best[1]) > float(alone[1])
    assert "lab:poor ->" not in done.stdout
    assert re.search(r"spent \$0\.0\d+, \$0\.0\d+ in total", done.stderr)
    assert "spent $0, " in again.stderr

    toml = Path("out/tuned.toml").read_text("utf-8")
    assert tomllib.loads(toml)["mixtures"]["tuned-1"]["proposers"] == ["lab:c", "lab:b", "lab:a"]
    Path("moa.toml").write_text(Path("moa.toml").read_text("utf-8") + toml, "utf-8")
    assert "tuned-1" in load(Path("moa.toml"))[0].mixtures
    for name in ("tuned.html", "tuned-cost.svg", "tuned-seconds.svg"):
        assert Path("out", name).stat().st_size > 1000


def test_tune_marks_candidates_beyond_the_limits() -> None:
    with Upstream(MODELS) as upstream:
        configured(upstream)
        written()
        done = moa(
            "tune",
            "--prompts",
            "sums.jsonl",
            "-mlab:a",
            "-mlab:b",
            "--output-dir",
            "out",
            "--max-cost-per-question",
            "0.0000001",
        )
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[5] for line in done.stdout.splitlines()} == {"beyond the limits"}
    assert '<p class="verdict bad">' in Path("out/tuned.html").read_text("utf-8")
    assert Path("out/tuned.toml").read_text("utf-8") == ""


def test_tune_stops_at_the_limit_on_cost_and_continues() -> None:
    with Upstream(MODELS) as upstream:
        configured(upstream)
        written()
        command = ["tune", "--prompts", "sums.jsonl", "-mlab:a", "-mlab:b", "--output-dir", "out"]
        stopped = moa(*command, "--max-cost", "0.0001")
        assert stopped.returncode == 2
        assert "--max-cost: stopped before exceeding 0.0001 US dollars" in stopped.stderr
        calls = len(upstream.calls)
        done = moa(*command)
        assert done.returncode == 0, done.stderr
        bodies = [json.dumps(call.body, sort_keys=True) for call in upstream.calls]
    assert 0 < calls < len(bodies)
    assert len(set(bodies)) == len(bodies)


def test_an_experiment_prints_a_table_and_writes_a_page_with_plots() -> None:
    with Upstream(MODELS) as upstream:
        configured(upstream)
        written()
        models = [f"-mlab:{model}" for model in "abc"]
        done = moa("eval", "experiment", "collaborativeness", "sums.jsonl", *models, "--output-dir", "out")
        assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    scores = {(series, model): float(score) for series, model, score, *_ in rows}
    assert all(scores["with answers", model] > scores["alone", model] for _, model in scores)
    assert re.search(r"On average alone \d+\.\d, with answers \d+\.\d\. Best: ", done.stderr)
    results = json.loads(Path("out/collaborativeness.json").read_text("utf-8"))
    assert [(one["series"], one["category"]) for one in results["arms"]] == [(row[0], row[1]) for row in rows]
    assert [one["mixture"] for one in results["similarity"]] == [
        f"lab:a + lab:b + lab:c -> lab:{model}" for model in "abc"
    ]
    similarity = results["similarity"][0]
    assert set(similarity["similarity"]) == {"lab:a", "lab:b", "lab:c"}
    assert similarity["correlation"]["levenshtein"]["mean"] > 0.5  # a wrong proposal is unlike the majority's figure
    page = Path("out/collaborativeness.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<svg xmlns=" in Path("out/collaborativeness.svg").read_text("utf-8")


def test_an_aggregator_that_picks_is_compared_with_the_same_one_that_writes() -> None:
    with Upstream({**MODELS, "c": lambda body: "2"}) as upstream:
        configured(upstream)
        written()
        done = moa(
            "eval", "experiment", "ranker", "sums.jsonl", "-mlab:c", "-mlab:a", "--limit", "4", "--output-dir", "out"
        )
        assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["synthesizes", "picks"]
    assert Path("out/ranker.svg").exists()


def test_an_unknown_experiment_is_refused_before_any_call() -> None:
    with Upstream(MODELS) as upstream:
        configured(upstream)
        written()
        done = moa("eval", "experiment", "rolls", "sums.jsonl", "-mlab:a", "-mlab:b")
        assert (done.returncode, len(upstream.calls)) == (2, 0)
    assert "no experiment 'rolls'; did you mean 'roles'?" in done.stderr
