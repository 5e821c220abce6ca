"""MT-Bench: 80 questions of two turns, graded by a judge, or compared with a baseline (arXiv 2306.05685).

The judge grades each turn from 1 to 10, with reference answers in math, reasoning and coding: 160 calls per model, 60
of them with references. `mt_bench_pairwise` compares with the first model, in both orders; a win counts only if both
verdicts agree. The data folder has

    question.jsonl                  {question_id, category, turns}
    judge_prompts.jsonl             the judge's prompts by name
    reference_answer_gpt-4.jsonl    {question_id, choices: [{turns}]}
    reference_answer_own.jsonl      optional corrections in the same form: some of the published references are wrong
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...types import Message, Request
from ..stats.bootstrap import percent_interval
from ..task import BASELINE, Answer, Metric, Sample, Score, ScoredSample, ScoringContext
from .data import data_folder, digest, fill, find_file, read_rows, require_file

TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""The temperature of answers by category; 0.7 for other categories."""

WITH_REFERENCE = ("math", "reasoning", "coding")
TOKENS = 1024
TURNS = ("turn 1", "turn 2")
"""The names of the scores."""

_GRADE = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_LOOSE_GRADE = re.compile(r"\[(\d+\.?\d*)\]")


@dataclass(frozen=True)
class JudgePrompts:
    """The prompts of the judge. `kind` is "single" or "pair"."""

    kind: str
    by_name: Mapping[str, Mapping[str, str]]

    def request(self, sample: Sample, turn: int, **answers: str) -> Request:
        """Return the request to the judge for a turn (0 or 1). `answers` fill the placeholders of their names."""
        prompt = self.by_name[self.name(sample, turn)]
        turns = (sample.question, *sample.then)
        values = {"question": turns[0], **answers}
        values |= {f"question_{number}": text for number, text in enumerate(turns, 1)}
        values |= {f"ref_answer_{number}": text for number, text in enumerate(sample.reference or (), 1)}
        system, user = prompt["system_prompt"], fill(prompt["prompt_template"], **values)
        return Request([Message("system", system), Message("user", user)], temperature=0.0, max_tokens=2048)

    def name(self, sample: Sample, turn: int) -> str:
        """Return the name of the prompt for a turn."""
        general = "v1" if self.kind == "single" else "v2"
        version = general if sample.reference is None else "math-v1"
        return f"{self.kind}-{version}{'-multi-turn' * turn}"


@dataclass(frozen=True)
class TurnGrader:
    """A scorer whose judge grades each turn."""

    prompts: JudgePrompts
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        scores = []
        for turn, text in enumerate(answer.texts):
            answers = {"answer": text} | {f"answer_{number}": text for number, text in enumerate(answer.texts, 1)}
            reply = await context.ask(self.prompts.request(sample, turn, **answers))
            scores.append(Score(TURNS[turn], grade(reply.text), {"judgment": reply.text}))
        return scores


def grade(judgment: str) -> float | None:
    """Return the grade of a judgment: the first number in double brackets, else in single ones, else `None`."""
    match = _GRADE.search(judgment) or _LOOSE_GRADE.search(judgment)
    return float(match[1]) if match else None


@dataclass(frozen=True)
class TurnComparer:
    """A scorer whose judge compares each turn with the baseline's, in both orders: 1, 0, or 0.5 for a tie."""

    prompts: JudgePrompts
    needs: frozenset[str] = frozenset({"judge", "baseline"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        assert context.baseline
        scores = []
        for turn in range(len(answer.texts)):
            judgments = []
            for a, b in ((answer, context.baseline), (context.baseline, answer)):
                answers = {"answer_a": a.texts[turn], "answer_b": b.texts[turn]}
                for number, (text_a, text_b) in enumerate(zip(a.texts, b.texts, strict=True), 1):
                    answers |= {f"answer_a_{number}": text_a, f"answer_b_{number}": text_b}
                judgments.append((await context.ask(self.prompts.request(sample, turn, **answers))).text)
            scores.append(Score(TURNS[turn], combined(*map(verdict, judgments)), {"judgments": judgments}))
        return scores


def verdict(judgment: str) -> str | None:
    """Return the answer that a judgment prefers: "A", "B", or "C" for a tie; `None` if it cannot be read."""
    return next((letter for letter in "ABC" if f"[[{letter}]]" in judgment), None)


def combined(first: str | None, swapped: str | None) -> float | None:
    """Return 1 if the model wins in both orders, 0 if the baseline does, else 0.5; `None` without any verdict."""
    if first is None and swapped is None:
        return None
    if (first, swapped) == ("A", "B"):
        return 1.0
    return 0.0 if (first, swapped) == ("B", "A") else 0.5


@dataclass(frozen=True)
class MTBench:
    """The questions."""

    name: str
    samples: Sequence[Sample]
    scorer: TurnGrader | TurnComparer
    version: str

    @property
    def options(self) -> Mapping[str, Any]:
        return {"max_tokens": TOKENS}

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the mean over all turns with a score, then by turn and by category."""
        if isinstance(self.scorer, TurnComparer) and scored and not any(one.scores or one.error for one in scored):
            return [Metric("wins", 50.0, n=len(scored), unit="%", note=BASELINE)]
        title, unit = ("score", "of 10") if isinstance(self.scorer, TurnGrader) else ("wins", "%")
        categories = dict.fromkeys(one.sample.metadata["category"] for one in scored)
        overall = self._mean(title, unit, scored, TURNS)
        turns = [self._mean(f"{title}: {turn}", unit, scored, (turn,)) for turn in TURNS]
        parts = [
            self._mean(
                f"{title}: {name}", unit, [one for one in scored if one.sample.metadata["category"] == name], TURNS
            )
            for name in categories
        ]
        return [overall, *turns, *parts]

    def _mean(self, title: str, unit: str, scored: Sequence[ScoredSample], turns: Sequence[str]) -> Metric:
        to_percent = 10.0 if unit == "of 10" else 100.0
        values = [(one, value) for one in scored for turn in turns if (value := one.value(turn)) is not None]
        missing = len(scored) * len(turns) - len(values)
        note = f"{missing} {'turn' if missing == 1 else 'turns'} without a score" if missing else ""
        if not values:
            return Metric(title, None, unit=unit, note=note)
        low, high = percent_interval([value * to_percent for _, value in values], [one.sample.id for one, _ in values])
        scale = 1 if unit == "%" else 1 / to_percent
        mean = sum(value for _, value in values) / len(values) * to_percent
        ends = [None if end is None else end * scale for end in (low, high)]
        return Metric(title, mean * scale, ends[0], ends[1], len(values), unit, note)


def read(data: Path, name: str = "mt_bench") -> MTBench:
    """Read the task from a folder of its data. Raises `ConfigError`."""
    folder = data_folder(data, "mt_bench")
    questions = require_file(folder, "question.jsonl", content="the questions")
    prompts = require_file(folder, "judge_prompts.jsonl", content="the judge's prompts")
    references = require_file(folder, "reference_answer_gpt-4.jsonl", "gpt-4.jsonl", content="the reference answers")
    own = find_file(folder, "reference_answer_own.jsonl")
    known = {row["question_id"]: row["choices"][0]["turns"] for row in read_rows(references)}
    known |= {row["question_id"]: row["choices"][0]["turns"] for row in (read_rows(own) if own else ())}
    samples = []
    for row in read_rows(questions):
        category, turns = row["category"], row["turns"]
        with_reference = category in WITH_REFERENCE
        if with_reference and row["question_id"] not in known:
            raise ConfigError(f"{references}: question {row['question_id']} ({category}): has no reference answer")
        samples.append(
            Sample(
                str(row["question_id"]),
                (Message("user", turns[0]),),
                tuple(turns[1:]),
                known[row["question_id"]] if with_reference else None,
                {"category": category},
                {"temperature": TEMPERATURES.get(category, 0.7)},
            )
        )
    by_name = {row["name"]: row for row in read_rows(prompts)}
    pairwise = name == "mt_bench_pairwise"
    judge = JudgePrompts("pair" if pairwise else "single", by_name)
    for sample in samples:
        for turn in range(2):
            if judge.name(sample, turn) not in by_name:
                raise ConfigError(f"{prompts}: {judge.name(sample, turn)}: no such prompt")
    scorer = TurnComparer(judge) if pairwise else TurnGrader(judge)
    return MTBench(name, samples, scorer, digest(questions, prompts, references, *([own] if own else [])))
