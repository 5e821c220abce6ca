"""How the words of one step join those before them, so that an answer written in steps reads as if written at once.

A step that was cut off is cut back to the end of a sentence, or at least of a word, before its last words are shown;
what the next step says again of the words before it is left out.
"""

from __future__ import annotations

import re

from ...text.scripts import UNSPACED

MEMORY = 400
"""Characters before a joint that a step may say again."""

_SPACELESS = f"{UNSPACED}\u3001\u3002\uff01\uff0c\uff1f"
"""Characters that are words by themselves, and the punctuation that goes with them."""

_WORD = re.compile(rf"\s+|[{_SPACELESS}]")
_SENTENCE = re.compile(r"(?<!\d)[.!?…][)\]\"'”’»*_`]*\s+|[。！？][”’」』）]*|\n\s*")
_NOTHING = "nothing to add"


class StepStitcher:
    """The words of one step as they are to be shown, given as they are written.

    `before` is the answer so far, `ended` that the step before had come to an end by itself. `free` is after how many
    characters only whole sentences are shown, as the step may be cut off soon; `None` for the last step, which may
    say that there is nothing to add.
    """

    def __init__(self, before: str, ended: bool, free: int | None) -> None:
        self._before = before
        self._ended = ended
        self._free = free
        self._raw = ""
        self._at: int | None = None  # how much of it has been dealt with; None while it may still be a repetition
        self._shown: list[str] = []

    @property
    def shown(self) -> str:
        """What has been shown of this step."""
        return "".join(self._shown)

    def __call__(self, words: str | None) -> str:
        """What is to be shown now that these words have been written; `None` says that all so far are void."""
        if words is None:
            self._raw, self._at, self._shown = "", None, []
            return ""
        if self._free is None and self._shown:
            self._shown.append(words)
            return words
        self._raw += words
        if self._at is None:
            self._at = self._begins(over=False)
        return self._show(self._whole())

    def close(self, text: str, cut: bool) -> str:
        """What is left to be shown when the step has ended; `cut` says that it was cut off. `text` is all that was
        written, where nobody listened."""
        self._raw = self._raw or text
        if self._at is None:
            self._at = self._begins(over=True)
        return self._show(self._last() if cut else len(self._raw))

    def _show(self, until: int) -> str:
        if self._at is None or until <= self._at:
            return ""
        told = ("" if self._shown else self._gap(self._at)) + self._raw[self._at : until]
        self._at = until
        self._shown.append(told)
        return told

    def _whole(self) -> int:
        """How far the words may be shown while more of them come."""
        if self._free is None:
            return len(self._raw)
        return max(_end(_SENTENCE, self._raw), _end(_WORD, self._raw[: self._free]))

    def _last(self) -> int:
        """How far the words are kept, where the step was cut off."""
        sentence = _end(_SENTENCE, self._raw)
        if sentence and sentence >= _end(_WORD, self._raw[: self._free]):
            return sentence
        return _end(_WORD, self._raw) or len(self._raw)

    def _begins(self, over: bool) -> int | None:
        """Where the new words begin; `None` while what is said may still turn out to be a repetition."""
        text = self._raw.lstrip()
        if self._free is None:
            plain = re.sub(r"\W+", " ", text).strip().casefold()
            if over and plain == _NOTHING:
                return len(self._raw)
            if not over and _NOTHING.startswith(plain):
                return None
        tails = _tails(self._before.rstrip())
        if not over and any(tail.startswith(text) for tail in tails):
            return None
        rest = text[next((len(tail) for tail in tails if _repeats(text, tail)), 0) :].lstrip()
        return len(self._raw) - len(rest) if rest or over else None

    def _gap(self, start: int) -> str:
        """The white space between what was written and the new words, which begin at `start`."""
        if not self._before:
            return ""
        if self._ended:
            return "\n\n"
        own = self._raw[len(self._raw[:start].rstrip()) : start]
        if self._before[-1].isspace() and ("\n" not in own or self._before.endswith("\n")):
            return ""
        return own


def whole_words(text: str) -> str:
    """The text without its last word, which may become longer."""
    return text[: _end(_WORD, text)]


def may_end(text: str) -> bool:
    """Whether a text ends with a sentence."""
    return re.search(r"[.!?…。！？][)\]\"'”’»」』）*_`]*\s*$", text) is not None


def _end(pattern: re.Pattern[str], text: str) -> int:
    """Where the last match ends; 0 without one."""
    return max((match.end() for match in pattern.finditer(text)), default=0)


def _tails(before: str) -> list[str]:
    """The ends of a text that begin with a word, the longest first."""
    end = before[-MEMORY:]
    first = [0] if end == before else []
    return [end[place:] for place in (*first, *(match.end() for match in _WORD.finditer(end))) if place < len(end)]


def _repeats(text: str, tail: str) -> bool:
    """Whether a text begins with the tail of another, in whole words. Three letters of a script without spaces may
    well be said twice."""
    if not text.startswith(tail):
        return False
    if re.match(f"[{_SPACELESS}]", tail[-1]):
        return len(tail) > 3
    return not (tail[-1].isalnum() and text[len(tail) : len(tail) + 1].isalnum())
