"""MT-Bench: 80 questions with a second turn, marked by a judge, or compared with a baseline (arXiv 2306.05685).

The judge is asked once for each turn, for a mark from 1 to 10, with reference answers in math, reasoning and coding:
160 calls a model, 60 of them with references. `mt_bench_pairwise` compares with the first model named, in both orders;
a win counts only where both verdicts agree. The folder of data has

    question.jsonl                  {question_id, category, turns}
    judge_prompts.jsonl             the judge's prompts by name
    reference_answer_gpt-4.jsonl    {question_id, choices: [{turns}]}
    reference_answer_own.jsonl      the same, where you know better: some of the published references are wrong
"""

from __future__ import annotations

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
from .files import digest, filled, folder_of, found_in, needed_in, rows_of

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
"""What an answer is asked for with, by category; 0.7 where there is no such category."""

WITH_REFERENCE = ("math", "reasoning", "coding")
TOKENS = 1024
TURNS = ("turn 1", "turn 2")
"""The names of the scores."""

_MARK = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_LOOSE_MARK = re.compile(r"\[(\d+\.?\d*)\]")


@dataclass(frozen=True)
class JudgePrompts:
    """The judge's prompts: `kind` is "single" or "pair"."""

    kind: str
    by_name: Mapping[str, Mapping[str, str]]

    def request(self, sample: Sample, turn: int, **answers: str) -> Request:
        """What the judge is asked about a turn (0 or 1). `answers` go where the prompt has their names."""
        prompt = self.by_name[self.name(sample, turn)]
        asked = (sample.question, *sample.then)
        words = {"question": asked[0], **answers}
        words |= {f"question_{place}": text for place, text in enumerate(asked, 1)}
        words |= {f"ref_answer_{place}": text for place, text in enumerate(sample.reference or (), 1)}
        system, user = prompt["system_prompt"], filled(prompt["prompt_template"], **words)
        return Request([Message("system", system), Message("user", user)], temperature=0.0, max_tokens=2048)

    def name(self, sample: Sample, turn: int) -> str:
        """Which prompt it is."""
        general = "v1" if self.kind == "single" else "v2"
        version = general if sample.reference is None else "math-v1"
        return f"{self.kind}-{version}{'-multi-turn' * turn}"


@dataclass(frozen=True)
class Marked:
    """Has the judge mark each turn."""

    prompts: JudgePrompts
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        scores = []
        for turn, text in enumerate(answer.texts):
            told = {"answer": text} | {f"answer_{place}": one for place, one in enumerate(answer.texts, 1)}
            reply = await judging.ask(self.prompts.request(sample, turn, **told))
            scores.append(Score(TURNS[turn], mark(reply.text), {"judgment": reply.text}))
        return scores


def mark(judgment: str) -> float | None:
    """The mark a judgment gives: the first number in double brackets, else in single ones, else none."""
    found = _MARK.search(judgment) or _LOOSE_MARK.search(judgment)
    return float(found[1]) if found else None


@dataclass(frozen=True)
class Compared:
    """Has the judge compare each turn with the baseline's, in both orders. A score is 1, 0, or 0.5 for a tie."""

    prompts: JudgePrompts
    needs: frozenset[str] = frozenset({"judge", "baseline"})

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        assert judging.baseline
        scores = []
        for turn in range(len(answer.texts)):
            judgments = []
            for a, b in ((answer, judging.baseline), (judging.baseline, answer)):
                told = {"answer_a": a.texts[turn], "answer_b": b.texts[turn]}
                for place, (one, other) in enumerate(zip(a.texts, b.texts, strict=True), 1):
                    told |= {f"answer_a_{place}": one, f"answer_b_{place}": other}
                judgments.append((await judging.ask(self.prompts.request(sample, turn, **told))).text)
            scores.append(Score(TURNS[turn], agreed(*map(verdict, judgments)), {"judgments": judgments}))
        return scores


def verdict(judgment: str) -> str | None:
    """Whose answer a judgment prefers: "A", "B", or "C" for a tie; `None` if that cannot be read."""
    return next((letter for letter in "ABC" if f"[[{letter}]]" in judgment), None)


def agreed(first: str | None, swapped: str | None) -> float | None:
    """1 where the model wins in both orders, 0 where the baseline does, else a tie. Nothing read is no score."""
    if first is None and swapped is None:
        return None
    if (first, swapped) == ("A", "B"):
        return 1.0
    return 0.0 if (first, swapped) == ("B", "A") else 0.5


@dataclass(frozen=True)
class MTBench:
    """The questions. `most` is the best mark."""

    name: str
    samples: Sequence[Sample]
    scorer: Marked | Compared
    version: str

    @property
    def options(self) -> Mapping[str, Any]:
        return {"max_tokens": TOKENS}

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """The mean over all turns that have a score, then by turn and by category."""
        if isinstance(self.scorer, Compared) and scored and not any(one.scores or one.error for one in scored):
            return [Metric("wins", 50.0, n=len(scored), unit="%", note="the baseline")]
        title, unit = ("score", "of 10") if isinstance(self.scorer, Marked) else ("wins", "%")
        categories = dict.fromkeys(one.sample.metadata["category"] for one in scored)
        whole = self._mean(title, unit, scored, TURNS)
        turns = [self._mean(f"{title}: {turn}", unit, scored, (turn,)) for turn in TURNS]
        parts = [
            self._mean(
                f"{title}: {name}", unit, [one for one in scored if one.sample.metadata["category"] == name], TURNS
            )
            for name in categories
        ]
        return [whole, *turns, *parts]

    def _mean(self, title: str, unit: str, scored: Sequence[Scored], turns: Sequence[str]) -> Metric:
        step = 10.0 if unit == "of 10" else 100.0  # of a score, to percent
        found = [(one, value) for one in scored for turn in turns if (value := one.value(turn)) is not None]
        missing = len(scored) * len(turns) - len(found)
        note = f"{missing} {'turn' if missing == 1 else 'turns'} without a score" if missing else ""
        if not found:
            return Metric(title, None, unit=unit, note=note)
        low, high = interval([value * step for _, value in found], [one.sample.id for one, _ in found])
        scale = 1 if unit == "%" else 1 / step
        mean = sum(value for _, value in found) / len(found) * step
        ends = [None if end is None else end * scale for end in (low, high)]
        return Metric(title, mean * scale, ends[0], ends[1], len(found), unit, note)


def read(data: Path, name: str = "mt_bench") -> MTBench:
    """The benchmark out of a folder of its data. Raises `ConfigError`."""
    folder = folder_of(data, "mt_bench")
    questions = needed_in(folder, "question.jsonl", why="holds the questions")
    prompts = needed_in(folder, "judge_prompts.jsonl", why="holds what the judge is asked")
    references = needed_in(folder, "reference_answer_gpt-4.jsonl", "gpt-4.jsonl", why="holds the reference answers")
    own = found_in(folder, "reference_answer_own.jsonl")
    known = {row["question_id"]: row["choices"][0]["turns"] for row in rows_of(references)}
    known |= {row["question_id"]: row["choices"][0]["turns"] for row in (rows_of(own) if own else ())}
    samples = []
    for row in rows_of(questions):
        category, turns = row["category"], row["turns"]
        with_reference = category in WITH_REFERENCE
        if with_reference and row["question_id"] not in known:
            raise ConfigError(f"{references}: has no reference answer to question {row['question_id']} ({category})")
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
    by_name = {row["name"]: row for row in rows_of(prompts)}
    pairwise = name == "mt_bench_pairwise"
    judged = JudgePrompts("pair" if pairwise else "single", by_name)
    for sample in samples:
        for turn in range(2):
            if judged.name(sample, turn) not in by_name:
                raise ConfigError(f"{prompts}: has no prompt {judged.name(sample, turn)!r}")
    scorer = Compared(judged) if pairwise else Marked(judged)
    return MTBench(name, samples, scorer, digest(questions, prompts, references, *([own] if own else [])))
