"""Scripts without spaces: similarity, search and the stitching of a staircase treat one text alike."""

from __future__ import annotations

import pytest

from moa.mixture.strategies.staircase_stitching import complete_words
from moa.store.search import query
from moa.text.scripts import is_unspaced, spaced
from moa.text.similarity import words


@pytest.mark.parametrize(
    "text",
    [
        "ไทย",
        "ລາວ",
        "ခဂ",
        "ខគ",
        "ひらがな",
        "カタカナ",
        "漢字",
        "㐀㐁",
        "\uf900\uf901",
        "\U00020000\U00020001",
        "\U00030000\U00030001",
    ],
    ids=["Thai", "Lao", "Burmese", "Khmer", "Hiragana", "Katakana", "Han", "extension A", "compatibility", "B", "G"],
)
def test_every_character_of_a_script_without_spaces_is_a_word_everywhere(text: str) -> None:
    assert all(map(is_unspaced, text))
    assert spaced(text).split() == list(text)
    assert len(words(text)) == len(text)
    assert query(text).strip('"').split() == list(text)
    assert [complete_words(text[:end]) for end in range(1, len(text) + 1)] == [
        text[:end] for end in range(1, len(text) + 1)
    ]


@pytest.mark.parametrize("text", ["word", "слово", "한국", "ελλάδα"], ids=["Latin", "Cyrillic", "Hangul", "Greek"])
def test_a_word_of_a_script_with_spaces_is_one_word_everywhere(text: str) -> None:
    assert not any(map(is_unspaced, text))
    assert (spaced(text), len(words(text)), query(text), complete_words(text)) == (text, 1, f'"{text}"', "")
