"""Statistics on the page: plots and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_page_runs import OTHER, at, made

from helpers.browser import visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


def test_stats_are_grouped_by_mixture_and_by_model(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        made(visit)
        made(visit, OTHER, "moa:two")
        page = at(visit, "stats")
        whole = page.get_by_role("group", name="Table of mixtures")
        whole.wait_for()
        assert {row.get_by_role("rowheader").inner_text() for row in whole.get_by_role("row").all()[1:]} == {
            "moa:six",
            "moa:two",
        }
        models = page.get_by_role("group", name="Table of models")
        lost = models.get_by_role("row").filter(has_text="lab:lost")
        assert "1 (100 %)" in lost.inner_text() and "moa:six" in lost.inner_text()
        page.get_by_role("combobox", name="Mixture").select_option("moa:two")
        lost.wait_for(state="detached")
        assert models.get_by_role("row").count() == 1 + 5


def test_a_plot_can_be_read_with_the_keyboard_and_as_a_table(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        made(visit)
        page = at(visit, "stats")
        cost = page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Cost", exact=True))
        cost.get_by_role("img").focus()
        page.keyboard.press("ArrowRight")
        text = cost.get_by_text("moa:six $0.0").inner_text()
        cost.get_by_text("Show as table").click()
        assert cost.get_by_role("row").nth(1).get_by_role("cell").inner_text() == text.split("moa:six ")[1]


def test_stats_without_runs_show_an_empty_state(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        page = at(visit, "stats")
        page.get_by_text("No runs in this period.").wait_for()
        page.get_by_role("button", name="Show all time").click()
        page.get_by_text("No runs yet.").wait_for()
