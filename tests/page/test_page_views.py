"""Accessibility of the runs, mixtures and stats views: screen reader, dark and light, small screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_page_runs import at, made

from helpers.browser import SIZES, issues, six, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_each_view_has_no_serious_axe_violations_and_fits_the_screen(
    chromium: Browser, size: tuple[int, int], scheme: Any
) -> None:
    width, height = size
    answers = iter(["It is the Moon alone.", "It is the Sun alone."])
    says = {**six(), "judge": lambda body: next(answers)}
    with visiting(chromium, says, color_scheme=scheme, viewport={"width": width, "height": height}) as visit:
        first, second = made(visit), made(visit, model="moa:two")
        views = {
            "runs": "table",
            f"runs/{first}?show=calls": "table",
            f"runs/{first}?show=messages": "li summary",
            f"runs/{first}?with={second}": "del, ins",
            "mixtures": "li svg",
            "mixtures/two": "figure, pre",
            "mixtures/two?edit": "fieldset",
            "stats": "figure svg",
        }
        for place, sign in views.items():
            page = at(visit, place)
            page.locator(sign).first.wait_for()
            if "messages" in place:
                page.locator("summary").last.click()
            assert issues(page) == [], place
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place
