"""A benchmark of your own: JSON lines of questions, with right answers and rules, or open ones for a judge to compare.

    {"suite": "sums", "scorer": "numeric", "max_tokens": 64}
    {"prompt": "What is 17 + 25?", "answer": 42}
    {"prompt": "Which of them is a fruit?", "choices": ["apple", "chair"], "answer": "A", "scorer": "choice"}

The first line may be a heading that holds for all others.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ...config.messages import config_error
from ...config.schema import Table
from ...errors import ConfigError
from ...types import Message
from ..sample import Metric, Sample, Scored
from ..scorers.pairwise import PREFERENCE, Preferred
from ..scorers.rules import CORRECT, LETTERS, ByRule, Rule, lettered
from ..task import Scorer, Task


def _kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


RuleOrKind = Annotated[Rule, BeforeValidator(_kind, json_schema_input_type=str | Rule)]
Right = Annotated[tuple[str | float, ...], BeforeValidator(_several), Field(min_length=1)]


class Heading(Table):
    """The first line: what holds for all questions."""

    suite: str
    description: str = ""
    scorer: RuleOrKind | None = None
    system: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class Turn(Table):
    """One message of a conversation that is asked as a whole."""

    role: Literal["system", "user", "assistant"]
    content: str


class Line(Table):
    """A question."""

    id: str | None = None
    prompt: str | None = None
    messages: tuple[Turn, ...] = Field((), description="a conversation, instead of a prompt")
    then: tuple[str, ...] = Field((), description="asked after the model's own answer to what was before")
    choices: Annotated[tuple[str, ...], Field(max_length=len(LETTERS))] = ()
    answer: Right | None = Field(None, description="what is right; a list holds all that is")
    scorer: RuleOrKind | None = None
    category: str | None = Field(None, description="told apart in the report")
    cluster: str | None = Field(None, description="questions that are versions of one another share it")
    metadata: Annotated[dict[str, Any], Field(default_factory=dict)]


@dataclass(frozen=True)
class Suite:
    """The questions of a file. With right answers they are scored by rule, without by a judge that compares."""

    name: str
    samples: Sequence[Sample]
    options: Mapping[str, Any]
    scorer: Scorer
    version: str

    @staticmethod
    def read(path: Path) -> Suite:
        """The suite in a file. Raises `ConfigError` with the line that is wrong."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
        heading, lines = _parsed(path, data)
        if not lines:
            raise ConfigError(f"{path}: has no questions")
        samples = [_sample(f"{path}:{number}", number, line, heading) for number, line in lines]
        doubled = [one for one, times in Counter(sample.id for sample in samples).items() if times > 1]
        if doubled:
            raise ConfigError(f"{path}: the id {doubled[0]!r} is there twice")
        with_answer = [sample.reference is not None for sample in samples]
        if any(with_answer) and not all(with_answer):
            number = lines[with_answer.index(False)][0]
            raise ConfigError(f"{path}:{number}: has no answer, but others have; give all of them one, or none")
        options = {"max_tokens": heading.max_tokens, "temperature": heading.temperature}
        known = {name: value for name, value in options.items() if value is not None}
        scorer = ByRule() if all(with_answer) else Preferred()
        return Suite(heading.suite or path.stem, samples, known, scorer, hashlib.sha256(data).hexdigest()[:16])

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """How many are right, or preferred, of a hundred: of all, then by category where there are several."""
        name = CORRECT if isinstance(self.scorer, ByRule) else PREFERENCE
        if name == PREFERENCE and not any(one.scores or one.error for one in scored):
            return [Metric("preferred", 50.0, n=len(scored), unit="%", note="the baseline")]
        title = "correct" if name == CORRECT else "preferred"
        categories = dict.fromkeys(one.sample.metadata.get("category") for one in scored)
        whole = _share(title, name, scored)
        if len(categories) < 2:
            return [whole]
        parts = {key: [one for one in scored if one.sample.metadata.get("category") == key] for key in categories}
        return [whole, *(_share(f"{title}: {key or 'other'}", name, part) for key, part in parts.items())]


@dataclass(frozen=True)
class Part:
    """A few samples of a benchmark, drawn by a seed; more of them hold the fewer."""

    whole: Task
    limit: int
    seed: int = 0
    samples: Sequence[Sample] = field(init=False)

    def __post_init__(self) -> None:
        order = list(range(len(self.whole.samples)))
        random.Random(self.seed).shuffle(order)  # noqa: S311
        object.__setattr__(self, "samples", [self.whole.samples[place] for place in sorted(order[: self.limit])])

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def options(self) -> Mapping[str, Any]:
        return self.whole.options

    @property
    def scorer(self) -> Scorer:
        return self.whole.scorer

    @property
    def version(self) -> str:
        return self.whole.version

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """As the whole benchmark's."""
        return self.whole.figures(scored)


def _parsed(path: Path, data: bytes) -> tuple[Heading, list[tuple[int, Line]]]:
    heading, lines = Heading(suite=path.stem), list[tuple[int, Line]]()
    try:
        texts = data.decode("utf-8-sig").split("\n")  # JSON may hold other ends of lines as they are
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8: {error.reason} at byte {error.start}") from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            body = json.loads(text)
            if not isinstance(body, dict):
                raise ConfigError(f'{path}:{number}: is not an object, such as {{"prompt": "What is 2 + 3?"}}')
            if "suite" in body and not lines:
                heading = Heading.model_validate(body)
            else:
                lines.append((number, Line.model_validate(body)))
        except ValidationError as error:
            raise config_error(error, f"{path}:{number}") from None
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: is not JSON: {error}") from None
    return heading, lines


def _sample(place: str, number: int, line: Line, heading: Heading) -> Sample:
    if (line.prompt is None) == (not line.messages):
        raise ConfigError(f"{place}: give a prompt, or messages")
    system = (Message("system", heading.system),) if heading.system else ()
    asked = line.prompt or ""
    if line.choices:
        asked = f"{asked}\n\n{lettered(line.choices)}\n\nAnswer with the letter alone."
    messages = tuple(Message(one.role, one.content) for one in line.messages) or (Message("user", asked),)
    metadata = {**line.metadata, **{k: v for k in ("category", "cluster") if (v := getattr(line, k)) is not None}}
    return Sample(line.id or str(number), (*system, *messages), line.then, _reference(place, line, heading), metadata)


def _reference(place: str, line: Line, heading: Heading) -> dict[str, Any] | None:
    if line.answer is None:
        return None
    rule = line.scorer or heading.scorer or Rule(kind="choice" if line.choices else "exact")
    answers = [int(one) if isinstance(one, float) and one.is_integer() else one for one in line.answer]
    wrong = None
    if rule.kind == "numeric" and any(not _is_number(one) for one in answers):
        wrong = f"{answers[0]!r} is no number"
    if rule.kind == "choice" and line.choices:
        known = {*LETTERS[: len(line.choices)], *line.choices}
        wrong = next((f"{one!r} is none of the choices" for one in answers if one not in known), None)
    if rule.kind == "regex":
        wrong = next((f"{one!r} is no pattern: {why}" for one in answers if (why := _unreadable(str(one)))), None)
    if wrong:
        raise ConfigError(f"{place}: answer: {wrong}")
    return {"rule": rule.model_dump(exclude_unset=True), "answers": answers, "choices": list(line.choices)}


def _unreadable(pattern: str) -> str:
    """Why it is no regular expression, or ""."""
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


def _share(title: str, name: str, scored: Sequence[Scored]) -> Metric:
    """The mean of a score in percent. What was not answered is wrong; what was not judged does not count."""
    from ..stats.intervals import interval

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
    low, high = interval(values, clusters)
    return Metric(title, sum(values) / len(values), low, high, len(values), "%", note)
