"""Tasks of your own: JSON lines of questions, with answers and rules, or open ones that a judge compares.

    {"task": "sums", "scorer": "numeric", "max_tokens": 64}
    {"prompt": "What is 17 + 25?", "answer": 42}
    {"prompt": "Which of them is a fruit?", "choices": ["apple", "chair"], "answer": "A", "scorer": "choice"}

The first line may be a heading with settings for all others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ...config.messages import config_error
from ...config.schema import Table
from ...errors import ConfigError
from ...types import Message
from ..scorers.pairwise import PREFERENCE, PairwiseScorer
from ..scorers.rules import CORRECT, LETTERS, Rule, RuleScorer, format_choices
from ..task import BASELINE, Metric, Sample, ScoredSample, Scorer


def _as_rule(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


RuleOrKind = Annotated[Rule, BeforeValidator(_as_rule, json_schema_input_type=str | Rule)]
Answers = Annotated[tuple[str | float, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Heading(Table):
    """The first line: settings for all questions."""

    task: str
    description: str = ""
    scorer: RuleOrKind | None = None
    system: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class Turn(Table):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Line(Table):
    """A question."""

    id: str | None = None
    prompt: str | None = None
    messages: tuple[Turn, ...] = Field((), description="a conversation, instead of a prompt")
    then: tuple[str, ...] = Field((), description="further turns, each asked after the model's own answer")
    choices: Annotated[tuple[str, ...], Field(max_length=len(LETTERS))] = ()
    answer: Answers | None = Field(None, description="the right answer, or a list of all right answers")
    scorer: RuleOrKind | None = None
    category: str | None = Field(None, description="reported separately")
    cluster: str | None = Field(None, description="shared by questions that are versions of one another")
    metadata: Annotated[dict[str, Any], Field(default_factory=dict)]


@dataclass(frozen=True)
class JsonlTask:
    """The questions of a file: scored by rule if they have answers, else compared by a judge."""

    name: str
    samples: Sequence[Sample]
    options: Mapping[str, Any]
    scorer: Scorer
    version: str

    @staticmethod
    def read(path: Path) -> JsonlTask:
        """Read the task in a file. Raises `ConfigError` with the number of the wrong line."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
        heading, lines = _parsed(path, data)
        if not lines:
            raise ConfigError(f"{path}: has no questions")
        samples = [_sample(f"{path}:{number}", number, line, heading) for number, line in lines]
        repeated = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
        if repeated:
            raise ConfigError(f"{path}: the id {repeated[0]!r} is used twice; ids must be unique")
        with_answer = [sample.reference is not None for sample in samples]
        if any(with_answer) and not all(with_answer):
            number = lines[with_answer.index(False)][0]
            raise ConfigError(
                f"{path}:{number}: answer: is missing, but other questions have one; add it to all or none"
            )
        options = {"max_tokens": heading.max_tokens, "temperature": heading.temperature}
        given = {name: value for name, value in options.items() if value is not None}
        scorer = RuleScorer() if all(with_answer) else PairwiseScorer()
        return JsonlTask(heading.task or path.stem, samples, given, scorer, hashlib.sha256(data).hexdigest()[:16])

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the percentage of correct, or preferred, answers: overall, then by category if there are several."""
        name = CORRECT if isinstance(self.scorer, RuleScorer) else PREFERENCE
        if name == PREFERENCE and not any(one.scores or one.error for one in scored):
            return [Metric("preferred", 50.0, n=len(scored), unit="%", note=BASELINE)]
        title = "correct" if name == CORRECT else "preferred"
        categories = dict.fromkeys(one.sample.metadata.get("category") for one in scored)
        overall = _percentage(title, name, scored)
        if len(categories) < 2:
            return [overall]
        parts = {key: [one for one in scored if one.sample.metadata.get("category") == key] for key in categories}
        return [overall, *(_percentage(f"{title}: {key or 'other'}", name, part) for key, part in parts.items())]


def _parsed(path: Path, data: bytes) -> tuple[Heading, list[tuple[int, Line]]]:
    heading, lines = Heading(task=path.stem), list[tuple[int, Line]]()
    try:
        texts = data.decode("utf-8-sig").split("\n")  # JSON strings may contain other line separators
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8: {error.reason} at byte {error.start}") from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ConfigError(f'{path}:{number}: is not an object, such as {{"prompt": "What is 2 + 3?"}}')
            if "suite" in body and "prompt" not in body:
                raise ConfigError(f'{path}:{number}: suite: is no longer a setting; rename it to "task"')
            if "task" in body and not lines:
                heading = Heading.model_validate(body)
            else:
                lines.append((number, Line.model_validate(body)))
        except ValidationError as error:
            raise config_error(error, f"{path}:{number}") from None
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: is not JSON: {error}") from None
    return heading, lines


def _sample(where: str, number: int, line: Line, heading: Heading) -> Sample:
    if (line.prompt is None) == (not line.messages):
        raise ConfigError(f"{where}: a question has either a prompt or messages")
    system = (Message("system", heading.system),) if heading.system else ()
    prompt = line.prompt or ""
    if line.choices:
        prompt = f"{prompt}\n\n{format_choices(line.choices)}\n\nAnswer with the letter alone."
    messages = tuple(Message(turn.role, turn.content) for turn in line.messages) or (Message("user", prompt),)
    metadata = {**line.metadata, **{k: v for k in ("category", "cluster") if (v := getattr(line, k)) is not None}}
    return Sample(line.id or str(number), (*system, *messages), line.then, _reference(where, line, heading), metadata)


def _reference(where: str, line: Line, heading: Heading) -> dict[str, Any] | None:
    if line.answer is None:
        return None
    rule = line.scorer or heading.scorer or Rule(kind="choice" if line.choices else "exact")
    answers = [int(value) if isinstance(value, float) and value.is_integer() else value for value in line.answer]
    wrong = None
    if rule.kind == "numeric" and any(not _is_number(value) for value in answers):
        wrong = f"must be a number, got {answers[0]!r}"
    if rule.kind == "choice" and line.choices:
        known = {*LETTERS[: len(line.choices)], *line.choices}
        wrong = next((f"must be one of the choices, got {value!r}" for value in answers if value not in known), None)
    if rule.kind == "regex":
        errors = ((value, _regex_error(str(value))) for value in answers)
        wrong = next(
            (f"must be a regular expression, got {value!r}: {error}" for value, error in errors if error), None
        )
    if wrong:
        raise ConfigError(f"{where}: answer: {wrong}")
    return {"rule": rule.model_dump(exclude_unset=True), "answers": answers, "choices": list(line.choices)}


def _regex_error(pattern: str) -> str:
    """Return why a pattern is not a regular expression, or ""."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return ""


def _is_number(value: str | float) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _percentage(title: str, name: str, scored: Sequence[ScoredSample]) -> Metric:
    """Return the mean of a score in percent. Missing answers are wrong; samples the judge left open do not count."""
    from ..stats.bootstrap import percent_interval

    values, clusters, missing = [], [], 0
    for one in scored:
        value = one.value(name)
        if value is None and name == CORRECT:
            value, missing = 0.0, missing + 1
        elif value is None:
            missing += 1
            continue
        values.append(100 * value)
        clusters.append(one.sample.cluster)
    note = f"{missing} not {'answered' if name == CORRECT else 'judged'}" if missing else ""
    if not values:
        return Metric(title, None, unit="%", note=note)
    low, high = percent_interval(values, clusters)
    return Metric(title, sum(values) / len(values), low, high, len(values), "%", note)
