"""Plots of figures with their intervals: what is in them, and that they fit the page they stand in."""

from __future__ import annotations

from xml.etree import ElementTree

from moa.evals.report.plots import INK, Point, bars, lines, png, points, svg
from moa.evals.stats.bootstrap import Estimate

SERIES = {
    "alone": {"a": Estimate(20, 15, 25), "b": Estimate(30, 25, 36)},
    "with answers": {"a": Estimate(40, 35, 45), "b": Estimate(44, 38, 50)},
}


def words(drawn: str) -> set[str]:
    texts = (element for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text"))
    return {element.text for element in texts if element.text}


def test_a_plot_names_its_axes_its_places_and_its_series_as_text() -> None:
    for draw in (bars, lines):
        assert {"model", "score, %", "a", "b", "alone", "with answers"} <= words(svg(draw(SERIES, "model", "score, %")))


def test_a_plot_takes_the_colour_of_the_text_around_it() -> None:
    drawn = svg(bars(SERIES, "model", "score, %"))
    assert "currentColor" in drawn
    assert INK not in drawn
    assert "#000000" not in drawn


def test_the_same_plot_is_the_same_bytes() -> None:
    assert svg(lines(SERIES, "model", "score, %")) == svg(lines(SERIES, "model", "score, %"))
    assert png(lines(SERIES, "model", "score, %")) == png(lines(SERIES, "model", "score, %"))


def test_the_points_on_the_front_have_their_names() -> None:
    good, also, poor = Estimate(20, 15, 25), Estimate(30, 25, 35), Estimate(10, 5, 15)
    found = [Point("cheap", 0.1, good, front=True), Point("good & dear", 0.5, also, front=True), Point("no", 0.9, poor)]
    drawn = words(svg(points(found, "US dollars", "score, %")))
    assert {"cheap", "good & dear"} <= drawn
    assert "no" not in drawn


def test_a_plot_is_a_picture_too() -> None:
    assert png(bars(SERIES, "model", "score, %")).startswith(b"\x89PNG")
