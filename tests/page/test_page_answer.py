"""An answer on the page: the sources of its sentences, its link, and its HTML export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.browser import OWN, QUESTION, SUN, TIDE, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


LIT = "() => [...(CSS.highlights.get('supports') ?? [])].map(String).join('')"


def sources(page: Page) -> list[str]:
    """Return the cards that are highlighted as sources."""
    return [str(one.get_attribute("aria-label")) for one in page.locator("article.source").all()]


def sentence(page: Page, words: str):  # type: ignore[no-untyped-def]
    return page.get_by_role("region", name="Answer").locator("[data-sentence]", has_text=words)


def test_pointing_at_a_sentence_highlights_its_sources(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        sentence(visit.page, SUN).hover()
        visit.page.locator("article.source").wait_for()
        assert sources(visit.page) == ["lab:b"]
        assert visit.page.evaluate(LIT) == SUN
        sentence(visit.page, TIDE).hover()
        visit.page.locator("article[aria-label='lab:a'].source").wait_for()
        assert sources(visit.page) == ["lab:a"]
        visit.page.get_by_role("heading", level=1).hover()
        visit.page.locator("article.source").wait_for(state="detached")
        assert visit.page.evaluate(LIT) == ""


def test_sentences_that_are_in_no_proposal_are_marked(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        visit.page.locator("[data-own]").first.wait_for()
        assert visit.page.locator("[data-own]").all_inner_texts() == [OWN]


def test_arrow_keys_move_through_the_sentences(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        sentence(visit.page, TIDE).focus()
        visit.page.get_by_text("From lab:a.", exact=True).wait_for()
        visit.page.keyboard.press("ArrowRight")
        visit.page.get_by_text("From lab:b.", exact=True).wait_for()
        assert sources(visit.page) == ["lab:b"]
        visit.page.keyboard.press("ArrowRight")
        visit.page.get_by_text("Not in any proposal.", exact=True).wait_for()
        visit.page.keyboard.press("Escape")
        visit.page.get_by_text("Not in any proposal.", exact=True).wait_for(state="detached")


def test_a_copied_link_opens_the_answer_in_another_browser(chromium: Browser) -> None:
    with visiting(chromium, permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.ask_and_wait()
        visit.page.get_by_role("button", name="Copy link").click()
        visit.page.get_by_text("Link copied").wait_for()
        address = visit.page.evaluate("navigator.clipboard.readText()")
        other = chromium.new_context().new_page()
        other.goto(address)
        other.get_by_role("heading", name=QUESTION, level=1).wait_for()
        assert OWN in other.get_by_role("region", name="Answer").inner_text()
        other.context.close()


def test_the_link_of_an_unknown_run_shows_an_error(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.goto("/#/answer/01nothing")
        visit.page.get_by_role("alert").wait_for()
        assert visit.page.get_by_role("link", name="Ask a question").is_visible()
        visit.errors = [one for one in visit.errors if "404" not in one]  # the browser reports it itself


def test_an_exported_run_works_offline_and_highlights_sources_without_scripts(
    chromium: Browser, tmp_path: Path
) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        sentence(visit.page, TIDE).wait_for()
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name="Download HTML").click()
        file = tmp_path / "run.html"
        download.value.save_as(file)
    html = file.read_text("utf-8")
    assert "<script" not in html
    offline = chromium.new_context(offline=True, java_script_enabled=False)
    page, requests = offline.new_page(), []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert page.get_by_role("heading", level=1).inner_text() == QUESTION
    assert page.locator(".card").count() == 6 and "no such key" in page.locator("body").inner_text()
    passage = page.locator("[data-of]", has_text=SUN)
    before = passage.evaluate("one => getComputedStyle(one).backgroundColor")
    page.locator("[data-sentence]", has_text=SUN).hover()
    assert passage.evaluate("one => getComputedStyle(one).backgroundColor") != before
    assert requests == [file.as_uri()]
    offline.close()
