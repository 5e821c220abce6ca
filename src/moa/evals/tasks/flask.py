"""FLASK: 1,740 instructions, each marked from 1 to 5 on the skills it takes, out of twelve (arXiv 2307.10928).

The judge is asked once for all skills of an answer, with the reference answer and each skill's rubric. Its temperature
is 0, as its authors state; their own program never sent it. The folder of data has

    flask_evaluation.jsonl          {idx, instruction, answer, skill, domain, difficulty}; `flask_hard` takes
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
from ..sample import Answer, Metric, Sample, Score, Scored
from ..stats.intervals import interval
from ..task import ScoringContext
from .files import digest, filled, folder_of, needed_in, rows_of

ANSWERING = {"temperature": 0.7, "max_tokens": 2048}
"""How answers are asked for in the paper of mixtures of agents."""

TEMPERATURE = 0.0
"""Of the judge."""

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
"""The names of the scores, in the order in which they are drawn."""

BEST = 5
"""The best mark."""

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
"""What a judge says where a skill does not apply."""

_TABLE = re.compile(r"\{[^}]+\}")


@dataclass(frozen=True)
class Rubrics:
    """Has the judge mark the skills of each sample. `prompt` is its prompt, `skills` what it is told of each skill."""

    prompt: Mapping[str, Any]
    skills: Mapping[str, str]
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        reply = await judging.ask(self.review(sample, answer))
        told = {"review": reply.text, "temperature": TEMPERATURE}
        marks = marked(reply.text)
        if not marks:
            marks = [(skill, None) for skill in map(key, sample.reference["skills"]) if skill]
            told["unread"] = True
        return [Score(skill, value, {} if place else told) for place, (skill, value) in enumerate(marks)]

    def review(self, sample: Sample, answer: Answer) -> Request:
        """What the judge is asked."""
        words = {
            **self.prompt["defaults"],
            "skills": "".join(self.skills[skill] for skill in sample.reference["skills"]),
            "question": sample.question,
            "sample_answer": sample.reference["answer"],
            "response": answer.text,
        }
        told = filled(self.prompt["prompt_template"], **words)
        messages = [Message("system", self.prompt["system_prompt"]), Message("user", told)]
        return Request(messages, temperature=TEMPERATURE, max_tokens=1024)


def marked(review: str) -> list[tuple[str, float | None]]:
    """The marks of a review: what its last table of braces says of each skill, `None` where that does not apply.

    What cannot be read as a table, or a mark that is no number, is left out.
    """
    tables = _TABLE.findall(review)
    if not tables:
        return []
    try:
        told = ast.literal_eval(tables[-1].replace("\n", "").replace("_", " ").lower())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    found: list[tuple[str, float | None]] = []
    for name, value in told.items() if isinstance(told, dict) else ():
        skill = key(name) if isinstance(name, str) else None
        if skill is None:
            continue
        if isinstance(value, str) and value in NONE:
            found.append((skill, None))
            continue
        try:
            found.append((skill, float(value)))
        except (TypeError, ValueError):
            continue
    return found


def key(skill: str) -> str | None:
    """The name of a skill's score: its first word, the second of the logical ones."""
    words = skill.lower().split(" ")
    if "logical" not in skill.lower():
        return words[0]
    return words[1] if len(words) > 1 else None


@dataclass(frozen=True)
class Flask:
    """The instructions with what they take."""

    name: str
    samples: Sequence[Sample]
    scorer: Rubrics
    version: str

    @property
    def options(self) -> Mapping[str, Any]:
        return ANSWERING

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """The mean of all marks, then by skill, by domain, by difficulty, and by skill at each difficulty."""
        unread = sum(bool(one.error) or any("unread" in score.detail for score in one.scores) for one in scored)
        whole = _mean("score", scored, note=f"{unread} reviews not read" if unread else "")
        by_skill = [_mean(f"score: {skill}", scored, {skill}) for skill in SKILLS]
        by_domain = [
            _mean(f"score: {domain}", [one for one in scored if domain in one.sample.metadata["domain"]])
            for domain in DOMAINS
        ]
        levels = {level: [one for one in scored if one.sample.metadata["difficulty"] == level] for level in LEVELS}
        by_level = [_mean(f"score: {level}", part) for level, part in levels.items()]
        crossed = [
            _mean(f"score: {skill}, {level}", part, {skill}, between=False)
            for skill in SKILLS
            for level, part in levels.items()
        ]
        parts = (*by_skill, *by_domain, *by_level, *crossed)
        return [whole, *(part for part in parts if part.n)]


def _mean(
    title: str, scored: Sequence[Scored], skills: set[str] | None = None, note: str = "", between: bool = True
) -> Metric:
    """The mean of all marks, or of those of some skills; `between` gives it its interval."""
    found = [
        (one.sample.id, score.value)
        for one in scored
        for score in one.scores
        if score.value is not None and (skills is None or score.name in skills)
    ]
    if not found:
        return Metric(title, None, unit="of 5", note=note)
    marks, samples = [20 * value for _, value in found], [sample for sample, _ in found]
    low, high = interval(marks, samples) if between else (None, None)
    mean = sum(value for _, value in found) / len(found)
    ends = [None if end is None else end / 20 for end in (low, high)]
    return Metric(title, mean, ends[0], ends[1], len(found), "of 5", note)


def read(data: Path, name: str = "flask") -> Flask:
    """The benchmark out of a folder of its data. Raises `ConfigError`."""
    folder = folder_of(data, "flask")
    items = needed_in(folder, f"{name}_evaluation.jsonl", why="holds the instructions")
    rubrics = needed_in(folder, "skillset_description.json", why="holds the rubrics")
    prompts = needed_in(folder, "prompt.jsonl", why="holds what the judge is asked")
    skills = {row["Skill"]: _rubric(row) for row in rows_of(rubrics)}
    prompt = next((row for row in rows_of(prompts) if "{sample_answer}" in row["prompt_template"]), None)
    if prompt is None:
        raise ConfigError(f"{prompts}: has no prompt with a reference answer")
    samples = []
    for row in rows_of(items):
        if unknown := [skill for skill in row["skill"] if skill not in skills]:
            raise ConfigError(f"{rubrics}: has no skill {unknown[0]!r}, which item {row['idx']} takes")
        samples.append(
            Sample(
                str(row["idx"]),
                (Message("user", row["instruction"]),),
                reference={"answer": row["answer"], "skills": row["skill"]},
                metadata={"domain": row["domain"], "difficulty": row["difficulty"], "task": row.get("task", "")},
            )
        )
    return Flask(name, samples, Rubrics(prompt, skills), digest(items, rubrics, prompts))


def _rubric(row: Mapping[str, Any]) -> str:
    """A skill as the judge is told of it."""
    scores = "".join(f"\nScore {mark}: {row['Scoring'][str(mark)]}" for mark in range(1, 6))
    return f"\n{row['Skill']}: {row['Criteria']}{scores}\n\n"
