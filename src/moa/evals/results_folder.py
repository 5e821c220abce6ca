"""The results folder of an evaluation: a manifest, and plain JSON lines that are written as answers come.

    manifest.json   what was asked of whom, with which prices, seeds and versions
    samples.jsonl   one line for what was asked
    answers.jsonl   one line an answer
    scores.jsonl    one line for the scores of an answer
    timing.jsonl    what differs from day to day: seconds, and dollars that were really paid
    figures.json    what the scores come to

A process may be killed at any moment: what is in the files stays, a line that was cut off is written again. When all is
there, the lines are put in the order of the samples, so the same answers are always the same bytes.
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
from .sample import Answer, AnswerCost, Metric, Sample, Score, Scored

MANIFEST, SAMPLES, ANSWERS, SCORES = "manifest.json", "samples.jsonl", "answers.jsonl", "scores.jsonl"
TIMING, FIGURES = "timing.jsonl", "figures.json"

Key = tuple[str, str]
"""A sample's id and a model's name."""


@dataclass
class Folder:
    """Results on disk. `answers` and `scored` are what is there already; answers that failed are asked again."""

    path: Path
    manifest: Mapping[str, Any]
    samples: Mapping[str, Sample]
    answers: dict[Key, Answer]
    scored: dict[Key, Scored]
    paid: float = 0.0
    """US dollars paid for it so far."""

    @staticmethod
    def begin(path: Path, manifest: Mapping[str, Any], samples: Sequence[Sample]) -> Folder:
        """Begin an evaluation there, or go on with the one that is there. Raises `ConfigError` if that is another."""
        if (path / MANIFEST).exists():
            folder = Folder.read(path)
            if differing := _differing(folder.manifest, manifest):
                raise ConfigError(
                    f"{path} holds an evaluation with another {differing}; name another folder with --output-dir"
                )
            return folder
        path.mkdir(parents=True, exist_ok=True)
        _write(path / SAMPLES, map(_json, map(_sample_line, samples)))
        _write(path / MANIFEST, [json.dumps(manifest, ensure_ascii=False, indent=2)])
        return Folder(path, manifest, {sample.id: sample for sample in samples}, {}, {})

    @staticmethod
    def read(path: Path) -> Folder:
        """What is there. Raises `ConfigError` if that is no results folder."""
        try:
            manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path} holds no results; moa eval run writes them") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path / MANIFEST}: cannot be read: {error}") from error
        samples = {line["id"]: _sample(line) for line in _lines(path / SAMPLES)}
        seconds = {_key(line): line["seconds"] for line in _lines(path / TIMING) if "seconds" in line}
        answers = {_key(line): _answer(line, seconds.get(_key(line), 0.0)) for line in _lines(path / ANSWERS)}
        scores = [line for line in _lines(path / SCORES) if _key(line) in answers]
        scored = {_key(line): _scored(line, samples[line["sample"]], answers[_key(line)]) for line in scores}
        paid = sum(line.get("paid") or 0.0 for line in _lines(path / TIMING))
        return Folder(path, manifest, samples, answers, scored, paid)

    def add_answer(self, answer: Answer) -> None:
        """Keep an answer, from now on."""
        self.answers[answer.sample, answer.model] = answer
        self._append(TIMING, {**_named(answer), "seconds": answer.bill.seconds, "paid": answer.bill.paid})
        self._append(ANSWERS, _answer_line(answer))
        self.paid += answer.bill.paid or 0.0

    def add_scored(self, scored: Scored) -> None:
        """Keep the scores of an answer, from now on."""
        key = (scored.answer.sample, scored.answer.model)
        self.scored[key] = scored
        self._append(TIMING, {**_named(scored.answer), "judged": scored.bill.seconds, "paid": scored.bill.paid})
        self._append(SCORES, _scored_line(scored))
        self.paid += scored.bill.paid or 0.0

    def finish(self, figures: Mapping[str, Sequence[Metric]]) -> None:
        """Keep what the scores come to, and put the lines in the order of the samples."""
        models = dict.fromkeys((*figures, *(model for _, model in self.answers)))
        keys = [(sample, model) for sample in self.samples for model in models]
        _write(self.path / ANSWERS, (_json(_answer_line(self.answers[key])) for key in keys if key in self.answers))
        _write(self.path / SCORES, (_json(_scored_line(self.scored[key])) for key in keys if key in self.scored))
        told = {model: [asdict(one) for one in of_model] for model, of_model in figures.items()}
        _write(self.path / FIGURES, [json.dumps(told, ensure_ascii=False, indent=2)])

    def of(self, model: str) -> list[Scored]:
        """What a model answered, with its scores, in the order of the samples."""
        answered = [
            (sample, self.answers[sample.id, model])
            for sample in self.samples.values()
            if (sample.id, model) in self.answers
        ]
        return [self.scored.get((sample.id, model)) or Scored(sample, answer) for sample, answer in answered]

    @property
    def figures(self) -> dict[str, list[Metric]]:
        """What the scores came to when it was last asked."""
        try:
            told = json.loads((self.path / FIGURES).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return {model: [Metric(**one) for one in of_model] for model, of_model in told.items()}

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        path = self.path / name
        with path.open("ab") as file:
            if file.tell() and not _ends_a_line(path):
                file.write(b"\n")  # what a killed process left half written
            file.write(_json(line).encode() + b"\n")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _key(line: Mapping[str, Any]) -> Key:
    return line["sample"], line["model"]


def _named(answer: Answer) -> dict[str, Any]:
    return {"sample": answer.sample, "model": answer.model}


def _sample_line(sample: Sample) -> dict[str, Any]:
    told = {"messages": [message_to_json(message) for message in sample.messages], "then": list(sample.then)}
    more = {"reference": sample.reference, "metadata": dict(sample.metadata), "options": dict(sample.options)}
    return {"id": sample.id, **told, **more}


def _sample(line: Mapping[str, Any]) -> Sample:
    messages = tuple(Message(one["role"], _content(one["content"])) for one in line["messages"])
    return Sample(line["id"], messages, tuple(line["then"]), line["reference"], line["metadata"], line["options"])


def _content(told: Any) -> Any:
    return told if isinstance(told, str) else tuple(told)


def _answer_line(answer: Answer) -> dict[str, Any]:
    told = {**_named(answer), "texts": list(answer.texts), **_bill_line(answer.bill)}
    return told if answer.error is None else {**told, "error": answer.error}


def _answer(line: Mapping[str, Any], seconds: float) -> Answer:
    bill = replace(_bill(line), seconds=seconds)
    return Answer(line["sample"], line["model"], tuple(line["texts"]), bill, line.get("error"))


def _scored_line(scored: Scored) -> dict[str, Any]:
    scores = [{"name": one.name, "value": one.value, "detail": dict(one.detail)} for one in scored.scores]
    told = {**_named(scored.answer), "scores": scores, **_bill_line(scored.bill)}
    return told if scored.error is None else {**told, "error": scored.error}


def _scored(line: Mapping[str, Any], sample: Sample, answer: Answer) -> Scored:
    scores = tuple(Score(one["name"], one["value"], one["detail"]) for one in line["scores"])
    return Scored(sample, answer, scores, _bill(line), line.get("error"))


def _bill_line(bill: AnswerCost) -> dict[str, Any]:
    return {"usage": usage_json(bill.usage), "calls": bill.calls, "sequential_tokens": bill.sequential_tokens}


def _bill(line: Mapping[str, Any]) -> AnswerCost:
    tokens = line.get("sequential_tokens", line.get("chain", 0))  # "chain" in folders of earlier versions
    return AnswerCost(Usage(**line["usage"]), line["calls"], tokens, paid=0.0)


def _json(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut off when its process was killed; it is not known, so it is asked again


def _write(path: Path, lines: Iterable[str]) -> None:
    with write_atomically(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def _differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of two manifests is not the same, but for the versions they were written with."""
    names = [name for name in {**there, **now} if name != "versions" and there.get(name) != now.get(name)]
    return " and ".join(names)
