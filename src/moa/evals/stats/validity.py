"""Checks for threats to validity: answers that game a judge, biased or unstable judges, contaminated prompts.

Each check is a function of prompts and answers and returns flags, each with its evidence in a sentence. A flag proves
nothing and changes no metric: it says what to look at before a metric is believed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from ...mixture.proposal_quality import refuses

Check = Literal["constant", "alike", "refusals", "length", "self-preference", "unstable", "contaminated", "repeated"]

GAMED: frozenset[Check] = frozenset(("constant", "alike", "contaminated"))
"""With these flags a metric means nothing; with the others it means less."""

FEW = 10
"""The fewest answers for a check: fewer have too much in common by chance."""
LONG, BEGINNING = 40, 200
"""The least length of an answer that is more than a choice, number or name, and how much of it is compared."""
CONSTANT, CONSTANT_SHORT = 0.05, 0.9
"""The share of answers, and of short answers, that may be identical."""
ALIKE, RUN, SHARED, HELD, READ = 0.1, 6, 0.5, 20, 150
"""The share of answers that may be similar (ALIKE). Two answers are similar if they share SHARED of their runs of RUN
words. A run is compared with the first HELD answers that contain it, in the first READ words of each answer."""
REFUSALS = 0.1
"""The share of answers that may be refusals."""
DRIFT = 1.5
"""The largest ratio of mean lengths of answers and the baseline's, in either direction."""
UNSTABLE = 0.25
"""The share of comparisons whose verdict may depend on the order."""
KNOWN = 8
"""The number of consecutive words of a prompt in an instruction that count as contamination."""


@dataclass(frozen=True, slots=True)
class Flag:
    """The result of a check. `model` is the model whose metrics it concerns, `None` for all."""

    check: Check
    model: str | None
    evidence: str

    @property
    def gamed(self) -> bool:
        """Whether the metrics mean nothing until this is explained."""
        return self.check in GAMED


def constant(model: str, answers: Sequence[str]) -> list[Flag]:
    """Check whether one text answers many prompts. Short answers, such as choices, may repeat often."""
    texts = [_plain(text) for text in answers]
    if len(texts) < FEW:
        return []
    long = Counter(text[:BEGINNING] for text in texts if len(text) >= LONG and not refuses(text))
    text, count = max(long.items(), key=lambda item: item[1], default=("", 0))
    if count <= max(2, CONSTANT * len(texts)):
        text, count = Counter(texts).most_common(1)[0]
        if count < CONSTANT_SHORT * len(texts):
            return []
    evidence = f"{model}: {count} of {len(texts)} answers are, or start with, the same text ({_short(text)})"
    return [Flag("constant", model, f"{evidence}; a judge may prefer it although it answers nothing")]


def alike(model: str, prompts: Sequence[str], answers: Sequence[str]) -> list[Flag]:
    """Check whether answers to different prompts are similar, although no text is repeated."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    near, first = 0, ("", "")
    pairs = list(dict.fromkeys(zip(map(_plain, prompts), answers, strict=True)))
    pairs = [(prompt, text) for prompt, text in pairs if len(text) >= LONG and not refuses(text)]
    runs = [_runs(text, RUN) for _, text in pairs]
    for index, own in enumerate(runs):
        for run in own:
            if len(holders[run]) < HELD:
                holders[run].append(index)
    for index, own in enumerate(runs):
        shared = Counter(
            other for run in own for other in holders[run] if other != index and pairs[other][0] != pairs[index][0]
        )
        if shared and (top := shared.most_common(1)[0])[1] >= SHARED * len(own):
            near += 1
            first = first if first[0] else (pairs[index][0], pairs[top[0]][0])
    if len(answers) < FEW or near <= ALIKE * len(answers):
        return []
    example = f"such as those to {_short(first[0])} and {_short(first[1])}"
    evidence = f"{model}: {near} of {len(answers)} answers are similar to that of another prompt, {example}"
    return [Flag("alike", model, evidence)]


def refusals(model: str, answers: Sequence[str]) -> list[Flag]:
    """Check whether many answers are refusals."""
    refused = [text for text in answers if refuses(text)]
    if len(answers) < FEW or len(refused) <= REFUSALS * len(answers):
        return []
    evidence = f"{model}: {len(refused)} of {len(answers)} answers are refusals, such as {_short(_plain(refused[0]))}"
    return [Flag("refusals", model, f"{evidence}; scores measure how often it answers as much as how well")]


def length(model: str, answers: Sequence[str], baseline: Sequence[str]) -> list[Flag]:
    """Check whether answers are much longer or shorter than the baseline's to the same prompts."""
    pairs = [(len(one), len(other)) for one, other in zip(answers, baseline, strict=True) if one and other]
    if len(pairs) < FEW:
        return []
    times = fmean(one for one, _ in pairs) / fmean(other for _, other in pairs)
    if 1 / DRIFT <= times <= DRIFT:
        return []
    own, other = (round(median(column)) for column in zip(*pairs, strict=True))
    evidence = (
        f"{model}: answers are {times:.2g} times as long as the baseline's (median {own:,} characters, {other:,})"
    )
    return [Flag("length", model, f"{evidence}; judges prefer long answers, so compare at equal length")]


def self_preference(model: str, members: Sequence[str], judges: Sequence[str]) -> list[Flag]:
    """Check whether a judge is among the models that it judges. Names are compared without provider and date."""
    own = {_bare(member): member for member in (model, *members)}
    return [
        Flag("self-preference", model, f"{model}: {judge} judges itself: it is {_role(own[_bare(judge)], model)}")
        for judge in dict.fromkeys(judges)
        if _bare(judge) in own
    ]


def unstable(model: str, verdicts: Sequence[tuple[str | None, str | None]]) -> list[Flag]:
    """Check whether verdicts depend on the order of the two answers.

    Each pair holds the winner in one order and in the other; `None` could not be read.
    """
    known = [(one, other) for one, other in verdicts if one is not None and other is not None]
    changed = sum(one != other for one, other in known)
    if len(known) < FEW or changed <= UNSTABLE * len(known):
        return []
    evidence = f"{model}: in {changed} of {len(known)} comparisons the verdict depends on the order of the answers"
    return [Flag("unstable", model, f"{evidence}; use a stronger judge or more prompts")]


def contaminated(model: str, prompts: Sequence[str], instructions: Sequence[str]) -> list[Flag]:
    """Check whether prompts occur in the instructions of a model or of its members."""
    texts = [f" {' '.join(_words(text))} " for text in instructions]
    known = [prompt for prompt in prompts if any(_occurs(_words(prompt), text) for text in texts)]
    if not known:
        return []
    evidence = f"{len(known)} of {len(prompts)} prompts occur in its instructions, such as {_short(_plain(known[0]))}"
    return [Flag("contaminated", model, f"{model}: {evidence}; it knows them in advance")]


def repeated(prompts: Sequence[str]) -> list[Flag]:
    """Check whether prompts occur more than once, so that they count more than others."""
    counts = Counter(" ".join(_words(prompt)) or prompt for prompt in prompts)
    repeats = {text: count for text, count in counts.items() if count > 1}
    if not repeats:
        return []
    extra = sum(repeats.values()) - len(repeats)
    example = _short(max(repeats, key=lambda text: repeats[text]))
    evidence = f"{extra} of {len(prompts)} prompts are repetitions, such as {example}"
    return [Flag("repeated", None, f"{evidence}; they count several times, and intervals are too narrow")]


def _occurs(words: Sequence[str], text: str) -> bool:
    """Return whether a prompt, or a run of its words, occurs in a text. One or two words occur by chance."""
    if len(words) < KNOWN:
        return len(words) > 2 and f" {' '.join(words)} " in text
    return any(f" {' '.join(words[at : at + KNOWN])} " in text for at in range(len(words) - KNOWN + 1))


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = _words(text)[:READ]
    return {tuple(words[at : at + length]) for at in range(max(1, len(words) - length + 1))}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _plain(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    return repr(text if len(text) <= LONG else text[: LONG - 1] + "…")


def _bare(name: str) -> str:
    """Return the name of a model without provider, owner and date."""
    bare = name.rsplit(":", 1)[0] if name.endswith((":latest", ":free")) else name
    bare = re.split(r"[:/](?=[^:/]*$)", bare)[-1].casefold()
    return re.sub(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", bare)


def _role(member: str, model: str) -> str:
    return "the judged model" if member == model else "one of its members"
