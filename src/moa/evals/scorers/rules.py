"""Rules for right and wrong answers: the same text, number or choice, or a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ...config.schema import Table
from ..task import Answer, Sample, Score, ScoringContext

CORRECT = "correct"
"""The name of the only score: 1 or 0."""

LETTERS = "ABCDEFGHIJ"
"""The letters of choices."""


class Rule(Table):
    """How an answer is compared with the right one. Text after "Answer:" takes precedence."""

    kind: Literal["exact", "numeric", "choice", "regex"]
    tolerance: Annotated[float, Field(ge=0)] = Field(1e-9, description="numeric: the largest accepted difference")
    anywhere: bool = Field(False, description="exact: also accept the answer among other words")


@dataclass(frozen=True)
class RuleScorer:
    """A scorer that applies the rule in a sample's reference: {"rule": ..., "answers": [...], "choices": [...]}."""

    needs: frozenset[str] = frozenset()

    async def score(self, sample: Sample, answer: Answer, context: ScoringContext) -> Sequence[Score]:
        reference = sample.reference
        rule = Rule.model_validate(reference["rule"])
        right, read = RULES[rule.kind](rule, answer.text, reference["answers"], reference["choices"])
        return [Score(CORRECT, float(right), {"read": read})]


Read = tuple[bool, str | None]
"""Whether an answer is right, and the part of the text that was read as the answer."""


def exact(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """Compare words, ignoring case, white space and punctuation around them."""
    given, right = plain(final(text)), [plain(str(answer)) for answer in answers]
    if rule.anywhere:
        found = next((words for words in right if re.search(rf"(?<!\w){re.escape(words)}(?!\w)", plain(text))), None)
        return found is not None, found
    return given in right, given or None


def numeric(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """Compare numbers: the first one after "Answer:", else the last one in the text."""
    marked = _after_mark(text)
    numbers = _NUMBER.findall(text if marked is None else marked)
    if not numbers:
        return False, None
    given = numbers[-1 if marked is None else 0]
    return any(abs(_number(given) - _number(str(answer))) <= rule.tolerance for answer in answers), given


def choice(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """Compare the letter, or the words, of a choice."""
    letter = _letter(text, choices)
    right = {_letter_of(str(answer), choices) for answer in answers}
    return letter in right, letter


def regex(rule: Rule, text: str, answers: Sequence[Any], choices: Sequence[str]) -> Read:
    """Search for a pattern, ignoring case."""
    match = next(filter(None, (re.search(str(answer), text, re.IGNORECASE) for answer in answers)), None)
    return match is not None, match and match[0]


RULES: dict[str, Callable[[Rule, str, Sequence[Any], Sequence[str]], Read]] = {
    "exact": exact,
    "numeric": numeric,
    "choice": choice,
    "regex": regex,
}


def final(text: str) -> str:
    """Return the rest of the line after the last "Answer:" (or "the answer is", or a box); else the whole text."""
    marked = _after_mark(text)
    return text if marked is None else marked.strip().partition("\n")[0]


def plain(text: str) -> str:
    """Return a text in lower case, with single spaces and without punctuation around it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!?\"'`*_()[]{}“”‘’„")


def format_choices(choices: Sequence[str]) -> str:
    """Return the choices as they are shown to a model."""
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
    given = final(text).strip()
    opening = re.match(rf"[\W_]*([{known}{known.lower()}])(?:[).:,\]*]|\s*$)", given) or re.match(
        rf"[\W_]*([{known}])\b(?! [a-z])",
        given,  # "A dog" is not the choice A
    )
    if opening:
        return opening[1].upper()
    if bracketed := re.findall(rf"\(([{known}])\)", given):
        return str(bracketed[-1])
    named = [letter for letter, words in zip(known, choices, strict=False) if plain(words) in plain(given)]
    return named[0] if len(named) == 1 else None


def _letter_of(answer: str, choices: Sequence[str]) -> str:
    """Return the letter of a right choice, which may be given by its words."""
    known = {plain(words): letter for letter, words in zip(LETTERS, choices, strict=False)}
    return known.get(plain(answer), answer.strip().upper())
