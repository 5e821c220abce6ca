"""What figures are not to be trusted for: answers that game a judge, judges that favour or waver, prompts known before.

Each guard is a function of what was asked and answered; what it finds is a flag with its evidence in one sentence. No
guard proves anything, and none changes a figure: they say where to look before a figure is believed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from ...mixture.proposal_quality import refuses

Guard = Literal["constant", "alike", "refusals", "length", "self-preference", "unstable", "contaminated", "repeated"]

GAMED: frozenset[Guard] = frozenset(("constant", "alike", "contaminated"))
"""With these a figure means nothing; with the others it means less."""

FEW = 10
"""Fewer answers are not looked at: too much is alike in them by chance."""
LONG, BEGINNING = 40, 200
"""Characters from which an answer is no mere choice, number or name; and how many of it are compared."""
CONSTANT, CHOSEN = 0.05, 0.9
"""The share of answers, and of short answers, that may be one and the same."""
ALIKE, RUN, SHARED, HELD, READ = 0.1, 6, 0.5, 20, 150
"""The share of answers that may be nearly another's: those that share so much of their runs of so many words with one
of the first few answers that hold the run. So many words of each answer are read."""
REFUSALS = 0.1
"""The share of answers that may be refusals."""
DRIFT = 1.5
"""How many times as long as the baseline's answers may be, or the baseline's as these."""
UNSTABLE = 0.25
"""The share of comparisons in which a judge may change its mind with the order."""
KNOWN = 8
"""Words of a prompt in a row in an instruction that make it known."""


@dataclass(frozen=True, slots=True)
class Flag:
    """What a guard found. `model` is whose figures it is about, `None` where it is about all."""

    guard: Guard
    model: str | None
    evidence: str

    @property
    def gamed(self) -> bool:
        """Whether the figures mean nothing until this is explained."""
        return self.guard in GAMED


def constant(model: str, answers: Sequence[str]) -> list[Flag]:
    """Whether one text answers many prompts. An answer that only chooses may be the same often, but not always."""
    texts = [_plain(text) for text in answers]
    if len(texts) < FEW:
        return []
    long = Counter(text[:BEGINNING] for text in texts if len(text) >= LONG and not refuses(text))
    text, count = max(long.items(), key=lambda one: one[1], default=("", 0))
    if count <= max(2, CONSTANT * len(texts)):
        text, count = Counter(texts).most_common(1)[0]
        if count < CHOSEN * len(texts):
            return []
    told = f"{model}: {count} of {len(texts)} answers are, or begin as, one and the same text ({_short(text)})"
    return [Flag("constant", model, f"{told}; a judge can prefer that without its answering anything")]


def alike(model: str, prompts: Sequence[str], answers: Sequence[str]) -> list[Flag]:
    """Whether answers to different prompts are nearly the same, although no one text is."""
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    near, first = 0, ("", "")
    asked = list(dict.fromkeys(zip(map(_plain, prompts), answers, strict=True)))
    asked = [(prompt, text) for prompt, text in asked if len(text) >= LONG and not refuses(text)]
    runs = [_runs(text, RUN) for _, text in asked]
    for place, own in enumerate(runs):
        for run in own:
            if len(holders[run]) < HELD:
                holders[run].append(place)
    for place, own in enumerate(runs):
        shared = Counter(
            other for run in own for other in holders[run] if other != place and asked[other][0] != asked[place][0]
        )
        if shared and (top := shared.most_common(1)[0])[1] >= SHARED * len(own):
            near += 1
            first = first if first[0] else (asked[place][0], asked[top[0]][0])
    if len(answers) < FEW or near <= ALIKE * len(answers):
        return []
    such = f"such as those to {_short(first[0])} and {_short(first[1])}"
    return [Flag("alike", model, f"{model}: {near} of {len(answers)} answers are nearly the same as another's, {such}")]


def refusals(model: str, answers: Sequence[str]) -> list[Flag]:
    """Whether it says of many prompts no more than that it cannot help."""
    refused = [text for text in answers if refuses(text)]
    if len(answers) < FEW or len(refused) <= REFUSALS * len(answers):
        return []
    told = f"{model}: {len(refused)} of {len(answers)} answers refuse, such as {_short(_plain(refused[0]))}"
    return [Flag("refusals", model, f"{told}; scores say how often it answers as much as how well")]


def length(model: str, answers: Sequence[str], baseline: Sequence[str]) -> list[Flag]:
    """Whether answers are much longer or shorter than the baseline's to the same prompts."""
    pairs = [(len(one), len(other)) for one, other in zip(answers, baseline, strict=True) if one and other]
    if len(pairs) < FEW:
        return []
    times = fmean(one for one, _ in pairs) / fmean(other for _, other in pairs)
    if 1 / DRIFT <= times <= DRIFT:
        return []
    own, other = (round(median(column)) for column in zip(*pairs, strict=True))
    told = f"{model}: its answers are {times:.2g} times as long as the baseline's"
    told += f" (median {own:,} characters against {other:,})"
    return [Flag("length", model, f"{told}; judges take length for merit, so compare with length controlled")]


def self_preference(model: str, members: Sequence[str], judges: Sequence[str]) -> list[Flag]:
    """Whether a judge is among the models that it judges. Names are compared without the provider and a date."""
    own = {_bare(member): member for member in (model, *members)}
    found = [judge for judge in judges if _bare(judge) in own]
    return [
        Flag("self-preference", model, f"{model}: {judge} judges itself, as it is {_part(own[_bare(judge)], model)}")
        for judge in dict.fromkeys(found)
    ]


def unstable(model: str, verdicts: Sequence[tuple[str | None, str | None]]) -> list[Flag]:
    """Whether a judge says otherwise when the two answers stand in the other order.

    A verdict is who won, by whatever names, in the one order and in the other; `None` could not be read.
    """
    known = [(one, other) for one, other in verdicts if one is not None and other is not None]
    turned = sum(one != other for one, other in known)
    if len(known) < FEW or turned <= UNSTABLE * len(known):
        return []
    told = f"{model}: in {turned} of {len(known)} comparisons the judge changed its mind with the order of the answers"
    return [Flag("unstable", model, f"{told}; take a stronger judge, or more prompts")]


def contaminated(model: str, prompts: Sequence[str], instructions: Sequence[str]) -> list[Flag]:
    """Whether prompts stand in what a model or one of its members is told beforehand: its instruction, its examples."""
    told = [f" {' '.join(_words(text))} " for text in instructions]
    known = [prompt for prompt in prompts if any(_stands(_words(prompt), text) for text in told)]
    if not known:
        return []
    such = f"{len(known)} of {len(prompts)} prompts stand in an instruction of it, such as {_short(_plain(known[0]))}"
    return [Flag("contaminated", model, f"{model}: {such}; it was told what it is asked")]


def repeated(prompts: Sequence[str]) -> list[Flag]:
    """Whether prompts are there more than once, so that they count more than others."""
    counts = Counter(" ".join(_words(prompt)) or prompt for prompt in prompts)
    again = {text: count for text, count in counts.items() if count > 1}
    if not again:
        return []
    more = sum(again.values()) - len(again)
    told = (
        f"{more} of {len(prompts)} prompts are there again, such as {_short(max(again, key=lambda text: again[text]))}"
    )
    return [Flag("repeated", None, f"{told}; they count as often, and intervals are narrower than they should be")]


def _stands(words: Sequence[str], text: str) -> bool:
    """Whether a prompt, or a run of its words, stands in a text. Prompts of a word or two stand anywhere by chance."""
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
    """The name of a model as its maker says it: without the provider, an owner, a date."""
    bare = name.rsplit(":", 1)[0] if name.endswith((":latest", ":free")) else name
    bare = re.split(r"[:/](?=[^:/]*$)", bare)[-1].casefold()
    return re.sub(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", bare)


def _part(member: str, model: str) -> str:
    return "what is judged" if member == model else "a part of it"
