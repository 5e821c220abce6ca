"""Stitching: the text of a step joins the text before it."""

from __future__ import annotations

import pytest

from moa.mixture.strategies.staircase_stitching import StepStitcher

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.mark.parametrize(
    ("before", "text", "shown"),
    [
        ("", "Hello there.", "Hello there."),
        ("One two. ", " Three.", "Three."),
        ("One two. ", "\n\nThree.", "\n\nThree."),
        ("One two.\n\n", "\n\nThree.", "Three."),
        ("In the ", "the end.", "end."),
        ("In the ", "then and now.", "then and now."),
        ("One two. Three ", "One two. Three four.", "four."),
        ("1. Boil.\n2. ", "2. Stir.", "Stir."),
        ("空は青", "青い。", "青い。"),
        ("空は青い光が散ら", "青い光が散らばる。", "ばる。"),
        ("All done. ", "Nothing to add.", ""),
        ("All done. ", "Nothing is left of it.", "Nothing is left of it."),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_last_step_joins_the_text_before_it(before: str, text: str, shown: str, size: int) -> None:
    stitcher = StepStitcher(before, ended=False, free=None)
    pieces = [stitcher(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join((*pieces, stitcher.close(text, cut=False))) == stitcher.shown == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A short one. And a longer one that is cut o", "A short one. "),
        ("A sentence that is far too long for a st", "A sentence that is far too long for a "),
        ("- one and two\n- th", "- one and two\n"),
        ("It costs 3.50 euros he", "It costs 3.50 euros "),
        ("これは長い文です。次の文は", "これは長い文です。"),
        ("Unbroken", "Unbroken"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_step_that_was_cut_off_ends_with_a_sentence_or_a_word(text: str, shown: str, size: int) -> None:
    stitcher = StepStitcher("", ended=False, free=8)
    pieces = [stitcher(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join((*pieces, stitcher.close(text, cut=True))) == stitcher.shown == shown
