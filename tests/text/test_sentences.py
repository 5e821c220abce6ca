"""Sentences end where a reader would end them, in prose, Markdown and scripts with their own punctuation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.text.sentences import sentences


def cut(text: str) -> list[str]:
    return [text[one.start : one.end] for one in sentences(text)]


@pytest.mark.parametrize(
    "parts",
    [
        ["It rains.", "Stay in!", "Why not?", "Well..."],
        ["Dr. Ames met J. R. Hill at 5 p.m. on Monday.", "He left."],
        ["They met at 5 p.m.", "The talk, e.g. on costs, took 3.5 hours."],
        ["The U.S. Senate met.", "Mr. Hill, i.e. the tall one, vs. Mrs. Hill: no. 5 won."],
        ['"Why?" he asked.', '"Because."', "“It is so.”", "She left (at last.)", "Good."],
        ["He said so.[1]", "**She did not.**", "_Nor did they._", "Right…", "Then?!"],
        ["It was 1999.", "There were 12.", "We saw example.com and v1.2.3 of it."],
        ["Das kostet ca. 5 Euro, z. B. heute.", "Am 3. Oktober war es so.", "Gut."],
        ["¿Por qué?", "¡Porque sí!", "El Sr. Paz lo vio."],
        ["यह है।", "क्या यह है?", "ہاں۔", "لماذا؟"],
    ],
)
def test_prose_is_cut_at_the_ends_of_its_sentences(parts: list[str]) -> None:
    assert cut(" ".join(parts)) == parts


def test_scripts_without_spaces_are_cut_at_their_own_marks() -> None:
    assert cut("今天天气很好。我们去公园吧！「真的吗？」他问。") == [
        "今天天气很好。",
        "我们去公园吧！",
        "「真的吗？」",
        "他问。",
    ]


MARKDOWN = """\
# A title

Some text that
goes on. And more.

1. **First.** Do this.
2. Second
   - [ ] nested
> quoted words
> go on.

| a | b |
|---|:-:|
| 1. x | 2. Y |

Name | Age
--- | ---
Tom | 3
After it.

Setext
======

---
```python
def f():
    return "A. B."

print(f())
```
~~~
~~~
Roses are red,
Violets are blue.
"""


def test_markdown_is_read_and_its_marks_belong_to_no_sentence() -> None:
    assert [(one.kind, MARKDOWN[one.start : one.end]) for one in sentences(MARKDOWN)] == [
        ("heading", "A title"),
        ("prose", "Some text that\ngoes on."),
        ("prose", "And more."),
        ("prose", "**First.**"),
        ("prose", "Do this."),
        ("prose", "Second"),
        ("prose", "nested"),
        ("prose", "quoted words\n> go on."),
        ("row", "| a | b |"),
        ("row", "| 1. x | 2. Y |"),
        ("row", "Name | Age"),
        ("row", "Tom | 3"),
        ("prose", "After it."),
        ("prose", "Setext"),
        ("code", 'def f():\n    return "A. B."'),
        ("code", "print(f())"),
        ("prose", "Roses are red,"),
        ("prose", "Violets are blue."),
    ]


def test_code_whose_fence_is_never_closed_is_code_to_the_end() -> None:
    assert [one.kind for one in sentences("Look.\n```\na = 1\n\nb = 2. C")] == ["prose", "code", "code"]


def test_a_line_that_was_broken_for_its_length_goes_on() -> None:
    line = "The committee, which had met every second week for years, heard from"
    assert cut(f"{line}\nMarie Hill. She spoke.") == [f"{line}\nMarie Hill.", "She spoke."]


@given(st.text(alphabet="aB. \n|-#`>。!?1*\r\t", max_size=80))
def test_sentences_are_in_order_apart_from_each_other_and_lose_no_letter(text: str) -> None:
    found = sentences(text)
    places = [place for one in found for place in (one.start, one.end)]
    assert places == sorted(places)
    assert all(one.start < one.end <= len(text) for one in found)
    inside = {place for one in found for place in range(one.start, one.end)}
    lost = {text[place] for place in range(len(text)) if place not in inside}
    assert "a" not in lost or "`" in text  # except words after a fence


@pytest.mark.parametrize(
    "text",
    [
        "Go" + "!" * 200_000,
        "See " + "1. " * 60_000,
        "a | b\n" + " " * 200_000 + "x",
        "a | b\n---" + " " * 200_000 + "x",
        "so it goes\n" * 60_000,
    ],
    ids=["marks", "numbers", "spaces", "dashes", "lines"],
)
def test_text_of_a_model_that_has_lost_its_way_is_cut_too(text: str) -> None:  # and quickly
    assert "".join(cut(text)).replace("\n", "").replace(" ", "") in text.replace("\n", "").replace(" ", "")
