"""FLASK: 1,740 instructions, each graded from 1 to 5 on the skills it requires, out of twelve (arXiv 2307.10928).

One call of the judge grades all skills of an answer, with the reference answer and the rubric of each skill. Its
temperature is 0, as the authors state, although their program never sent it. The data folder has

    flask_evaluation.jsonl          {idx, instruction, answer, skill, domain, difficulty}; `flask_hard` reads
                                    flask_hard_evaluation.jsonl
    skillset_description.json       a rubric for each skill
    prompt.jsonl                    the judge's prompts; the one with a reference answer is used
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...types import Message, Request
from ..stats.bootstrap import percent_interval
from ..task import Answer, Metric, Sample, Score, ScoredSample, ScoringContext
from .data import data_folder, digest, fill, read_rows, require_file

ANSWERING = {"temperature": 0.7, "max_tokens": 2048}
"""The sampling options of answers in the Mixture-of-Agents paper."""

TEMPERATURE = 0.0
"""The temperature of the judge."""

SKILLS = (
    "robustness",
    "correctness",
    "efficiency",
    "factuality",
    "commonsense",
    "comprehension",
    "insightfulness",
    "completeness",
    "metacognition",
    "readability",
    "conciseness",
    "harmlessness",
)
"""The names of the scores, in the order of the plot."""

BEST = 5
"""The best grade."""

DOMAINS = (
    "Humanities",
    "Language",
    "Social Science",
    "History",
    "Culture",
    "Technology",
    "Coding",
    "Math",
    "Natural Science",
    "Health",
)
LEVELS = (
    "simple lifestyle knowledge",
    "advanced lifestyle knowledge",
    "formal education knowledge",
    "major level knowledge",
    "expert level knowledge",
)
NONE = frozenset({"na", "n/a", "not applicable"})
"""Grades of a skill that does not apply."""

_TABLE = re.compile(r"\{[^}]+\}")


@dataclass(frozen=True)
class SkillGrader:
    """A scorer whose judge grades the skills of each sample. `skills` are the rubrics by skill."""

    prompt: Mapping[str, Any]
    skills: Mapping[str, str]
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        reply = await context.ask(self.review(sample, answer))
        detail = {"review": reply.text, "temperature": TEMPERATURE}
        grades = read_grades(reply.text)
        if not grades:
            grades = [(skill, None) for skill in map(score_name, sample.reference["skills"]) if skill]
            detail["unread"] = True
        return [Score(skill, value, {} if index else detail) for index, (skill, value) in enumerate(grades)]

    def review(self, sample: Sample, answer: Answer) -> Request:
        """Return the request to the judge."""
        values = {
            **self.prompt["defaults"],
            "skills": "".join(self.skills[skill] for skill in sample.reference["skills"]),
            "question": sample.question,
            "sample_answer": sample.reference["answer"],
            "response": answer.text,
        }
        question = fill(self.prompt["prompt_template"], **values)
        messages = [Message("system", self.prompt["system_prompt"]), Message("user", question)]
        return Request(messages, temperature=TEMPERATURE, max_tokens=1024)


def read_grades(review: str) -> list[tuple[str, float | None]]:
    """Return the grades in the last braces of a review by skill; `None` for a skill that does not apply.

    Text that is not a table, and grades that are not numbers, are ignored.
    """
    tables = _TABLE.findall(review)
    if not tables:
        return []
    try:
        table = ast.literal_eval(tables[-1].replace("\n", "").replace("_", " ").lower())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    grades: list[tuple[str, float | None]] = []
    for name, value in table.items() if isinstance(table, dict) else ():
        skill = score_name(name) if isinstance(name, str) else None
        if skill is None:
            continue
        if isinstance(value, str) and value in NONE:
            grades.append((skill, None))
            continue
        try:
            grades.append((skill, float(value)))
        except (TypeError, ValueError):
            continue
    return grades


def score_name(skill: str) -> str | None:
    """Return the name of a skill's score: its first word, or the second one of logical skills."""
    words = skill.lower().split(" ")
    if "logical" not in skill.lower():
        return words[0]
    return words[1] if len(words) > 1 else None


@dataclass(frozen=True)
class Flask:
    """The instructions with their skills."""

    name: str
    samples: Sequence[Sample]
    scorer: SkillGrader
    version: str

    @property
    def options(self) -> Mapping[str, Any]:
        return ANSWERING

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the mean of all grades, then by skill, by domain, by difficulty, and by skill and difficulty."""
        unread = sum(bool(one.error) or any("unread" in score.detail for score in one.scores) for one in scored)
        overall = _mean("score", scored, note=f"{unread} reviews not read" if unread else "")
        by_skill = [_mean(f"score: {skill}", scored, {skill}) for skill in SKILLS]
        by_domain = [
            _mean(f"score: {domain}", [one for one in scored if domain in one.sample.metadata["domain"]])
            for domain in DOMAINS
        ]
        levels = {level: [one for one in scored if one.sample.metadata["difficulty"] == level] for level in LEVELS}
        by_level = [_mean(f"score: {level}", part) for level, part in levels.items()]
        crossed = [
            _mean(f"score: {skill}, {level}", part, {skill}, with_interval=False)
            for skill in SKILLS
            for level, part in levels.items()
        ]
        parts = (*by_skill, *by_domain, *by_level, *crossed)
        return [overall, *(part for part in parts if part.n)]


def _mean(
    title: str,
    scored: Sequence[ScoredSample],
    skills: set[str] | None = None,
    note: str = "",
    with_interval: bool = True,
) -> Metric:
    """Return the mean of all grades, or of those of some skills."""
    grades = [
        (one.sample.id, score.value)
        for one in scored
        for score in one.scores
        if score.value is not None and (skills is None or score.name in skills)
    ]
    if not grades:
        return Metric(title, None, unit="of 5", note=note)
    percent, samples = [20 * value for _, value in grades], [sample for sample, _ in grades]
    low, high = percent_interval(percent, samples) if with_interval else (None, None)
    mean = sum(value for _, value in grades) / len(grades)
    ends = [None if end is None else end / 20 for end in (low, high)]
    return Metric(title, mean, ends[0], ends[1], len(grades), "of 5", note)


def read(data: Path, name: str = "flask") -> Flask:
    """Read the task from a folder of its data. Raises `ConfigError`."""
    folder = data_folder(data, "flask")
    items = require_file(folder, f"{name}_evaluation.jsonl", content="the instructions")
    rubrics = require_file(folder, "skillset_description.json", content="the rubrics")
    prompts = require_file(folder, "prompt.jsonl", content="the judge's prompts")
    skills = {row["Skill"]: _rubric(row) for row in read_rows(rubrics)}
    prompt = next((row for row in read_rows(prompts) if "{sample_answer}" in row["prompt_template"]), None)
    if prompt is None:
        raise ConfigError(f"{prompts}: has no prompt with a reference answer")
    samples = []
    for row in read_rows(items):
        if unknown := [skill for skill in row["skill"] if skill not in skills]:
            raise ConfigError(f"{rubrics}: {unknown[0]}: no such skill, but item {row['idx']} requires it")
        samples.append(
            Sample(
                str(row["idx"]),
                (Message("user", row["instruction"]),),
                reference={"answer": row["answer"], "skills": row["skill"]},
                metadata={"domain": row["domain"], "difficulty": row["difficulty"], "task": row.get("task", "")},
            )
        )
    return Flask(name, samples, SkillGrader(prompt, skills), digest(items, rubrics, prompts))


def _rubric(row: Mapping[str, Any]) -> str:
    """Return the rubric of a skill for the judge's prompt."""
    scores = "".join(f"\nScore {grade}: {row['Scoring'][str(grade)]}" for grade in range(1, 6))
    return f"\n{row['Skill']}: {row['Criteria']}{scores}\n\n"
