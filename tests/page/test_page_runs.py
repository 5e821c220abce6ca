"""Runs on the page: search, inspection, comparison, deletion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from helpers.browser import OWN, QUESTION, PageSession, six, visiting
from helpers.upstream import Reply

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

OTHER = "Who named the neap tide?"


MEMBERS = [f"lab:{name}" for name in ("a", "b", "c", "d", "flaky", "lost", "judge")]


def made(visit: PageSession, question: str = QUESTION, model: str = "moa:six") -> str:
    """Complete a run over HTTP, as another client would. Return its id."""
    run = visit.served.post("/api/runs", {"model": model, "prompt": question}).json["run_id"]
    visit.served.get(f"/api/runs/{run}/events")
    return str(run)


def at(visit: PageSession, place: str) -> Page:
    """Open a route of the page."""
    visit.page.goto(f"/#/{place}")
    return visit.page


def rows(page: Page) -> list[str]:
    """Return the questions in the list."""
    return [one.inner_text() for one in page.get_by_role("rowheader").get_by_role("link").all()]


def test_runs_can_be_searched_and_filtered_by_mixture_and_state(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        made(visit)
        made(visit, OTHER, "moa:two")
        page = at(visit, "runs")
        page.get_by_role("table").wait_for()
        assert rows(page) == [OTHER, QUESTION]
        page.get_by_role("searchbox").fill("neap")
        page.get_by_role("link", name=QUESTION).wait_for(state="detached")
        assert rows(page) == [OTHER] and "search=neap" in page.url
        page.get_by_role("searchbox").fill("")
        page.get_by_role("link", name=QUESTION).wait_for()
        page.get_by_label("Mixture").select_option("moa:six")
        page.get_by_role("link", name=OTHER).wait_for(state="detached")
        assert rows(page) == [QUESTION]
        page.get_by_label("State").select_option("failed")
        page.get_by_text("No runs match.").wait_for()
        page.get_by_role("button", name="Show all runs").click()
        page.get_by_role("table").wait_for()
        assert rows(page) == [OTHER, QUESTION]


def test_an_empty_list_links_to_the_ask_view(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        page = at(visit, "runs")
        page.get_by_role("link", name="Ask a question").click()
        page.get_by_label("Question").wait_for()


def test_the_timeline_shows_all_calls_of_a_run(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        run = made(visit)
        page = at(visit, f"runs/{run}")
        page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()
        page.get_by_role("navigation", name="Parts of the run").get_by_role("link", name="Timeline").click()
        table = page.get_by_role("table", name="The calls of this run")
        table.get_by_role("rowheader", name="lab:judge").wait_for()
        call_rows = [row for row in table.get_by_role("row").all()[1:] if row.get_by_role("rowheader").count()]
        texts = {row.get_by_role("rowheader").inner_text(): row.inner_text() for row in call_rows}
        assert list(texts) == ["moa:six", "layer 1", *MEMBERS]
        assert "retried" in texts["lab:flaky"] and "failed" in texts["lab:lost"] and "done" in texts["lab:judge"]
        assert re.search(r"to first token \d+\.\d s, writing \d+\.\d s", texts["lab:judge"])
        assert "no such key" in table.inner_text()


def test_the_messages_view_shows_what_was_sent_with_proposals_set_apart(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        run = made(visit)
        page = at(visit, f"runs/{run}?show=calls")
        page.get_by_role("link", name="lab:judge").click()
        judge = page.get_by_role("listitem").filter(has_text="lab:judge")
        judge.get_by_text("proposal 1").wait_for()
        (call,) = visit.upstream.to("judge")
        shown = judge.get_by_role("region", name="system message").inner_text()
        for part in call.system.split("\n"):
            assert part in shown
        assert judge.get_by_role("region", name="user message").inner_text().endswith(QUESTION)


def test_a_call_can_be_copied_as_a_curl_command(chromium: Browser) -> None:
    with visiting(chromium, permissions=["clipboard-read", "clipboard-write"]) as visit:
        run = made(visit)
        page = at(visit, f"runs/{run}?show=messages")
        page.get_by_text("lab:a", exact=True).click()
        page.get_by_role("listitem").filter(has_text="lab:a").get_by_role("button", name="Copy as curl").click()
        page.get_by_text("Copied").wait_for()
        line = page.evaluate("navigator.clipboard.readText()")
        assert line.startswith(f"curl {visit.upstream.url}/chat/completions") and '"model": "a"' in line


def test_two_runs_can_be_selected_and_compared(chromium: Browser) -> None:
    answers = iter(["It is the Moon alone.", "It is the Sun alone."])
    with visiting(chromium, {**six(), "judge": lambda body: next(answers)}) as visit:
        first, second = made(visit), made(visit)
        page = at(visit, f"runs/{first}")
        page.get_by_role("link", name="Compare…").click()
        page.get_by_role("checkbox", name=f"Compare {QUESTION}").first.check()
        page.get_by_role("link", name="Compare the two").click()
        one = page.get_by_role("group", name="Answer of run A")
        one.wait_for()
        assert page.url.endswith(f"#/runs/{first}?with={second}")
        assert (one.inner_text(), one.locator("del").inner_text()) == ("It is the Moon alone.", "Moon")
        other = page.get_by_role("group", name="Answer of run B")
        assert (other.inner_text(), other.locator("ins").inner_text()) == ("It is the Sun alone.", "Sun")
        assert "7" in page.get_by_role("region", name="Usage").get_by_role("row", name="Calls").inner_text()


def test_deleting_a_run_needs_a_confirmation(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        run = made(visit)
        page = at(visit, f"runs/{run}")
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert visit.served.get(f"/api/runs/{run}").status == 200
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        page.get_by_text("No runs yet.").wait_for()
        assert visit.served.get(f"/api/runs/{run}").status == 404


def test_the_list_follows_a_run_in_progress(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "d": Reply("never", delay=60)}) as visit:
        run = visit.served.post("/api/runs", {"prompt": QUESTION}).json["run_id"]
        page = at(visit, "runs")
        page.get_by_role("cell", name="running").wait_for()
        visit.served.ask("DELETE", f"/api/runs/{run}")
        page.get_by_role("cell", name="stopped").wait_for()


HOSTILE = (
    '<img src=x onerror="document.title=1"> <script>document.title=2</script> </div></main> '
    "\u202e desrever \u202c [a](javascript:alert(1)) ![b](http://127.0.0.1:9/beacon) <style>*{display:none}</style>"
)


def test_questions_and_proposals_are_shown_as_text_in_every_view(chromium: Browser) -> None:
    answers = iter([f"{HOSTILE} one", f"{HOSTILE} two"])
    with visiting(chromium, {**six(), "a": HOSTILE, "judge": lambda body: next(answers)}) as visit:
        first, second = made(visit, HOSTILE), made(visit, HOSTILE)
        for place in (
            "runs",
            *(f"runs/{first}?{shown}" for shown in ("show=calls", "show=messages", f"with={second}")),
        ):
            page = at(visit, place)
            page.get_by_text("<script>").first.wait_for()
            assert page.title().endswith("moa"), place
            assert page.locator("main :is(img, script, style, [onerror], a[href^=javascript])").count() == 0, place
            assert page.get_by_role("navigation", name="Views").is_visible(), place
