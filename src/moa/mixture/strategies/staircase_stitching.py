"""Joins the text of consecutive steps: removes repeats and fixes spacing.

A step that was cut off is cut back to the end of a sentence, or at least of a word, before its last words are shown.
What the next step repeats of the text before it is left out.
"""

from __future__ import annotations

import re
from functools import cache

from ...text.scripts import UNSPACED

MEMORY = 400
"""Characters at the end of the answer so far that a step may repeat."""

_SPACELESS = f"{UNSPACED}\u3001\u3002\uff01\uff0c\uff1f"
"""Characters that are words by themselves, and the punctuation that goes with them."""

_SENTENCE = re.compile(r"(?<!\d)[.!?…][)\]\"'”’»*_`]*\s+|[。！？][”’」』）]*|\n\s*")
_NOTHING = "nothing to add"


class StepStitcher:
    """Receives the text of one step as it streams, and returns the text to show.

    `before` is the answer so far; `ended` says that the step before ended by itself. After `free` characters only
    complete sentences are shown, because the step may be cut off soon. It is `None` for the last step, which may say
    that there is nothing to add.
    """

    def __init__(self, before: str, ended: bool, free: int | None) -> None:
        self._before = before
        self._ended = ended
        self._free = free
        self._raw = ""
        self._position: int | None = None  # up to where it is shown or left out; None while it may be a repetition
        self._shown: list[str] = []

    @property
    def shown(self) -> str:
        """The text shown of this step."""
        return "".join(self._shown)

    def __call__(self, text: str | None) -> str:
        """Return the text to show after this text was written; `None` voids everything so far."""
        if text is None:
            self._raw, self._position, self._shown = "", None, []
            return ""
        if self._free is None and self._shown:
            self._shown.append(text)
            return text
        self._raw += text
        if self._position is None:
            self._position = self._start(over=False)
        return self._show(self._safe_end())

    def close(self, text: str, cut: bool) -> str:
        """Return the rest to show at the end of the step. `cut` says that it was cut off.

        `text` is the whole text of the step, in case it was not streamed.
        """
        self._raw = self._raw or text
        if self._position is None:
            self._position = self._start(over=True)
        return self._show(self._cut_end() if cut else len(self._raw))

    def _show(self, end: int) -> str:
        if self._position is None or end <= self._position:
            return ""
        text = ("" if self._shown else self._gap(self._position)) + self._raw[self._position : end]
        self._position = end
        self._shown.append(text)
        return text

    def _safe_end(self) -> int:
        """Return how far the text may be shown while more of it comes."""
        if self._free is None:
            return len(self._raw)
        return max(_end(_SENTENCE, self._raw), _end(_word(), self._raw[: self._free]))

    def _cut_end(self) -> int:
        """Return how far the text of a step that was cut off is kept."""
        sentence = _end(_SENTENCE, self._raw)
        if sentence and sentence >= _end(_word(), self._raw[: self._free]):
            return sentence
        return _end(_word(), self._raw) or len(self._raw)

    def _start(self, over: bool) -> int | None:
        """Return where the new text starts, or `None` while all of it may turn out to be a repetition."""
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
        """Return the white space between the answer so far and the new text, which starts at `start`."""
        if not self._before:
            return ""
        if self._ended:
            return "\n\n"
        own = self._raw[len(self._raw[:start].rstrip()) : start]
        if self._before[-1].isspace() and ("\n" not in own or self._before.endswith("\n")):
            return ""
        return own


def complete_words(text: str) -> str:
    """Return the text without its last word, which may become longer."""
    return text[: _end(_word(), text)]


def may_end(text: str) -> bool:
    """Return whether a text ends with a sentence."""
    return re.search(r"[.!?…。！？][)\]\"'”’»」』）*_`]*\s*$", text) is not None


def _end(pattern: re.Pattern[str], text: str) -> int:
    """Return the end of the last match, or 0."""
    return max((match.end() for match in pattern.finditer(text)), default=0)


def _tails(before: str) -> list[str]:
    """Return the ends of a text that begin with a word, the longest first."""
    end = before[-MEMORY:]
    first = [0] if end == before else []
    starts = (*first, *(match.end() for match in _word().finditer(end)))
    return [end[start:] for start in starts if start < len(end)]


def _repeats(text: str, tail: str) -> bool:
    """Return whether a text begins with the tail of another, in complete words.

    In a script without spaces, three letters may recur by chance.
    """
    if not text.startswith(tail):
        return False
    if re.match(f"[{_SPACELESS}]", tail[-1]):
        return len(tail) > 3
    return not (tail[-1].isalnum() and text[len(tail) : len(tail) + 1].isalnum())


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of what ends a word. It takes milliseconds to compile, so not at import."""
    return re.compile(rf"\s+|[{_SPACELESS}]")
