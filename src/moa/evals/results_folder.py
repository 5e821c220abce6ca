"""The results folder of an evaluation: a manifest and JSON lines, written as answers arrive.

    manifest.json   task, models, prices, seed and versions
    samples.jsonl   one line per sample
    answers.jsonl   one line per answer
    scores.jsonl    one line for the scores of an answer
    timing.jsonl    what differs from day to day: seconds, and dollars really paid
    metrics.json    the metrics of each model

The process may be killed at any moment: complete lines stay, a truncated line is written again. When everything is
there, lines are sorted in the order of the samples, so the same answers are always the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..paths import write_atomically
from ..trace.tree import usage_json
from ..types import Message, Usage
from ..wire.chat_completions import message_to_json
from .task import Answer, AnswerCost, Metric, Sample, Score, ScoredSample

MANIFEST, SAMPLES, ANSWERS, SCORES = "manifest.json", "samples.jsonl", "answers.jsonl", "scores.jsonl"
TIMING, METRICS = "timing.jsonl", "metrics.json"

FORMAT = 2
"""The format of a results folder. Format 1, which can be read but not continued, has figures.json for metrics.json, and
the keys suite and chain for task and sequential_tokens."""

Key = tuple[str, str]
"""A sample's id and a model's name."""


@dataclass
class ResultsFolder:
    """The results of an evaluation on disk. Answers that failed are asked again."""

    path: Path
    manifest: Mapping[str, Any]
    samples: Mapping[str, Sample]
    answers: dict[Key, Answer]
    scored: dict[Key, ScoredSample]
    paid: float = 0.0
    """US dollars paid so far."""

    @staticmethod
    def open(path: Path, manifest: Mapping[str, Any], samples: Sequence[Sample]) -> ResultsFolder:
        """Create a results folder, or continue the one at this path. Raises `ConfigError` if it is of another
        evaluation."""
        if (path / MANIFEST).exists():
            folder = ResultsFolder.read(path)
            if names := _differing(folder.manifest, manifest):
                raise ConfigError(f"{path}: has results with another {names}; set --output-dir to another folder")
            return folder
        path.mkdir(parents=True, exist_ok=True)
        _write(path / SAMPLES, map(_json, map(_sample_line, samples)))
        _write(path / MANIFEST, [json.dumps(manifest, ensure_ascii=False, indent=2)])
        return ResultsFolder(path, manifest, {sample.id: sample for sample in samples}, {}, {})

    @staticmethod
    def read(path: Path) -> ResultsFolder:
        """Read a results folder. Raises `ConfigError` if there is none at this path."""
        try:
            manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no results folder; moa eval run writes one") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path / MANIFEST}: cannot be read: {error}") from error
        if manifest.get("format", FORMAT) > FORMAT:
            raise ConfigError(f"{path}: has format {manifest['format']}; update moa to read it")
        if "suite" in manifest:
            manifest["task"] = manifest.pop("suite")
        samples = {line["id"]: _sample(line) for line in _lines(path / SAMPLES)}
        seconds = {_key(line): line["seconds"] for line in _lines(path / TIMING) if "seconds" in line}
        answers = {_key(line): _answer(line, seconds.get(_key(line), 0.0)) for line in _lines(path / ANSWERS)}
        scores = [line for line in _lines(path / SCORES) if _key(line) in answers]
        scored = {_key(line): _scored(line, samples[line["sample"]], answers[_key(line)]) for line in scores}
        paid = sum(line.get("paid") or 0.0 for line in _lines(path / TIMING))
        return ResultsFolder(path, manifest, samples, answers, scored, paid)

    def add_answer(self, answer: Answer) -> None:
        """Append an answer."""
        self.answers[answer.sample, answer.model] = answer
        self._append(TIMING, {**_key_fields(answer), "seconds": answer.cost.seconds, "paid": answer.cost.paid})
        self._append(ANSWERS, _answer_line(answer))
        self.paid += answer.cost.paid or 0.0

    def add_scores(self, scored: ScoredSample) -> None:
        """Append the scores of an answer."""
        self.scored[scored.answer.sample, scored.answer.model] = scored
        cost = scored.cost
        self._append(TIMING, {**_key_fields(scored.answer), "judged": cost.seconds, "paid": cost.paid})
        self._append(SCORES, _scored_line(scored))
        self.paid += cost.paid or 0.0

    def finish(self, metrics: Mapping[str, Sequence[Metric]]) -> None:
        """Write the metrics, and sort the lines in the order of the samples."""
        models = dict.fromkeys((*metrics, *(model for _, model in self.answers)))
        keys = [(sample, model) for sample in self.samples for model in models]
        _write(self.path / ANSWERS, (_json(_answer_line(self.answers[key])) for key in keys if key in self.answers))
        _write(self.path / SCORES, (_json(_scored_line(self.scored[key])) for key in keys if key in self.scored))
        by_model = {model: [asdict(metric) for metric in of_model] for model, of_model in metrics.items()}
        _write(self.path / METRICS, [json.dumps(by_model, ensure_ascii=False, indent=2)])

    def scored_samples(self, model: str) -> list[ScoredSample]:
        """Return the answers of a model with their scores, in the order of the samples."""
        answered = [
            (sample, self.answers[sample.id, model])
            for sample in self.samples.values()
            if (sample.id, model) in self.answers
        ]
        return [self.scored.get((sample.id, model)) or ScoredSample(sample, answer) for sample, answer in answered]

    @property
    def metrics(self) -> dict[str, list[Metric]]:
        """The metrics of each model when the evaluation last ran."""
        for name in (METRICS, "figures.json"):
            if (self.path / name).exists():
                by_model = json.loads((self.path / name).read_text("utf-8"))
                return {model: [Metric(**metric) for metric in of_model] for model, of_model in by_model.items()}
        return {}

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        path = self.path / name
        with path.open("ab") as file:
            if file.tell() and not _ends_with_newline(path):
                file.write(b"\n")  # after a line that was truncated when its process was killed
            file.write(_json(line).encode() + b"\n")


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _key(line: Mapping[str, Any]) -> Key:
    return line["sample"], line["model"]


def _key_fields(answer: Answer) -> dict[str, Any]:
    return {"sample": answer.sample, "model": answer.model}


def _sample_line(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "messages": [message_to_json(message) for message in sample.messages],
        "then": list(sample.then),
        "reference": sample.reference,
        "metadata": dict(sample.metadata),
        "options": dict(sample.options),
    }


def _sample(line: Mapping[str, Any]) -> Sample:
    messages = tuple(Message(message["role"], _content(message["content"])) for message in line["messages"])
    return Sample(line["id"], messages, tuple(line["then"]), line["reference"], line["metadata"], line["options"])


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else tuple(content)


def _answer_line(answer: Answer) -> dict[str, Any]:
    line = {**_key_fields(answer), "texts": list(answer.texts), **_cost_fields(answer.cost)}
    return line if answer.error is None else {**line, "error": answer.error}


def _answer(line: Mapping[str, Any], seconds: float) -> Answer:
    cost = replace(_cost(line), seconds=seconds)
    return Answer(line["sample"], line["model"], tuple(line["texts"]), cost, line.get("error"))


def _scored_line(scored: ScoredSample) -> dict[str, Any]:
    scores = [{"name": score.name, "value": score.value, "detail": dict(score.detail)} for score in scored.scores]
    line = {**_key_fields(scored.answer), "scores": scores, **_cost_fields(scored.cost)}
    return line if scored.error is None else {**line, "error": scored.error}


def _scored(line: Mapping[str, Any], sample: Sample, answer: Answer) -> ScoredSample:
    scores = tuple(Score(score["name"], score["value"], score["detail"]) for score in line["scores"])
    return ScoredSample(sample, answer, scores, _cost(line), line.get("error"))


def _cost_fields(cost: AnswerCost) -> dict[str, Any]:
    return {"usage": usage_json(cost.usage), "calls": cost.calls, "sequential_tokens": cost.sequential_tokens}


def _cost(line: Mapping[str, Any]) -> AnswerCost:
    tokens = line["sequential_tokens"] if "sequential_tokens" in line else line["chain"]
    return AnswerCost(Usage(**line["usage"]), line["calls"], tokens, paid=0.0)


def _json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # truncated when its process was killed; the question is asked again


def _write(path: Path, lines: Iterable[str]) -> None:
    with write_atomically(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the names of the settings in which two manifests differ, other than versions."""
    names = [name for name in {**old, **new} if name != "versions" and old.get(name) != new.get(name)]
    return " and ".join(names)
