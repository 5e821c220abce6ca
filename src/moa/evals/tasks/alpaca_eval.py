"""AlpacaEval 2.0: 805 instructions, each answer compared with the baseline's by a judge (arXiv 2404.04475).

The judge writes one token, `m` or `M`, and the preference is the share of its probability. Which of them is the
baseline depends on the instruction alone, as it does upstream. The data folder has

    baseline_gpt4_1106_preview.json        a list of {instruction, output, dataset}: the instructions and the baseline
    judge_prompt_alpaca_eval_clf.txt       the judge's prompt; by default that of an installed alpaca_eval
    and the data of length control, see `annotations`
"""

from __future__ import annotations

import importlib.util
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from ...errors import ConfigError
from ...types import Message, Request, Response
from ..stats.bootstrap import percent_interval
from ..task import Answer, Metric, Sample, Score, ScoredSample, ScoringContext
from .data import data_folder, digest, fill, find_file, read_rows, read_text, require_file

ANSWERING = {"temperature": 0.7, "max_tokens": 2048}
"""The sampling options of answers in the Mixture-of-Agents paper."""

PROBABILITIES = {"logprobs": True, "top_logprobs": 5}
JUDGE = "gpt-4-1106-preview"
"""The judge of published results."""

PREFERENCE = "preference"
"""The name of the score, from 0 (the baseline's answer) to 1."""

FEWEST = 30
"""The fewest answers for length control. If some are missing, C is the default, not cross-validated."""

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass(frozen=True)
class WeightedPreference:
    """A scorer that reads the preference from the probabilities of the judge's token. `turns` are its prompt."""

    turns: tuple[Message, ...]
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        if answer.text == sample.reference["output"]:
            return [Score(PREFERENCE, 0.5, {"same": True})]  # upstream does not ask its judge either
        switched = is_switched(sample.question)
        reply = await context.ask(self.comparison(sample, answer, switched))
        first = first_preferred(reply)
        detail = {"judge": reply.model, "switched": switched, "said": reply.text, "tokens": _tokens(reply)}
        preference = None if first is None else first if switched else 1 - first
        return [Score(PREFERENCE, preference, detail)]

    def comparison(self, sample: Sample, answer: Answer, switched: bool) -> Request:
        """Return the request to the judge. The baseline's answer comes first, unless they are switched."""
        pair = (sample.reference["output"], answer.text)
        first, second = reversed(pair) if switched else pair
        values = {"instruction": sample.question, "output_1": first, "output_2": second}
        messages = [Message(turn.role, fill(turn.text, **values)) for turn in self.turns]
        return Request(messages, temperature=1.0, max_tokens=1, extra=PROBABILITIES)


def is_switched(instruction: str, seed: int = 0) -> bool:
    """Return whether the model's answer is shown first, drawn as upstream draws it."""
    return random.Random(f"is_switched_outputs{instruction}{seed}").choices([False, True])[0]  # noqa: S311


def first_preferred(reply: Response) -> float | None:
    """Return the probability that the judge prefers the first answer, called `m`, to the second, called `M`.

    It is computed from the log-probabilities of the first token, or from the text if there are none. `None` if neither
    name occurs.
    """
    tokens = _tokens(reply)
    if not tokens:
        return {"m": 1.0, "M": 0.0}.get(reply.text.strip())
    first, second = (math.exp(tokens[name]) if name in tokens else 0.0 for name in ("m", "M"))
    return first / (first + second) if first + second else None


def _tokens(reply: Response) -> dict[str, float]:
    """Return the log-probabilities of the candidates for the first token."""
    try:
        return {token["token"]: float(token["logprob"]) for token in reply.logprobs["content"][0]["top_logprobs"]}
    except (TypeError, KeyError, IndexError):
        return {}


@dataclass(frozen=True)
class AlpacaEval:
    """The instructions with the baseline's answers. `data` is the folder with the data of length control."""

    samples: Sequence[Sample]
    scorer: WeightedPreference
    version: str
    data: Path
    name: str = "alpaca_eval"

    @property
    def options(self) -> Mapping[str, Any]:
        return ANSWERING

    def metrics(self, scored: Sequence[ScoredSample]) -> Sequence[Metric]:
        """Return the length-controlled win rate, if available, then the win rate and the discrete win rate."""
        from .annotations import win_rate

        judged = [(one, value) for one in scored if (value := one.value(PREFERENCE)) is not None]
        missing = len(scored) - len(judged)
        if not judged:
            return [Metric("win rate", None, unit="%", note=f"{missing} not judged")]
        rates = win_rate([value for _, value in judged])
        low, high = percent_interval([100 * value for _, value in judged], [one.sample.id for one, _ in judged])
        notes = [f"{missing} not judged"] if missing else []
        details = [one.scores[0].detail for one, _ in judged]
        if any("judge" in detail and not detail["tokens"] for detail in details):
            notes.append("the judge returns no log-probabilities, so each preference is 0 or 1")
        judges = sorted({detail["judge"] for detail in details if "judge" in detail})
        if foreign := [judge for judge in judges if judge.rpartition(":")[2] != JUDGE]:
            notes.append(f"not comparable with published results: judged by {', '.join(foreign)}")
        controlled = self._controlled([one for one in scored if one.answer.error is None], notes)
        uncontrolled = (
            Metric("win rate", rates.win_rate, low, high, rates.n, "%", "; ".join(notes)),
            Metric("discrete win rate", rates.discrete, n=rates.n, unit="%", note="; ".join(notes)),
        )
        return [*uncontrolled, controlled] if controlled.value is None else [controlled, *uncontrolled]

    def _controlled(self, answered: Sequence[ScoredSample], notes: Sequence[str]) -> Metric:
        name = "length-controlled win rate"
        if len(answered) < FEWEST:
            return Metric(name, None, unit="%", note=f"needs at least {FEWEST} answers")
        try:
            from ..stats.length_control import USUAL, PairResults, length_controlled
            from .annotations import Control

            control = Control.read(self.data)
            difficulty = [control.difficulty[int(one.sample.id)] for one in answered]
        except (ConfigError, IndexError) as error:
            return Metric(name, None, unit="%", note=f"unavailable: {error}")
        import numpy as np

        pairs = PairResults(
            np.array([math.nan if (value := one.value(PREFERENCE)) is None else value for one in answered]),
            np.array([len(one.sample.reference["output"]) - len(one.answer.text) for one in answered], dtype=float),
            np.array(difficulty),
        )
        whole = len(answered) == len(control.difficulty)
        result = length_controlled(pairs, control.gamed, None if whole else USUAL)
        reach = NormalDist().inv_cdf(0.975) * result.error
        low, high = max(0.0, result.win_rate - reach), min(100.0, result.win_rate + reach)
        return Metric(name, result.win_rate, low, high, len(answered), "%", "; ".join(notes))


def read(data: Path, name: str = "alpaca_eval") -> AlpacaEval:
    """Read the task from a folder of its data. Raises `ConfigError`."""
    folder = data_folder(data, "alpaca_eval")
    baseline = require_file(
        folder, "baseline_gpt4_1106_preview.json", "alpaca_eval_gpt4_baseline.json", content="the instructions"
    )
    prompt = _prompt(folder)
    turns = tuple(Message(role, words.strip()) for role, words in _TURN.findall(read_text(prompt)))
    if not turns:
        raise ConfigError(f"{prompt}: is not a prompt in ChatML (<|im_start|>user ... <|im_end|>)")
    try:
        samples = [
            Sample(
                str(index),
                (Message("user", row["instruction"]),),
                reference={"output": row["output"]},
                metadata={"category": row.get("dataset", "")},
            )
            for index, row in enumerate(read_rows(baseline))
        ]
    except KeyError as error:
        raise ConfigError(f"{baseline}: {error}: is missing in a row") from None
    return AlpacaEval(samples, WeightedPreference(turns), digest(baseline, prompt), data)


def _prompt(folder: Path) -> Path:
    path = find_file(folder, "judge_prompt_alpaca_eval_clf.txt", "alpaca_eval_clf.txt")
    package = importlib.util.find_spec("alpaca_eval")
    if path is None and package and package.submodule_search_locations:
        configs = Path(package.submodule_search_locations[0], "evaluators_configs", "alpaca_eval_clf_gpt4_turbo")
        path = find_file(configs, "alpaca_eval_clf.txt")
    if path is None:
        raise ConfigError(f"{folder}: has no judge_prompt_alpaca_eval_clf.txt; add it, or install alpaca_eval")
    return path
