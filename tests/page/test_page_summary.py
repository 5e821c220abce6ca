"""The page shows the content of a run's events: a nested mixture, a retry, a failure, a cached answer."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from helpers.browser import visiting
from helpers.upstream import Body, Reply
from moa.cli.terminal.live import state
from moa.events import from_json
from moa.trace.tree import Node, Trace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TOML = """
default = "moa:all"

[providers.lab]
base_url = "{url}"
attempts = 2

[providers.kept]
base_url = "{url}"
cache = true

[mixtures.all]
proposers = ["lab:a", "lab:flaky", "lab:lost", "kept:c", "moa:pair"]
aggregator = "lab:judge"

[mixtures.pair]
proposers = ["lab:small", "lab:tiny"]
aggregator = "lab:both"
"""


def says() -> dict[str, Any]:
    """Return replies where one model is busy every second time and one fails; a word is a token."""
    counts: Counter[str] = Counter()

    def flaky(body: Body) -> Reply:
        counts["flaky"] += 1
        return Reply(status=503, text="busy") if counts["flaky"] % 2 else Reply("Gravity, and the Moon.")

    return {
        "a": "It is the Moon.",
        "flaky": flaky,
        "lost": Reply(status=401, text="no such key"),
        "c": "As before.",
        "small": "A bulge.",
        "tiny": "Two bulges, I say.",
        "both": "Two.",
        "judge": "The Moon makes two bulges.",
    }


@dataclass(frozen=True)
class Fact:
    """The state of a call, its output tokens if any, and whether it was retried or cached."""

    state: str
    tokens: int | None = None
    retried: bool = False
    cached: bool = False


def fact(node: Node) -> Fact:
    """Return the facts of a call from its events."""
    kinds = {note.kind for note in node.notes}
    tokens = node.usage.output_tokens or None if node.usage else None
    return Fact(state(node), tokens, "retry" in kinds, "cached" in kinds)


def read(shown: str) -> Fact:
    """Return the facts of a call from its text on the page."""
    found, tokens = re.search(r"\b(done|failed)\b", shown), re.search(r"([\d,]+) tok", shown)
    assert found, shown
    state = found[0]
    return Fact(state, int(tokens[1]) if tokens else None, "retried" in shown, "cached" in shown)


def shown_facts(page: Page) -> dict[str, Fact]:
    """Return the facts of every call on the page. Calls inside a proposal show only their state."""
    facts: dict[str, Fact] = {}
    for card in page.get_by_role("region", name="Layer 1").get_by_role("article").all():
        facts[str(card.get_attribute("aria-label"))] = read(" ".join(card.locator("header, .state").all_inner_texts()))
        for inner in card.get_by_role("list", name="Calls of this mixture").get_by_role("listitem").all():
            facts[inner.inner_text().split()[0]] = read(inner.inner_text())
    answer = page.get_by_role("region", name="Answer").locator(".call").inner_text()
    assert "lab:judge" in answer
    facts["lab:judge"] = read(answer)
    return facts


def test_the_page_shows_the_facts_of_every_call(chromium: Browser) -> None:
    with visiting(chromium, says(), TOML) as visit:
        before = visit.served.post("/api/runs", {"prompt": "Why?"}).json["run_id"]
        visit.served.get(f"/api/runs/{before}/events")
        visit.ask_and_wait("Why?")
        live = shown_facts(visit.page)
        run = visit.served.get("/api/runs").json["runs"][0]["id"]
        visit.page.goto(f"/#/answer/{run}")
        visit.page.get_by_role("button", name="Download HTML").wait_for()
        stored = shown_facts(visit.page)
        lines = visit.served.get(f"/api/runs/{run}/export").body.splitlines()
    trace = Trace.of(from_json(line) for line in lines)
    assert trace.root
    top = [*trace.root.children[0].children, *trace.root.children[1:]]
    inner = {node.start.model: Fact(state(node)) for node in trace.calls if node not in top}
    assert live == stored == {node.start.model: fact(node) for node in top} | inner
    assert live["kept:c"].cached and live["lab:flaky"].retried and live["lab:lost"].state == "failed"
