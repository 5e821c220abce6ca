"""Plots as SVG: their labels, their shapes, and that everything is inside and readable."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from moa.evals.report.svg import (
    Point,
    Row,
    bar_plot,
    interval_plot,
    line_plot,
    radar_plot,
    scatter_plot,
    standalone,
)
from moa.evals.stats.bootstrap import Estimate

SERIES = {
    "alone": {"a": Estimate(20, 15, 25), "b": Estimate(30, 25, 36)},
    "with answers": {"a": Estimate(40, 35, 45), "b": Estimate(44, 38, 50)},
}
LOSSES = {"gain": {"a & b": Estimate(-20, -25, -15), "c": Estimate(10, 5, 15)}}
MANY = {f"series {number}": {"a": Estimate(number, number - 1, number + 1)} for number in range(8)}

PLOTS = [
    interval_plot([Row("a & b", 3.0, 1.0, 5.0), Row("c", 0.0)], " %"),
    interval_plot([Row("a", -3.0, -4.0, 5.0)], "", zero=0),
    scatter_plot([Point("a", 1.0, 2.0, front=True), Point("b", 0.0, 2.0, 1.0, 3.0)], "x", "y"),
    scatter_plot([Point("a", 1e-6, 50.0)], "x", "y"),
    scatter_plot([Point("a", 0.01, 1.0), Point("b", 7.0, 1.0)], "x", "y"),
    scatter_plot([Point("a" * 90, 0.5, 1.0), Point("b" * 50, 0.1, 1.0), Point("c" * 50, 1.0, 1.0)], "x", "y"),
    radar_plot({"a": {"x": 1.0, "y": 4.5, "z": 3.0}}, 5),
    *(draw(series, "model", "score, %") for draw in (bar_plot, line_plot) for series in (SERIES, LOSSES, MANY)),
]


def elements(plot: str, tag: str) -> list[Element]:
    return [element for element in ElementTree.fromstring(plot).iter() if element.tag.split("}")[-1] == tag]


def texts(plot: str) -> set[str]:
    return {element.text for element in elements(plot, "text") if element.text}


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_valid_and_nothing_is_outside_it(plot: str) -> None:
    root = ElementTree.fromstring(plot)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for name in ("x1", "x2", "cx", "y1", "y2", "cy"):
            assert 0 <= float(element.attrib.get(name, 0)) <= (width if "x" in name else height)
    for text in elements(plot, "text"):
        x, wide = float(text.attrib["x"]), 7.2 * len(text.text or "")
        start = {"start": x, "middle": x - wide / 2, "end": x - wide}[text.attrib["text-anchor"]]
        assert start >= -4
        assert start + wide <= width + 4
    for bar in elements(plot, "rect"):
        assert float(bar.attrib["height"]) >= 0
        assert 0 <= float(bar.attrib["y"]) <= height - float(bar.attrib["height"])


@pytest.mark.parametrize("draw", [bar_plot, line_plot])
def test_a_plot_of_series_has_its_axes_categories_and_series_as_text(draw: object) -> None:
    plot = draw(SERIES, "model", "score, %")  # type: ignore[operator]
    assert {"model", "score, %", "a", "b", "alone", "with answers"} <= texts(plot)


def test_bars_are_as_high_as_their_values() -> None:
    heights = [float(bar.attrib["height"]) for bar in elements(bar_plot(SERIES, "model", "score"), "rect")]
    assert [height / heights[0] for height in heights] == pytest.approx([1, 1.5, 2, 2.2], abs=0.01)


def test_bars_of_losses_are_below_those_of_gains() -> None:
    loss, gain = elements(bar_plot(LOSSES, "model", "gain"), "rect")
    assert float(loss.attrib["y"]) == pytest.approx(float(gain.attrib["y"]) + float(gain.attrib["height"]), abs=0.2)


def test_a_line_connects_the_values_of_a_series_and_each_has_its_interval() -> None:
    plot = line_plot(SERIES, "layers", "score")
    paths = [line.attrib["points"].split() for line in elements(plot, "polyline")]
    centres = [f"{dot.attrib['cx']},{dot.attrib['cy']}" for dot in elements(plot, "circle") if dot.attrib["r"] == "4"]
    assert [point for path in paths for point in path] == centres
    whiskers = [line for line in elements(plot, "line") if "stroke-opacity" in line.attrib]
    assert len(whiskers) == 4
    assert all(float(line.attrib["y2"]) < float(line.attrib["y1"]) for line in whiskers)


def test_a_point_that_is_not_named_has_no_label_but_is_in_the_description() -> None:
    points = [Point("cheap", 0.1, 20.0, front=True), Point("poor & dear", 0.9, 10.0, named=False)]
    plot = scatter_plot(points, "US dollars", "score")
    assert "cheap" in texts(plot)
    assert "poor & dear" not in texts(plot)
    assert "poor & dear: 10.0 at 0.9" in ElementTree.fromstring(plot).attrib["aria-label"]


def test_names_of_points_that_are_close_do_not_cover_each_other() -> None:
    plot = scatter_plot([Point(name, 10.0, 50.0) for name in ("model a", "model b", "model c")], "x", "y")
    heights = [float(text.attrib["y"]) for text in elements(plot, "text") if (text.text or "").startswith("model")]
    assert len(heights) == 3
    assert min(abs(one - other) for one in heights for other in heights if one != other) >= 14


def test_a_file_of_a_plot_has_its_size_and_its_styles() -> None:
    root = ElementTree.fromstring(standalone(bar_plot(SERIES, "model", "score")))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [root.attrib["width"], root.attrib["height"]] == root.attrib["viewBox"].split()[2:]
    assert "prefers-color-scheme: dark" in (root[0].text or "")
