"""FLASK: a judge grades the skills that an instruction requires; its reviews are read by the authors' rules."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers.command import configured, moa
from helpers.upstream import Body, Upstream
from moa import ConfigError, Request, Scripted
from moa.evals.runner import evaluate
from moa.evals.tasks.flask import DOMAINS, LEVELS, SKILLS, read, read_grades, score_name

DATA = Path(os.environ.get("MOA_EVAL_DATA", "nowhere"))
with_data = pytest.mark.skipif(
    not (DATA / "flask" / "skillset_description.json").exists(),
    reason="needs FLASK's files; MOA_EVAL_DATA names the folder that holds flask/",
)

ITEMS = [
    ("add two numbers", ["Logical Correctness", "Readability", "Conciseness"], ["Math"], "simple lifestyle knowledge"),
    ("name a river", ["Factuality", "Readability"], ["History", "Culture"], "expert level knowledge"),
    ("no labels", ["Factuality", "Logical Correctness", "Conciseness"], ["-1"], "-1"),
]


def written(folder: Path) -> Path:
    """Write a small data set in the form of the real one."""
    data = folder / "flask"
    data.mkdir()
    items = [
        {
            "idx": place,
            "instruction": one,
            "answer": f"right {place}",
            "skill": skill,
            "domain": domain,
            "difficulty": level,
        }
        for place, (one, skill, domain, level) in enumerate(ITEMS, 1)
    ]
    (data / "flask_evaluation.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    names = ("Logical Correctness", "Readability", "Conciseness", "Factuality")
    rubrics = [
        {"Skill": name, "Criteria": f"how {name}?", "Scoring": {str(one): f"{name} {one}" for one in range(1, 6)}}
        for name in names
    ]
    (data / "skillset_description.json").write_text(json.dumps(rubrics))
    prompts = [
        {"prompt_id": 1, "system_prompt": "check", "prompt_template": "{question} {response}", "defaults": {}},
        {
            "prompt_id": 2,
            "system_prompt": "check well",
            "prompt_template": "{prompt1}{skills}Q {question} R {sample_answer} A {response} {prompt2}",
            "defaults": {"prompt1": "First.", "prompt2": "Last."},
        },
    ]
    (data / "prompt.jsonl").write_text("".join(f"{json.dumps(prompt)}\n" for prompt in prompts))
    return folder


def review(**marks: int | str) -> str:
    return f"Fine, on the whole.\n\n{ {name.replace('_', ' '): mark for name, mark in marks.items()} }"


def judge(question: str) -> str:
    if "add two" in question:
        return review(logical_correctness=4, Readability=5, Conciseness="N/A")
    if "name a river" in question:
        return review(Factuality=2, readability=3)
    return review(factuality=1, Logical_Correctness=2, conciseness=3)


def test_the_command_grades_all_skills_of_an_answer_in_one_call(tmp_path: Path) -> None:
    def asked(body: Body) -> str:
        return judge(body["messages"][-1]["content"])

    with Upstream({"a": "my answer", "j": asked}) as upstream:
        configured(upstream)
        data = written(tmp_path)
        done = moa(
            "eval", "run", "flask", "-m", "lab:a", "--judge", "lab:j", "--data", str(data), "--output-dir", "out"
        )
        assert done.returncode == 0, done.stderr
        judged = upstream.to("j")
    assert len(judged) == 3
    assert {(call.body["temperature"], call.body["max_tokens"]) for call in judged} == {(0.0, 1024)}
    call = next(call for call in judged if "name a river" in call.messages[-1]["content"])
    assert call.system == "check well"
    rubric = (
        "\nFactuality: how Factuality?" + "".join(f"\nScore {one}: Factuality {one}" for one in range(1, 6)) + "\n\n"
    )
    other = rubric.replace("Factuality", "Readability")
    assert call.messages[-1]["content"] == f"First.{rubric}{other}Q name a river R right 2 A my answer Last."
    rows = {row[1]: (row[2], row[4]) for row in (line.split("\t") for line in done.stdout.splitlines())}
    assert rows["score"] == ("2.86 of 5", "7")
    assert rows["score: correctness"] == ("3.00 of 5", "2")
    assert rows["score: conciseness"] == ("3.00 of 5", "1")
    assert rows["score: Math"] == ("4.50 of 5", "2")
    assert rows["score: History"] == rows["score: Culture"] == ("2.50 of 5", "2")
    assert rows["score: simple lifestyle knowledge"] == ("4.50 of 5", "2")
    assert rows["score: factuality, expert level knowledge"] == ("2.00 of 5", "1")
    assert not any("-1" in name for name in rows)
    scores = [json.loads(line)["scores"] for line in Path("out/scores.jsonl").read_text("utf-8").splitlines()]
    assert scores[0][0]["detail"]["temperature"] == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{'readability': 5}", [("readability", 5.0)]),
        (
            "Good.\n{'Logical_Robustness': 3,\n 'Commonsense Understanding': 4.5}",
            [("robustness", 3.0), ("commonsense", 4.5)],
        ),
        ("{'readability': 1} but lastly {'readability': 2}", [("readability", 2.0)]),
        (
            '{"factuality": "N/A", "harmlessness": "not applicable", "x": "na"}',
            [("factuality", None), ("harmlessness", None), ("x", None)],
        ),
        ("{'readability': '4'}", [("readability", 4.0)]),
        ("{'readability': '4 of 5', 'conciseness': 2}", [("conciseness", 2.0)]),
        ("{'logical': 3, 'factuality': 2}", [("factuality", 2.0)]),
        ("readability: 5", []),
        ("{readability: 5}", []),
        ("{5}", []),
        ("{__import__('os').getcwd()}", []),
    ],
)
def test_grades_are_read_from_the_last_table_of_a_review(text: str, found: list[tuple[str, float | None]]) -> None:
    assert read_grades(text) == found


def test_a_score_is_named_by_the_first_word_of_its_skill_or_the_second_of_logical_ones() -> None:
    names = ("Logical Robustness", "Commonsense Understanding", "Readability", "Logical")
    assert [score_name(name) for name in names] == ["robustness", "commonsense", "readability", None]


async def test_an_unreadable_review_is_counted_and_has_no_grades(tmp_path: Path) -> None:
    def asked(request: Request) -> str:
        prompt = request.messages[1].text
        return "It is good." if "name a river" in prompt else judge(prompt)

    results = await evaluate(read(written(tmp_path)), {"a": Scripted("a", "words")}, judge=Scripted("j", asked))
    assert results.metrics["a"][0].note == "1 reviews not read"
    assert results.metrics["a"][0].n == 5
    assert [score.value for score in results.scored["a"][1].scores] == [None, None]
    assert results.scored["a"][1].scores[0].detail["review"] == "It is good."


def test_a_skill_without_a_rubric_is_an_error(tmp_path: Path) -> None:
    data = written(tmp_path)
    path = data / "flask" / "skillset_description.json"
    path.write_text(json.dumps([row for row in json.loads(path.read_text()) if row["Skill"] != "Factuality"]))
    with pytest.raises(ConfigError, match=r"skillset_description\.json: Factuality: .* item 2"):
        read(data)


@with_data
def test_the_real_items_have_their_known_skills() -> None:
    bench = read(DATA)
    skills = Counter(score_name(skill) for sample in bench.samples for skill in sample.reference["skills"])
    domains = Counter(domain for sample in bench.samples for domain in sample.metadata["domain"])
    levels = Counter(sample.metadata["difficulty"] for sample in bench.samples)
    assert len(bench.samples) == 1740
    assert skills.total() == 5219
    assert [skills[skill] for skill in SKILLS] == [224, 488, 182, 617, 711, 1168, 298, 460, 150, 450, 326, 145]
    assert [domains[domain] for domain in DOMAINS] == [363, 232, 278, 89, 391, 280, 207, 230, 172, 121]
    assert [levels[level] for level in LEVELS] == [388, 278, 444, 442, 186]
    assert (levels.total() - sum(levels[level] for level in LEVELS), domains["-1"]) == (2, 11)
    assert len(read(DATA, "flask_hard").samples) == 89


@with_data
async def test_every_item_is_one_call_of_the_judge_and_every_skill_has_its_grade() -> None:
    bench = read(DATA)
    by_prompt = {}

    def asked(request: Request) -> str:
        by_prompt[request.messages[1].text] = by_prompt.get(request.messages[1].text, 0) + 1
        names = [name for name in bench.scorer.skills if f"\n{name}: " in request.messages[1].text]
        return str(dict.fromkeys(names, 3))

    reviewer = Scripted("j", asked)
    results = await evaluate(bench, {"a": Scripted("a", "an answer")}, judge=reviewer)
    assert len(reviewer.requests) == 1740
    assert results.metrics["a"][0].n == 5219
    assert {metric.value for metric in results.metrics["a"]} == {3.0}


def test_the_report_has_a_radar_plot_of_the_skills(tmp_path: Path) -> None:
    def asked(body: Body) -> str:
        prompt = body["messages"][-1]["content"]
        return judge(prompt).replace("5", "1") if "words of b" in prompt else judge(prompt)

    with Upstream({"a": "words of a", "b": "words of b", "j": asked}) as upstream:
        configured(upstream)
        data = str(written(tmp_path))
        named = ("-m", "lab:a", "-m", "lab:b", "--judge", "lab:j", "--data", data, "--output-dir", "out")
        assert moa("eval", "run", "flask", *named).returncode == 0
    page = Path("out/report.html").read_text("utf-8")
    plot = page[page.index("<h2>Skills</h2>") :].partition("</svg>")[0] + "</svg>"
    drawn = ElementTree.fromstring(plot[plot.index("<svg") :])
    assert drawn.attrib["aria-label"] == (
        "lab:a: correctness 3.00, factuality 1.50, readability 4.00, conciseness 3.00; "
        "lab:b: correctness 3.00, factuality 1.50, readability 2.00, conciseness 3.00"
    )
    assert {text.text for text in drawn.iter("text")} >= {"correctness", "readability", "lab:a", "lab:b", "5"}
    assert len([line for line in drawn.iter("polygon") if line.get("stroke")]) == 2
