"""Mixtures on the page: the graph, the editor and its TOML."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from helpers.browser import OWN, SIX, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

SMALL = '[mixtures.small]\nproposers = ["lab:c"]\naggregator = "lab:judge"\n'

NESTED = f"""{SIX}
[mixtures.nested]
proposers = ["moa:two", {{ model = "lab:a", samples = 3 }}]
aggregator = "lab:judge"
"""


def toml(page: Page) -> dict[str, object]:
    """Return the TOML of the editor, once it is valid."""
    page.get_by_text("✓ Valid").wait_for()
    config: dict[str, object] = tomllib.loads(page.get_by_role("region", name="TOML").locator("pre").inner_text())
    return config


def test_each_mixture_has_a_graph_and_a_description_for_screen_readers(chromium: Browser) -> None:
    with visiting(chromium, toml=NESTED) as visit:
        page = visit.page
        page.goto("/#/mixtures")
        nested = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="nested"))
        assert "9 calls per question" in nested.inner_text()
        assert nested.get_by_role("list").inner_text() == "layer 1: mixture two, a 3 times\naggregator: judge"
        page.get_by_role("link", name="nested").click()
        names = page.get_by_role("region", name="Graph").locator("svg text.name")
        names.last.wait_for()
        assert names.all_text_contents() == ["question", "two", "a", "judge", "answer"]
        page.get_by_role("region", name="Members").get_by_role("link", name="moa:two").click()
        page.get_by_role("heading", name="two", exact=True).wait_for()


def test_a_mixture_lists_its_latest_runs(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.goto("/#/mixtures/six")
        visit.page.get_by_text("No runs yet.").wait_for()
        visit.page.goto("/")
        visit.ask_and_wait()
        visit.page.goto("/#/mixtures/six")
        visit.page.get_by_role("region", name="Latest runs").get_by_role("link").first.click()
        visit.page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()


def test_changes_in_the_form_update_the_toml(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        page = visit.page
        page.goto("/#/mixtures/two")
        page.get_by_role("link", name="Edit a copy").click()
        assert toml(page)["mixtures"]["two"]["layers"] == [["lab:a", "lab:b"], ["lab:c", "lab:d"]]  # type: ignore[index]
        page.get_by_label("Name", exact=True).fill("mine")
        page.get_by_label("separate proposers for each layer").uncheck()
        page.get_by_label("Temperature of proposer 2").fill("0.5")
        page.get_by_label("Samples of proposer 1").fill("3")
        page.get_by_label("Quorum").fill("2")
        page.locator("pre", has_text="quorum").wait_for()
        assert toml(page)["mixtures"] == {
            "mine": {
                "description": "two layers",
                "layers": 3,
                "proposers": [{"model": "lab:a", "samples": 3}, {"model": "lab:b", "temperature": 0.5}],
                "aggregator": "lab:judge",
                "quorum": 2,
            }
        }


def test_an_invalid_mixture_shows_the_error_of_the_configuration(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        page = visit.page
        page.goto("/#/mixtures/six?edit")
        page.get_by_label("Quorum").fill("9")
        page.get_by_text(re.compile(r"mixtures\.six.*quorum.*\b9\b")).wait_for()
        page.get_by_label("Try it").fill("Why?")
        assert page.get_by_role("button", name="Ask once").is_disabled()
        page.get_by_label("Quorum").fill("2")
        page.get_by_text("✓ Valid").wait_for()
        assert page.get_by_role("button", name="Ask once").is_enabled()


def test_a_new_mixture_can_be_written_as_toml_and_tried(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        page = visit.page
        page.goto("/#/mixtures")
        page.get_by_role("link", name="New mixture").click()
        page.get_by_text("✓ Valid").wait_for()
        page.get_by_role("button", name="TOML", exact=True).click()
        page.get_by_role("textbox", name="TOML").fill(SMALL)
        page.get_by_text("2 calls per question").wait_for()
        page.get_by_label("Try it").fill("Why?")
        page.get_by_role("button", name="Ask once").click()
        page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()
        assert [call.model for call in visit.upstream.calls] == ["c", "judge"]
        page.get_by_role("button", name="Form").click()
        assert page.get_by_label("Model of proposer 1").input_value() == "lab:c"
