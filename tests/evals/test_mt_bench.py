"""MT-Bench: two turns with a grade for each, reference answers, and the reading of replies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.command import configured, moa
from helpers.upstream import Body, Upstream
from moa import ConfigError, Request, Scripted
from moa.evals.runner import evaluate
from moa.evals.tasks.mt_bench import MTBench, combined, grade, read, verdict

DATA = Path(os.environ.get("MOA_EVAL_DATA", "nowhere"))
with_data = pytest.mark.skipif(
    not (DATA / "mt_bench" / "question.jsonl").exists(),
    reason="needs MT-Bench's files; MOA_EVAL_DATA names the folder that holds mt_bench/",
)

CATEGORIES = ("writing", "roleplay", "extraction", "math", "coding", "reasoning", "stem", "humanities")
TEMPERATURES = (0.7, 0.7, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1)


def written(folder: Path) -> Path:
    """Write a small data set in the form of the real one: a question of each category."""
    data = folder / "mt_bench"
    data.mkdir()
    questions = [
        {"question_id": 80 + place, "category": category, "turns": [f"ask {category}", f"ask more of {category}"]}
        for place, category in enumerate(CATEGORIES)
    ]
    references = [
        {"question_id": row["question_id"], "choices": [{"turns": [f"right {row['category']}", "and right again"]}]}
        for row in questions
        if row["category"] in ("math", "coding", "reasoning")
    ]
    single = "{reference}Q {question} A {answer}", "{reference}Q {question_1} A {answer_1} Q {question_2} A {answer_2}"
    pair = (
        "{reference}Q {question} A {answer_a} B {answer_b}",
        "{reference}Q {question_1} {question_2} A {answer_a_1} {answer_a_2} B {answer_b_1} {answer_b_2}",
    )
    prompts = []
    for name, (first, second) in (
        ("single-v1", single),
        ("single-math-v1", single),
        ("pair-v2", pair),
        ("pair-math-v1", pair),
    ):
        math = "math" in name
        for turn, template in enumerate((first, second)):
            right = "".join(f"R{one} {{ref_answer_{one}}} " for one in range(1, turn + 2)) if math else ""
            prompt = {
                "system_prompt": f"be {name} {turn + 1}",
                "prompt_template": template.replace("{reference}", right),
            }
            prompts.append({"name": name + "-multi-turn" * turn, **prompt})
    for name, rows in (("question", questions), ("reference_answer_gpt-4", references), ("judge_prompts", prompts)):
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_the_command_asks_two_turns_and_grades_both(tmp_path: Path) -> None:
    def judge(body: Body) -> str:
        return "Well. Rating: [[9]]" if "ask more" in body["messages"][-1]["content"] else "Rating: [[6]]"

    with Upstream({"a": lambda body: f"said {len(body['messages'])}", "j": judge}) as upstream:
        configured(upstream)
        data = written(tmp_path)
        done = moa(
            "eval", "run", "mt_bench", "-m", "lab:a", "--judge", "lab:j", "--data", str(data), "--output-dir", "out"
        )
        assert done.returncode == 0, done.stderr
        asked, judged = upstream.to("a"), upstream.to("j")
    assert len(asked) == 16
    by_question = {call.messages[0]["content"]: call.body["temperature"] for call in asked}
    assert by_question == {f"ask {name}": heat for name, heat in zip(CATEGORIES, TEMPERATURES, strict=True)}
    second = next(call for call in asked if len(call.messages) == 3 and "math" in call.messages[0]["content"])
    assert [message["content"] for message in second.messages] == ["ask math", "said 1", "ask more of math"]
    assert {call.body["max_tokens"] for call in asked} == {1024}
    assert {(call.body["temperature"], call.body["max_tokens"]) for call in judged} == {(0.0, 2048)}
    assert len(judged) == 16
    with_reference = [call for call in judged if "R1 right" in call.messages[-1]["content"]]
    assert len(with_reference) == 6
    prompts = {
        call.system: call.messages[-1]["content"] for call in judged if "ask math" in call.messages[-1]["content"]
    }
    assert prompts == {
        "be single-math-v1 1": "R1 right math Q ask math A said 1",
        "be single-math-v1 2": "R1 right math R2 and right again Q ask math A said 1 Q ask more of math A said 3",
    }
    rows = {row[1]: row[2] for row in (line.split("\t") for line in done.stdout.splitlines())}
    assert (rows["score"], rows["score: turn 1"], rows["score: turn 2"]) == ("7.50 of 10", "6.00 of 10", "9.00 of 10")


@pytest.mark.parametrize(
    ("judgment", "found"),
    [
        ("Rating: [[7]]", 7.0),
        ("Rating: [[7.5]]", 7.5),
        ("I say [3], but formally [[8]]", 8.0),
        ("Rating: [7]", 7.0),
        ("[[10]] and not [[2]]", 10.0),
        ("Rating: 7", None),
        ("Rating: [[seven]]", None),
        ("", None),
    ],
)
def test_a_grade_is_the_first_number_in_double_brackets_or_else_in_single_ones(
    judgment: str, found: float | None
) -> None:
    assert grade(judgment) == found


async def test_a_turn_without_a_grade_is_ignored_and_the_mean_is_over_grades(tmp_path: Path) -> None:
    """Three first turns and one second turn have a grade: (4 + 4 + 4 + 8) / 4, not (4 + 8) / 2."""

    def judge(request: Request) -> str:
        prompt = request.messages[1].text
        if "ask more" in prompt:
            return "[[8]]" if "stem" in prompt else "no mark"
        return "[[4]]" if any(name in prompt for name in ("stem", "math", "coding")) else "no mark"

    results = await evaluate(read(written(tmp_path)), {"a": Scripted("a", "words")}, judge=Scripted("j", judge))
    metrics = {metric.name: metric for metric in results.metrics["a"]}
    assert (metrics["score"].value, metrics["score"].n) == (5.0, 4)
    assert (metrics["score: turn 1"].value, metrics["score: turn 2"].value) == (4.0, 8.0)
    assert metrics["score: writing"].value is None
    assert metrics["score"].note == "12 turns without a score"


@pytest.mark.parametrize(
    ("first", "swapped", "score"),
    [
        ("A", "B", 1),
        ("B", "A", 0),
        ("A", "A", 0.5),
        ("C", "B", 0.5),
        ("C", "C", 0.5),
        (None, "B", 0.5),
        (None, None, None),
    ],
)
def test_a_win_counts_only_where_both_orders_agree(first: str | None, swapped: str | None, score: float | None) -> None:
    assert combined(first, swapped) == score


def test_a_verdict_is_a_letter_in_double_brackets() -> None:
    assert [verdict(text) for text in ("so [[B]]", "[[C]]", "A is better: [[A]]", "[A]", "")] == [
        "B",
        "C",
        "A",
        None,
        None,
    ]


async def test_pairwise_has_every_turn_judged_in_both_orders(tmp_path: Path) -> None:
    bench = read(written(tmp_path), "mt_bench_pairwise")

    def judge(request: Request) -> str:
        prompt = request.messages[1].text
        return "[[A]]" if prompt.index("good") < prompt.index("bad") else "[[B]]"

    models = {"base": Scripted("base", "bad"), "mine": Scripted("mine", "good")}
    asked = Scripted("j", judge)
    results = await evaluate(bench, models, judge=asked)
    assert len(asked.requests) == 8 * 2 * 2
    assert results.metrics["mine"][0].value == 100
    assert results.metrics["base"][0].note == "the baseline"
    systems = {request.messages[0].text for request in asked.requests}
    assert systems == {f"be pair-{kind} {turn}" for kind in ("v2", "math-v1") for turn in (1, 2)}


def test_your_own_reference_replaces_a_published_one(tmp_path: Path) -> None:
    data = written(tmp_path)
    own = {"question_id": 83, "choices": [{"turns": ["mended", "also mended"]}]}
    before = read(data)
    (data / "mt_bench" / "reference_answer_own.jsonl").write_text(json.dumps(own))
    after = read(data)
    assert _math(before).reference == ["right math", "and right again"]
    assert _math(after).reference == ["mended", "also mended"]
    assert before.version != after.version


def _math(bench: MTBench) -> Any:
    return next(sample for sample in bench.samples if sample.metadata["category"] == "math")


def test_a_question_without_its_reference_is_an_error(tmp_path: Path) -> None:
    data = written(tmp_path)
    (data / "mt_bench" / "reference_answer_gpt-4.jsonl").write_text(
        json.dumps({"question_id": 84, "choices": [{"turns": ["x", "y"]}]})
    )
    with pytest.raises(ConfigError, match=r"reference_answer_gpt-4\.jsonl: question 83"):
        read(data)


@with_data
async def test_the_real_questions_need_160_calls_60_of_them_with_references() -> None:
    bench = read(DATA)
    judge = Scripted("j", "[[5]]")
    await evaluate(bench, {"a": Scripted("a", "an answer")}, judge=judge)
    assert (len(bench.samples), len(judge.requests)) == (80, 160)
    with_reference = [request for request in judge.requests if "Reference" in request.messages[1].text]
    assert len(with_reference) == 60
    heats = {sample.metadata["category"]: sample.options["temperature"] for sample in bench.samples}
    assert heats == dict(zip(CATEGORIES, TEMPERATURES, strict=True))


@pytest.mark.slow
@pytest.mark.embedded
def test_the_embedded_model_goes_through_mt_bench_and_flask(tmp_path: Path) -> None:
    """From the question to the metrics, with a scripted judge."""
    data = written(tmp_path)
    questions = [{"question_id": 1, "category": "writing", "turns": ["Say yes.", "Say no."]}]
    (data / "mt_bench" / "question.jsonl").write_text(json.dumps(questions[0]))
    flask = tmp_path / "flask"
    flask.mkdir()
    item = {"idx": 1, "instruction": "Say yes.", "answer": "Yes.", "skill": ["Readability"], "domain": ["Math"]}
    (flask / "flask_evaluation.jsonl").write_text(json.dumps({**item, "difficulty": "expert level knowledge"}))
    rubric = {"Skill": "Readability", "Criteria": "?", "Scoring": {str(mark): "..." for mark in range(1, 6)}}
    (flask / "skillset_description.json").write_text(json.dumps([rubric]))
    prompt = {
        "system_prompt": "check",
        "prompt_template": "{skills}{question}{sample_answer}{response}",
        "defaults": {},
    }
    (flask / "prompt.jsonl").write_text(json.dumps(prompt))
    with Upstream({"j": "Rating: [[6]] {'readability': 4}"}) as upstream:
        configured(upstream, '[mixtures.panel]\nproposers = ["lab:j"]\naggregator = "lab:j"\n')
        asked = ("-m", "local:smollm2", "--judge", "lab:j", "--data", str(tmp_path))
        marked, reviewed = (moa("eval", "run", suite, *asked) for suite in ("mt_bench", "flask"))
        assert [len(call.messages) for call in upstream.to("j")] == [2, 2, 2]
    assert marked.stdout.startswith("local:smollm2\tscore\t6.00 of 10\t"), marked.stderr
    assert reviewed.stdout.startswith("local:smollm2\tscore\t4.00 of 5\t"), reviewed.stderr
