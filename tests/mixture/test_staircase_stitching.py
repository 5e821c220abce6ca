"""The words of one step join those before them."""

from __future__ import annotations

import pytest

from moa.mixture.strategies.staircase_stitching import StepStitcher


@pytest.mark.parametrize(
    ("before", "said", "shown"),
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
def test_a_last_step_joins_what_was_written(before: str, said: str, shown: str, size: int) -> None:
    joint = StepStitcher(before, ended=False, free=None)
    told = [joint(said[place : place + size]) for place in range(0, len(said), size)]
    assert "".join((*told, joint.close(said, cut=False))) == joint.shown == shown


@pytest.mark.parametrize(
    ("said", "shown"),
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
def test_a_step_that_was_cut_off_ends_with_a_sentence_or_a_word(said: str, shown: str, size: int) -> None:
    joint = StepStitcher("", ended=False, free=8)
    told = [joint(said[place : place + size]) for place in range(0, len(said), size)]
    assert "".join((*told, joint.close(said, cut=True))) == joint.shown == shown
