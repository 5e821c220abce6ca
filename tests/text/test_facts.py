"""Facts: where two similar sentences differ in content, and where they only seem to."""

from __future__ import annotations

import pytest

from moa.text.facts import Facts, conflict, numbered


def otherwise(answer: str, proposal: str) -> str | None:
    return conflict(Facts(numbered(answer)), Facts(numbered(proposal)))


@pytest.mark.parametrize(
    ("answer", "proposal", "why"),
    [
        ("It opened in 1932.", "It opened in 1934.", "1934 where the answer says 1932"),
        ("Add 3/4 cup of milk.", "Add ½ cup of milk.", "0.5 where the answer says 0.75"),
        ("Add 1¼ cups.", "Add 2 1/4 cups.", "2.25 where the answer says 1.25"),
        ("Add 1/2 cup warm milk.", "Add 1/3 cup (80 ml) warm milk.", "0.333 where the answer says 0.5"),
        ("It has three wheels.", "It has 4 wheels.", "4 where the answer says 3"),
        ("At 1932 it was 503 metres long.", "In 1932 it was 500 metres long.", "500 where the answer says 503"),
        ("Wait 5 minutes.", "Wait five hours.", "5 hours where the answer says 5 minutes"),
        ("It is 10 km away.", "It is 10 miles away.", "10 miles where the answer says 10 km"),
        (
            "We meet on the first Monday in April.",
            "We meet on the first Monday in June.",
            "June where the answer says April",
        ),
        ("Closed on Sundays and on Monday.", "Closed on Tuesday.", "Tuesday where the answer says Monday"),
        ("It is safe to eat.", "It is not safe to eat.", "denies what the answer says: is safe"),
        ("They never use it.", "They use it.", "says what the answer denies: they use"),
    ],
)
def test_another_number_unit_date_or_a_denial_is_a_conflict(answer: str, proposal: str, why: str) -> None:
    assert otherwise(answer, proposal) == why


@pytest.mark.parametrize(
    ("answer", "proposal"),
    [
        ("Add 1/2 cup.", "Add 0.5 cups."),
        ("It has three wheels.", "It has 3 wheels."),
        ("It opened in 1932.", "It opened in 1932 and cost 4 million."),
        ("It opened then.", "It opened in 1932."),
        ("It opened in 1932.", "It weighs 40 tons."),
        ("Wait 5 min.", "Wait five minutes."),
        ("It is 10 km (6 miles) away.", "It is 10 km away."),
        ("It may rain in April.", "It may rain in April or June."),
        ("It can't be so.", "It cannot be so."),
        ("See 3/4/2021.", "See 3/4/2021."),
        ("Add 2 cups of warm milk.", "Add 500 ml of warm milk."),
    ],
)
def test_more_on_one_side_or_the_same_in_other_words_is_no_conflict(answer: str, proposal: str) -> None:
    assert otherwise(answer, proposal) is None
