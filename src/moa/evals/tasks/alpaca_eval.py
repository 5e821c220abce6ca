"""AlpacaEval 2.0: 805 instructions, and how often a judge prefers an answer to the baseline's (arXiv 2404.04475).

The judge says one token, `m` or `M`, and the preference is their share of its probability. Which of them is the
baseline is decided by the instruction alone, as upstream decides it. The folder of data has

    baseline_gpt4_1106_preview.json        a list of {instruction, output, dataset}: the instructions and the baseline
    judge_prompt_alpaca_eval_clf.txt       what the judge is asked; else that of an installed alpaca_eval is taken
    and what length control needs, see `annotations`
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
from ..sample import Answer, Metric, Sample, Score, Scored
from ..stats.intervals import interval
from ..stats.win_rate import win_rate
from ..task import ScoringContext
from .files import digest, filled, folder_of, found_in, needed_in, rows_of, text_of

ANSWERING = {"temperature": 0.7, "max_tokens": 2048}
"""How answers are asked for in the paper of mixtures of agents."""

PROBABILITIES = {"logprobs": True, "top_logprobs": 5}
JUDGE = "gpt-4-1106-preview"
"""The judge of published figures."""

PREFERENCE = "preference"
"""The name of the score, from 0 (the baseline's answer) to 1."""

FEWEST = 30
"""Answers from which on length can be controlled for. Where some are missing, C is the usual one, not validated."""

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass(frozen=True)
class Weighted:
    """Asks the judge for one token, and weighs the two it may say by their probabilities. `turns` are its prompt."""

    turns: tuple[Message, ...]
    needs: frozenset[str] = frozenset({"judge"})

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        if answer.text == sample.reference["output"]:
            return [Score(PREFERENCE, 0.5, {"same": True})]  # which upstream does not ask its judge either
        switched = is_switched(sample.question)
        reply = await judging.ask(self.comparison(sample, answer, switched))
        first = first_preferred(reply)
        told = {"judge": reply.model, "switched": switched, "said": reply.text, "tokens": _tokens(reply)}
        if first is None:
            return [Score(PREFERENCE, None, told)]
        return [Score(PREFERENCE, first if switched else 1 - first, told)]

    def comparison(self, sample: Sample, answer: Answer, switched: bool) -> Request:
        """What the judge is asked: the baseline's answer comes first, unless they are switched."""
        pair = (sample.reference["output"], answer.text)
        first, second = reversed(pair) if switched else pair
        words = {"instruction": sample.question, "output_1": first, "output_2": second}
        messages = [Message(turn.role, filled(turn.text, **words)) for turn in self.turns]
        return Request(messages, temperature=1.0, max_tokens=1, extra=PROBABILITIES)


def is_switched(instruction: str, seed: int = 0) -> bool:
    """Whether the model's answer is shown first, as upstream draws it."""
    return random.Random(f"is_switched_outputs{instruction}{seed}").choices([False, True])[0]  # noqa: S311


def first_preferred(reply: Response) -> float | None:
    """How likely the judge prefers the answer that is shown first, called `m`, to the second, called `M`.

    Out of the log-probabilities of its first token, or, where it gives none, out of what it says. `None` where it
    speaks of neither.
    """
    tokens = _tokens(reply)
    if not tokens:
        return {"m": 1.0, "M": 0.0}.get(reply.text.strip())
    one, other = (math.exp(tokens[name]) if name in tokens else 0.0 for name in ("m", "M"))
    return one / (one + other) if one + other else None


def _tokens(reply: Response) -> dict[str, float]:
    """The log-probabilities of what the first token might have been."""
    try:
        return {one["token"]: float(one["logprob"]) for one in reply.logprobs["content"][0]["top_logprobs"]}
    except (TypeError, KeyError, IndexError):
        return {}


@dataclass(frozen=True)
class AlpacaEval:
    """The instructions with the baseline's answers. `data` is where length control finds what it needs."""

    samples: Sequence[Sample]
    scorer: Weighted
    version: str
    data: Path
    name: str = "alpaca_eval"

    @property
    def options(self) -> Mapping[str, Any]:
        return ANSWERING

    def figures(self, scored: Sequence[Scored]) -> Sequence[Metric]:
        """The length-controlled win rate, where it can be had, then the win rate as it is, and with every win whole."""
        judged = [(one, value) for one in scored if (value := one.value(PREFERENCE)) is not None]
        missing = len(scored) - len(judged)
        if not judged:
            return [Metric("win rate", None, unit="%", note=f"{missing} not judged")]
        raw = win_rate([value for _, value in judged])
        low, high = interval([100 * value for _, value in judged], [one.sample.id for one, _ in judged])
        notes = [f"{missing} not judged"] if missing else []
        details = [one.scores[0].detail for one, _ in judged]
        if any("judge" in detail and not detail["tokens"] for detail in details):
            notes.append("the judge gives no log-probabilities, so each verdict is whole")
        judges = sorted({detail["judge"] for detail in details if "judge" in detail})
        if foreign := [judge for judge in judges if judge.rpartition(":")[2] != JUDGE]:
            notes.append(f"not comparable with published figures: judged by {', '.join(foreign)}")
        controlled = self._controlled([one for one in scored if one.answer.error is None], notes)
        plain = (
            Metric("win rate", raw.win_rate, low, high, raw.n, "%", "; ".join(notes)),
            Metric("wins counted whole", raw.discrete, n=raw.n, unit="%", note="; ".join(notes)),
        )
        return [*plain, controlled] if controlled.value is None else [controlled, *plain]

    def _controlled(self, answered: Sequence[Scored], notes: Sequence[str]) -> Metric:
        name = "length-controlled win rate"
        if len(answered) < FEWEST:
            return Metric(name, None, unit="%", note=f"not with fewer than {FEWEST} answers")
        try:
            from ..stats.length_control import USUAL, Compared, controlled
            from .annotations import Control

            control = Control.read(self.data)
            difficulty = [control.difficulty[int(one.sample.id)] for one in answered]
        except (ConfigError, IndexError) as error:
            return Metric(name, None, unit="%", note=f"cannot be had: {error}")
        import numpy as np

        compared = Compared(
            np.array([math.nan if (value := one.value(PREFERENCE)) is None else value for one in answered]),
            np.array([len(one.sample.reference["output"]) - len(one.answer.text) for one in answered], dtype=float),
            np.array(difficulty),
        )
        whole = len(answered) == len(control.difficulty)
        found = controlled(compared, control.gamed, None if whole else USUAL)
        reach = NormalDist().inv_cdf(0.975) * found.error
        low, high = max(0.0, found.win_rate - reach), min(100.0, found.win_rate + reach)
        return Metric(name, found.win_rate, low, high, len(answered), "%", "; ".join(notes))


def read(data: Path, name: str = "alpaca_eval") -> AlpacaEval:
    """The benchmark out of a folder of its data. Raises `ConfigError`."""
    folder = folder_of(data, "alpaca_eval")
    baseline = needed_in(
        folder, "baseline_gpt4_1106_preview.json", "alpaca_eval_gpt4_baseline.json", why="holds the instructions"
    )
    prompt = _prompt(folder)
    turns = tuple(Message(role, words.strip()) for role, words in _TURN.findall(text_of(prompt)))
    if not turns:
        raise ConfigError(f"{prompt}: is no prompt in ChatML (<|im_start|>user ... <|im_end|>)")
    try:
        samples = [
            Sample(
                str(index),
                (Message("user", row["instruction"]),),
                reference={"output": row["output"]},
                metadata={"category": row.get("dataset", "")},
            )
            for index, row in enumerate(rows_of(baseline))
        ]
    except KeyError as error:
        raise ConfigError(f"{baseline}: a row has no {error}") from None
    return AlpacaEval(samples, Weighted(turns), digest(baseline, prompt), data)


def _prompt(folder: Path) -> Path:
    found = found_in(folder, "judge_prompt_alpaca_eval_clf.txt", "alpaca_eval_clf.txt")
    package = importlib.util.find_spec("alpaca_eval")
    if found is None and package and package.submodule_search_locations:
        place = Path(package.submodule_search_locations[0], "evaluators_configs", "alpaca_eval_clf_gpt4_turbo")
        found = found_in(place, "alpaca_eval_clf.txt")
    if found is None:
        raise ConfigError(
            f"{folder} has no judge_prompt_alpaca_eval_clf.txt, and no alpaca_eval is installed that has it"
        )
    return found
