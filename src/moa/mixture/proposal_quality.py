"""Judges proposals by their text alone: which one is the best, which refuse, which repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..types import Response

_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m (?:very |so )?sorry|(?:i am |i['’]m )?(?:very |so )?sorry|i apologi[sz]e|unfortunately|as an ai\b|"
    r"i (?:can['’]?t|cannot|am unable|am not able)|i['’]m (?:unable|not able))",
    re.IGNORECASE,
)
_INABILITY = re.compile(r"\b(?:can['’]?t|cannot|unable|not able|won['’]?t)\b", re.IGNORECASE)


def best_proposal(proposals: Sequence[Response]) -> Response:
    """Return the proposal that can stand for all: complete, no refusal, no repetition, most similar to the others."""
    from ..text.similarity import cosines  # not needed by `import moa`, and slow to import

    similarities = cosines([proposal.text for proposal in proposals])

    def rank(index: int) -> tuple[bool, bool, bool, float]:
        proposal = proposals[index]
        sound = not refuses(proposal.text), not repeats(proposal.text), proposal.finish_reason == "stop"
        return *sound, sum(similarities[index])

    return proposals[max(range(len(proposals)), key=rank)]


def is_complete(proposal: Response) -> bool:
    """Return whether a proposal is a complete answer: not cut off, no tool call, no refusal, no repetition."""
    ended = proposal.finish_reason == "stop" and not proposal.tool_calls
    return ended and not refuses(proposal.text) and not repeats(proposal.text)


def refuses(text: str) -> bool:
    """Return whether a text is short and only says that it cannot help."""
    return len(text) < 500 and bool(_REFUSAL.search(text)) and bool(_INABILITY.search(text))


def repeats(text: str) -> bool:
    """Return whether more than half of the runs of six words in a text are repetitions."""
    words = text.casefold().split()
    runs = [tuple(words[start : start + 6]) for start in range(len(words) - 5)]
    return len(runs) >= 40 and len(set(runs)) < len(runs) / 2
