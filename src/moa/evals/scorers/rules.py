"""Answers that are right or wrong, told by rule: the same text, the same number, the same choice, a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ...config.schema import Table
from ..sample import Answer, Sample, Score
from ..task import ScoringContext

CORRECT = "correct"
"""The name of the one score: 1 or 0."""

LETTERS = "ABCDEFGHIJ"
"""What choices are called."""


class Rule(Table):
    """How an answer is compared with the right one. What a model says after "Answer:" goes before the rest."""

    kind: Literal["exact", "numeric", "choice", "regex"]
    tolerance: Annotated[float, Field(ge=0)] = Field(1e-9, description="numeric: how far off is still right")
    anywhere: bool = Field(False, description="exact: right also where it stands among other words")


@dataclass(frozen=True)
class ByRule:
    """Scores by the rule in a sample's reference: {"rule": ..., "answers": [...], "choices": [...]}."""

    needs: frozenset[str] = frozenset()

    async def score(self, sample: Sample, answer: Answer, judging: ScoringContext) -> Sequence[Score]:
        told = sample.reference
        rule = Rule.model_validate(told["rule"])
        right, read = RULES[rule.kind](rule, answer.text, told["answers"], told["choices"])
        return [Score(CORRECT, float(right), {"read": read})]


Read = tuple[bool, str | None]
"""Whether an answer is right, and what was read in it as the answer."""


def exact(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """The same words, but for case, space and the punctuation around them."""
    said, wanted = plain(final(text)), [plain(str(answer)) for answer in answers]
    if rule.anywhere:
        found = next((one for one in wanted if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", plain(text))), None)
        return found is not None, found
    return said in wanted, said or None


def numeric(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """The same number: the first one after "Answer:", else the last one in the text."""
    marked = _after_mark(text)
    found = _NUMBER.findall(text if marked is None else marked)
    if not found:
        return False, None
    said = found[-1 if marked is None else 0]
    return any(abs(_number(said) - _number(str(one))) <= rule.tolerance for one in answers), said


def choice(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """The same letter, or the words of the same choice."""
    letter = _letter(text, choices)
    wanted = {_letter_of(str(one), choices) for one in answers}
    return letter in wanted, letter


def regex(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """A pattern is found in the text, whatever the case."""
    found = next(filter(None, (re.search(str(one), text, re.IGNORECASE) for one in answers)), None)
    return found is not None, found and found[0]


RULES: dict[str, Callable[[Rule, str, Sequence[Any], Sequence[str]], Read]] = {
    "exact": exact,
    "numeric": numeric,
    "choice": choice,
    "regex": regex,
}


def final(text: str) -> str:
    """What stands after the last "Answer:" (or "the answer is", or in a box), up to the end of its line; else all."""
    marked = _after_mark(text)
    return text if marked is None else marked.strip().partition("\n")[0]


def plain(text: str) -> str:
    """The words of a text without case, more space than needed, and punctuation around them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!?\"'`*_()[]{}“”‘’„")


def lettered(choices: Sequence[str]) -> str:
    """The choices as they are shown to a model."""
    return "\n".join(f"{letter}) {words}" for letter, words in zip(LETTERS, choices, strict=False))


_MARK = re.compile(r"(?i)\banswer\b\s*(?:is\b\s*:?|[:=])|\\boxed\{|####")
_NUMBER = re.compile(r"(?<![\w.])[-−+]?\d+(?:[,'’]\d{3})*(?:\.\d+)?|(?<![\w.])[-−+]?\.\d+")


def _after_mark(text: str) -> str | None:
    marks = list(_MARK.finditer(text))
    return text[marks[-1].end() :].lstrip(" *_") if marks and text[marks[-1].end() :].strip() else None


def _number(text: str) -> float:
    return float(re.sub(r"[,'’ ]", "", text).replace("−", "-"))


def _letter(text: str, choices: Sequence[str]) -> str | None:
    known = LETTERS[: len(choices)] if choices else LETTERS
    said = final(text).strip()
    opening = re.match(rf"[\W_]*([{known}{known.lower()}])(?:[).:,\]*]|\s*$)", said) or re.match(
        rf"[\W_]*([{known}])\b(?! [a-z])",
        said,  # "A dog" is no A
    )
    if opening:
        return opening[1].upper()
    if bracketed := re.findall(rf"\(([{known}])\)", said):
        return str(bracketed[-1])
    spoken = [letter for letter, words in zip(known, choices, strict=False) if plain(words) in plain(said)]
    return spoken[0] if len(spoken) == 1 else None


def _letter_of(answer: str, choices: Sequence[str]) -> str:
    """The letter of the right choice, which may be given by its words."""
    known = {plain(words): letter for letter, words in zip(LETTERS, choices, strict=False)}
    return known.get(plain(answer), answer.strip().upper())
