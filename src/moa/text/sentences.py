"""Splits a text into sentences, with their positions, and respects Markdown.

A heading, a row of a table and a paragraph of a code block count as a sentence each. Marks of form (bullets, hashes,
fences, rules) belong to none. A line break within a sentence does not end it. Abbreviations are known for English,
German, French and Spanish; scripts with punctuation of their own use that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Kind = Literal["prose", "heading", "row", "code"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: `text[start:end]` of its text, counted in characters (Unicode code points)."""

    start: int
    end: int
    kind: Kind = "prose"


_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_HEADING = re.compile(r"[ \t>]{0,8}#{1,6}[ \t]+")
_RULE = re.compile(r"[ \t>]*([-*_=])(?:[ \t]*\1)+[ \t]*$")  # also the line beneath a heading
_DASHES = re.compile(r"[ \t>]*+(?:\|[ \t]*+)?:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*(?:\|[ \t]*+)?$")
_ITEM = re.compile(r"[ \t]*(?:>[ \t]*)*(?:(?:[-*+•–]|\(?\d{1,3}[.)]|\(?[a-zA-Z]\))[ \t]+(?:\[[ xX]\][ \t]+)?)?")
_WIDE = 60
"""Length in characters from which a line that ends within a sentence was wrapped."""

_END = re.compile(
    r"(?:(?<![.!?…])[.!?…]++|(?<![؟۔।॥])[؟۔।॥]++)(?:[\"'”’»)\]*_`]|\[\d+\])*(?=\s)"  # followed by space
    r"|[。！？｡]+[」』”’）】》\"'*_]*"  # not followed by any
)
_NEVER = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof st no nos fig figs eq vs e.g i.e cf approx gen gov sen rep capt col lt vol pp ed eds ch sec "
        "z.b d.h u.a bzw ca nr abb bspw sog usw. hr fr str p.ex mme mlle sr sra srta dra ej p.ej núm pág art",
    )
)
"""Abbreviations after which a sentence continues, whatever follows."""
_BEGINS = frozenset(
    re.findall(
        r"\S+",
        "the this that these those it its he she they we you i a an in on at for from with but and so if when while "
        "then there here however as after before what why how who not no yes",
    )
)
"""Words that, with a capital, begin a new sentence after an initial or "a.m."."""
_MONATE = frozenset(
    re.findall(r"\S+", "Januar Februar März April Mai Juni Juli August September Oktober November Dezember")
)


def sentences(text: str, most: int | None = None) -> list[Sentence]:
    """Return the sentences of a text in order, at most `most`. Those without a letter or digit are left out."""
    return list(islice((part for part in _pieces(text) if re.search(r"\w", text[part.start : part.end])), most))


def _pieces(text: str) -> Iterator[Sentence]:
    fence = ""
    table = quoted = False
    begun: tuple[int, int] | None = None  # the paragraph, or the part of a code block, that is being read
    lines = text.split("\n")
    start, end = 0, -1
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        before, start, end = start, end + 1, end + 1 + len(line)
        opened = _FENCE.match(line)
        if fence:
            closed = opened and opened[1].startswith(fence) and not line[opened.end() :].strip()
            if closed or not line.strip():
                yield from _cut(text, begun, "code")
                begun = None
                fence = "" if closed else fence
            else:
                begun = (begun[0] if begun else start, end)
            continue
        headed = "|" in line and "|" in following and _DASHES.match(following)
        table = bool(headed) or (table and "|" in line) or line.lstrip(" \t>").startswith("|")
        heading = _HEADING.match(line)
        mark = _ITEM.match(line)
        item = mark and mark[0].strip(" \t>")
        blank = not line.strip(" \t>\r")
        alone = opened or heading or table or blank or _RULE.match(line)
        was, quoted = quoted, line.lstrip(" \t").startswith(">")
        last = text[max(begun[0], before) : begun[1]] if begun else ""
        if begun and (alone or item or quoted != was or not _goes_on(last, line)):
            yield from _cut(text, begun, "prose")
            begun = None
        if opened:
            fence = opened[1]
        elif heading:
            yield from _cut(text, (start + heading.end(), end), "heading")
        elif table:
            if not _DASHES.match(line):
                yield from _cut(text, (start, end), "row")
        elif not alone:
            begun = (begun[0] if begun else start + (mark.end() if mark else 0), end)
    yield from _cut(text, begun, "code" if fence else "prose")


def _goes_on(last: str, line: str) -> bool:
    """Return whether a line continues the paragraph of which `last` is the last line."""
    if last.endswith(("  ", "\\")):
        return False
    first = line.lstrip(" \t>")[:1]
    return first.islower() or (len(last) >= _WIDE and not _END.search(last[-6:] + " "))


def _cut(text: str, piece: tuple[int, int] | None, kind: Kind) -> Iterator[Sentence]:
    if not piece:
        return
    start, end = piece
    if kind == "prose":
        for match in _END.finditer(text, start, end):
            if match.end() < end and _ends(text, start, match, end):
                yield from _trimmed(text, start, match.end(), kind)
                start = match.end()
    yield from _trimmed(text, start, end, kind)


def _trimmed(text: str, start: int, end: int, kind: Kind) -> Iterator[Sentence]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield Sentence(start, end, kind)


def _ends(text: str, start: int, mark: re.Match[str], end: int) -> bool:
    """Return whether a sentence that began at `start` ends with this mark."""
    if mark[0][0] in "。！？｡؟۔।॥":
        return True
    after = re.match(r"\s+[\"'“‘«„(\[*_`¿¡]*(\w*)", text[mark.end() : min(end, mark.end() + 40)])
    word = after[1] if after else ""
    if word[:1].islower():
        return False
    if mark[0][0] != "." or mark[0].startswith(".."):
        return True
    before = re.search(r"[\w.]*$", text[max(start, mark.start() - 20) : mark.start()])
    token = before[0].casefold().lstrip(".") if before else ""
    if token in _NEVER:
        return False
    if re.fullmatch(r"(?:[^\W\d_]\.)*[^\W\d_]", token):  # an initial, U.S., a.m.
        return word.casefold() in _BEGINS
    if re.fullmatch(r"\d{1,2}", token):  # the number of an item within a line, or a German date
        led = text[max(start, mark.start() - 40) : mark.start() - len(token)].rstrip()
        return word not in _MONATE and led != "" and led[-1] not in ":;,.!?"
    return True
