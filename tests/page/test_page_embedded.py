"""Runs, mixtures and statistics on the page with the embedded model."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from test_page_runs import at, made, rows

from helpers.browser import visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.embedded, pytest.mark.filterwarnings("default")]

TINY = """
default = "moa:tiny"

[mixtures.tiny]
proposers = [{ model = "local:smollm2", samples = 2 }]
aggregator = { model = "local:smollm2", max_tokens = 16 }
max_tokens = 16
"""
MODEL = "local:smollm2"
PROVERB = "What is a proverb?"
RIDDLE = "What is a riddle?"


def test_runs_of_the_embedded_model_can_be_listed_inspected_and_compared(chromium: Browser) -> None:
    with visiting(chromium, {}, TINY, permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.page.set_default_timeout(120_000)
        first, second = made(visit, PROVERB, "moa:tiny"), made(visit, RIDDLE, "moa:tiny")
        answer, other = (str(visit.served.get(f"/api/runs/{run}").json["summary"]["answer"]) for run in (first, second))
        page = at(visit, "runs")
        page.get_by_role("table").wait_for()
        assert rows(page) == [RIDDLE, PROVERB]

        page = at(visit, f"runs/{first}?show=calls")
        table = page.get_by_role("table", name="The calls of this run")
        table.get_by_role("rowheader", name=MODEL).last.wait_for()
        call_rows = [row for row in table.get_by_role("row").all()[1:] if row.get_by_role("rowheader").count()]
        names = [row.get_by_role("rowheader").inner_text() for row in call_rows]
        assert names == ["moa:tiny", "layer 1", MODEL, MODEL, MODEL]
        assert all("done" in row.inner_text() for row in call_rows)

        table.get_by_role("link", name=MODEL).last.click()
        aggregator = page.get_by_role("listitem").filter(has_text=MODEL).last
        aggregator.get_by_text("proposal 1").wait_for()
        shown = "".join(aggregator.get_by_role("region", name="system message").inner_text().split())
        for call in visit.served.get(f"/api/runs/{first}/messages").json["calls"]:
            if call["role"] == "proposer":
                assert "".join(str(call["answer"]).split()) in shown
        aggregator.get_by_role("button", name="Copy as curl").click()
        page.get_by_text("Copied").wait_for()
        line = page.evaluate("navigator.clipboard.readText()")
        assert line.startswith(f"curl {visit.served.url}/v1/chat/completions") and MODEL in line

        page = at(visit, f"runs/{first}?with={second}")
        one = page.get_by_role("group", name="Answer of run A")
        one.wait_for()
        assert "".join(one.inner_text().split()) == "".join(answer.split())
        assert "".join(page.get_by_role("group", name="Answer of run B").inner_text().split()) == "".join(other.split())
        assert "3" in page.get_by_role("region", name="Usage").get_by_role("row", name="Calls").inner_text()

        page = at(visit, "stats")
        models = page.get_by_role("group", name="Table of models")
        models.wait_for()
        model_rows = models.get_by_role("row").filter(has_text=MODEL)
        model_rows.last.wait_for()
        assert (
            model_rows.count() == 2 and "moa:tiny" in model_rows.first.inner_text()
        )  # as a proposer and as the aggregator
        for heading, name in (("First token", "moa:tiny"), ("Total time per model", MODEL)):
            plot = page.get_by_role("figure").filter(has=page.get_by_role("heading", name=heading, exact=True))
            plot.get_by_text("Show as table").click()
            assert name in plot.get_by_role("table").inner_text()


def test_a_mixture_of_the_embedded_model_can_be_edited_and_tried(chromium: Browser) -> None:
    with visiting(chromium, {}, TINY) as visit:
        page = visit.page
        page.set_default_timeout(120_000)
        made(visit, PROVERB, "moa:tiny")
        page.goto("/#/mixtures/tiny")
        names = page.get_by_role("region", name="Graph").locator("svg text.name")
        names.last.wait_for()
        assert names.all_text_contents() == ["question", "smollm2", "smollm2", "answer"]
        page.get_by_role("region", name="Latest runs").get_by_role("link").first.wait_for()
        page.get_by_text("1 run in 30 days").wait_for()
        page.get_by_role("link", name="Edit a copy").click()
        page.get_by_label("Name", exact=True).fill("mine")
        page.get_by_label("Samples of proposer 1").fill("1")
        page.get_by_text("2 calls per question").wait_for()
        page.get_by_label("Try it").fill(RIDDLE)
        page.get_by_role("button", name="Ask once").click()
        page.get_by_role("region", name="Answer").locator(".answer").wait_for()
        config = tomllib.loads(page.get_by_role("region", name="TOML").locator("pre").inner_text())
        assert list(config["mixtures"]) == ["mine"]
        assert config["mixtures"]["mine"]["proposers"] == [MODEL]
