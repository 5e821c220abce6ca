"""`moa eval worth`: a mixture against its members, and against the best of them sampled."""

from __future__ import annotations

import json
import re
from pathlib import Path

from helpers.command import configured, moa
from helpers.upstream import Body, Reply, Upstream

PANEL = '[mixtures.panel]\nproposers = ["lab:a", "lab:b", "lab:c"]\naggregator = "lab:big"\n'


def asked(body: Body) -> int:
    """Return the number in the question."""
    return int(re.findall(r"\d+", body["messages"][-1]["content"])[-1])


def prompts(answers: bool = True, count: int = 24) -> None:
    lines = [{"prompt": f"Say {n}", **({"answer": n} if answers else {})} for n in range(count)]
    head = {"task": "mine", "scorer": "numeric"} if answers else {"task": "mine"}
    Path("mine.jsonl").write_text("\n".join(map(json.dumps, [head, *lines])), "utf-8")


def knows(share: int) -> object:
    """Return a model that errs on every n-th question."""
    return lambda body: "no idea" if asked(body) % share == 0 else str(asked(body))


def at_length(body: Body, words: int = 99) -> str:
    """Answer correctly, after many words."""
    return f"{' '.join(f'word{place}' for place in range(words))} {asked(body)}"


def test_a_mixture_that_corrects_its_members_is_worth_it() -> None:
    with Upstream({"a": knows(2), "b": knows(3), "c": "7", "big": lambda body: at_length(body, 299)}) as upstream:
        configured(upstream, PANEL)
        prompts()
        done = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl")
        assert done.returncode == 0, done.stderr
        *rows, sentence = done.stdout.splitlines()
        first, cheap, wide = (row.split("\t") for row in rows)
        assert (first[:4], float(first[4]) >= 33.3) == (["lab:b", "8", "16", "0"], True)
        assert re.fullmatch(r"lab:b x\d+ -> lab:b \(equal cost\)", cheap[0])
        assert wide[0] == "lab:b x3 -> lab:b (equal time)"
        assert re.match(r"moa:panel is worth it for these prompts: \+\d\d\.\d points, interval \+\d", sentence)
        page = Path(done.stderr.splitlines()[-1]).read_text("utf-8")
        assert '<p class="verdict good">moa:panel is worth it' in page
        before = len(upstream.calls)
        again = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl")
        assert (again.stdout, len(upstream.calls)) == (done.stdout, before)


def test_the_best_member_is_sampled_as_often_as_the_mixture_costs() -> None:
    """A call costs its words; `a` writes two, and its answers are aggregated."""
    says = {name: lambda body: f"is {asked(body)}" for name in ("a", "b", "c")}
    with Upstream({**says, "big": lambda body: " ".join([at_length(body)] * 4)}) as upstream:
        configured(upstream, PANEL)
        prompts()
        done = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl", "--no-trace")
    names = [row.split("\t")[0] for row in done.stdout.splitlines()[:-1]]
    assert names[1] == "lab:a x32 -> lab:a (equal cost)"
    assert done.stdout.splitlines()[-1].startswith("moa:panel is not worth it for these prompts: +0.0 points")


def test_a_mixture_that_the_judge_does_not_prefer_is_not_worth_it() -> None:
    with Upstream({"a": "one", "b": "two", "c": "three", "big": "four", "j": "Verdict: tie"}) as upstream:
        configured(upstream, PANEL)
        prompts(answers=False)
        done = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl", "--judge", "lab:j")
        stored = json.loads(next(Path("results").glob("*/worth.json")).read_text("utf-8"))
    assert stored["verdict"] == "not worth it"
    assert [(one["wins"], one["ties"], one["losses"]) for one in stored["comparisons"]] == [(0, 24, 0)] * len(
        stored["comparisons"]
    )
    assert stored["comparisons"][0]["controlled"] is not None
    assert "is not worth it for these prompts" in done.stdout


def test_a_judge_that_always_prefers_the_first_answer_proves_nothing() -> None:
    with Upstream({"a": "one", "b": "two", "c": "three", "big": "four", "j": "Verdict: 1"}) as upstream:
        configured(upstream, PANEL)
        prompts(answers=False)
        done = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl", "--judge", "lab:j")
    assert done.stdout.splitlines()[0].split("\t")[1:4] == ["0", "24", "0"]


def test_a_model_without_an_answer_has_lost() -> None:
    gone = Reply(status=400, text="gone")
    with Upstream({"a": gone, "b": gone, "c": lambda body: str(asked(body)), "big": "0"}) as upstream:
        configured(upstream, PANEL)
        prompts()
        done = moa("eval", "worth", "-m", "panel", "--prompts", "mine.jsonl")
        stored = json.loads(next(Path("results").glob("*/worth.json")).read_text("utf-8"))
    assert done.returncode == 0, done.stderr
    assert (stored["verdict"], stored["comparisons"][0]["rival"]) == ("not worth it", "lab:c")


def test_a_single_model_is_refused() -> None:
    prompts()
    done = moa("eval", "worth", "-m", "openai:gpt-4o", "--prompts", "mine.jsonl")
    assert (done.returncode, "openai:gpt-4o: is a single model" in done.stderr) == (2, True)
