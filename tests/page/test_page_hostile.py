"""The output of a model changes nothing on the page but its own card, and causes no requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from test_page_runs import at, made

from helpers.browser import OWN, TIDE, six, visiting
from helpers.upstream import Reply

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@contextmanager
def beacon() -> Iterator[tuple[str, list[str]]]:
    """A server that records its requests."""
    hits: list[str] = []

    class Lure(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # a beacon is fetched
            hits.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Lure)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hits
    finally:
        server.shutdown()
        server.server_close()


def attacks(url: str) -> str:
    """Return Markdown and HTML that attack the page unless they are shown as text."""
    return f"""<script>document.title = "owned"; fetch("{url}/script")</script>
<img src="{url}/img" onerror="document.title='owned'"> ![beacon]({url}/markdown) <svg onload="document.title='owned'">
<style>body {{ display: none !important; background: url({url}/style) }}</style>
<link rel="stylesheet" href="{url}/link"><iframe src="{url}/frame"></iframe><object data="{url}/object"></object>
<form action="{url}/form"><input autofocus onfocus="document.title='owned'"><button id="question">go</button></form>
<base href="{url}/"><meta http-equiv="refresh" content="0;url={url}/refresh">
[click](javascript:document.title='owned') [data](data:text/html,<script>alert(1)</script>)
<a href="{url}/a" ping="{url}/ping">a</a>
<div id="main" class="panel" style="position:fixed;inset:0;z-index:99">over everything</div>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=document.title='owned'&gt;">
\u202eesrever \u2066inside\u202e out \u2067\u202b nothing is closed
{{{{constructor.constructor('document.title="owned"')()}}}} ${{document.title}} <!-- --> ]]> </div></article></main>

| a | b |
|---|---|
| <img src="{url}/cell"> | `<script>` |
"""


MEASURES = """() => {
    const place = (one) => JSON.stringify(one.getBoundingClientRect());
    const cards = [...document.querySelectorAll("article")].filter((one) => !one.querySelector("article"));
    return {
        title: document.title,
        places: cards.map(place),
        header: place(document.querySelector("header")),
        scripts: document.scripts.length,
        styles: document.styleSheets.length,
        wide: document.documentElement.scrollWidth <= innerWidth,
        strange: document.querySelectorAll(
            "main :is(img, svg[onload], iframe, object, embed, link, style, script, base, meta, math)"
        ).length,
        ids: document.querySelectorAll("#main").length,
        handlers: [...document.querySelectorAll("main *")].filter((one) =>
            [...one.attributes].some(({ name, value }) => name.startsWith("on") || /^\\s*javascript:/i.test(value))
        ).length,
    };
}"""


def test_a_hostile_proposal_changes_nothing_but_its_own_card(chromium: Browser) -> None:
    with beacon() as (url, hits):
        with visiting(chromium, {**six(), "c": "Gravity."}) as visit:
            visit.ask_and_wait()
            harmless = visit.page.evaluate(MEASURES)
        with visiting(chromium, {**six(), "c": attacks(url)}) as visit:
            visit.ask_and_wait()
            page = visit.page
            assert page.evaluate(MEASURES) == harmless
            card = page.get_by_role("article", name="lab:c", exact=True)
            assert '<script>document.title = "owned"' in card.inner_text()
            card.get_by_role("button", name="Show all").click()
            card.locator("table").wait_for()
            opened = page.evaluate(MEASURES)
            assert {**opened, "places": 0} == {**harmless, "places": 0}
            links = [str(one.get_attribute("href")) for one in card.get_by_role("link").all()]
            assert links and all(link.startswith("http") for link in links)
            assert page.get_by_role("article", name="lab:a", exact=True).get_by_text(TIDE).is_visible()
            assert OWN in page.get_by_role("region", name="Answer").inner_text()
        assert hits == []


def test_a_hostile_answer_is_text_on_the_page_and_in_the_export(chromium: Browser, tmp_path: Path) -> None:
    with beacon() as (url, hits):
        with visiting(chromium, {**six(), "judge": attacks(url)}) as visit:
            visit.ask_and_wait()
            answer = visit.page.get_by_role("region", name="Answer")
            assert '<script>document.title = "owned"' in answer.inner_text()
            measured = visit.page.evaluate(MEASURES)
            assert (measured["strange"], measured["handlers"], measured["ids"], measured["wide"]) == (0, 0, 1, True)
            assert "owned" not in measured["title"]
            with visit.page.expect_download() as download:
                visit.page.get_by_role("button", name="Download HTML").click()
            file = tmp_path / "run.html"
            download.value.save_as(file)
            reader = chromium.new_context().new_page()
            reader.goto(file.as_uri())
            reader.get_by_text('<script>document.title = "owned"').wait_for()
            assert reader.evaluate("[document.title, document.scripts.length, document.images.length]")[1:] == [0, 0]
            assert "owned" not in reader.title()
            reader.context.close()
        assert hits == []


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the judge is sent all of it
def test_the_page_stays_responsive_with_a_proposal_of_five_megabytes(chromium: Browser) -> None:
    line = "x" * 5_000_000
    with visiting(chromium, {**six(), "c": Reply(line)}) as visit:
        visit.ask_and_wait()
        page = visit.page
        measured = page.evaluate(MEASURES)
        assert measured["wide"] and measured["strange"] == 0
        assert len(page.get_by_role("article", name="lab:c", exact=True).inner_text()) < 100_000
        page.get_by_role("article", name="lab:a", exact=True).get_by_text(TIDE).wait_for()
        assert OWN in page.get_by_role("region", name="Answer").inner_text()
        page.get_by_label("Question").last.fill("Still there?")
        assert page.get_by_label("Question").last.input_value() == "Still there?"


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the judge is sent all of it
def test_the_messages_view_stays_responsive_with_a_proposal_of_five_megabytes(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "c": Reply("x" * 5_000_000)}) as visit:
        run = made(visit)
        page = at(visit, f"runs/{run}?show=calls")
        page.get_by_role("table", name="The calls of this run").get_by_role("link", name="lab:judge").click()
        judge = page.get_by_role("listitem").filter(has_text="lab:judge")
        judge.get_by_text("proposal 1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.body.innerText.length") < 1_000_000
        page.get_by_role("link", name="Answer", exact=True).click()
        page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()


def test_bidirectional_control_characters_affect_only_their_own_card(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "c": "\u202e\u2067\u202b never closed"}) as visit:
        visit.ask_and_wait()
        words = visit.page.get_by_role("article", name="lab:c", exact=True).locator(".prose")
        assert words.evaluate("one => getComputedStyle(one).unicodeBidi") == "isolate"
        names = visit.page.locator("article h3 bdi").all_inner_texts()
        assert names == ["lab:a", "lab:b", "lab:c", "lab:d", "lab:flaky", "lab:lost"]
