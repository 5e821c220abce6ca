"""What the page shows of a run is what its events tell: a nested mixture, a retry, a loss, an answer from the cache."""

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
from moa.trace.tree import Node
from moa.trace.views import folded

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
    """One model is busy every second time, one is lost; a word is a token."""
    asked: Counter[str] = Counter()

    def flaky(body: Body) -> Reply:
        asked["flaky"] += 1
        return Reply(status=503, text="busy") if asked["flaky"] % 2 else Reply("Gravity, and the Moon.")

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
    """What is told of a call: how it ended, the tokens it wrote, where it wrote any, and what happened on the way."""

    state: str
    tokens: int | None = None
    retried: bool = False
    cached: bool = False


def fact(node: Node) -> Fact:
    """What its events tell of a call."""
    kinds = {note.kind for note in node.notes}
    tokens = node.usage.output_tokens or None if node.usage else None
    return Fact(state(node), tokens, "retry" in kinds, "cached" in kinds)


def read(shown: str) -> Fact:
    """What is shown of a call."""
    found, tokens = re.search(r"\b(done|failed)\b", shown), re.search(r"([\d,]+) tok", shown)
    assert found, shown
    state = {"done": "done", "failed": "lost"}[found[0]]
    return Fact(state, int(tokens[1]) if tokens else None, "retried" in shown, "cached" in shown)


def looked(page: Page) -> dict[str, Fact]:
    """Every call on the page; of the calls inside a proposal, only how they ended is shown."""
    told: dict[str, Fact] = {}
    for card in page.get_by_role("region", name="Layer 1").get_by_role("article").all():
        told[str(card.get_attribute("aria-label"))] = read(" ".join(card.locator("header, .state").all_inner_texts()))
        for inner in card.get_by_role("list", name="Calls of this mixture").get_by_role("listitem").all():
            told[inner.inner_text().split()[0]] = read(inner.inner_text())
    answer = page.get_by_role("region", name="Answer").locator(".call").inner_text()
    assert "lab:judge" in answer
    told["lab:judge"] = read(answer)
    return told


def test_the_page_shows_of_every_call_what_its_events_tell(chromium: Browser) -> None:
    with visiting(chromium, says(), TOML) as visit:
        before = visit.served.post("/api/runs", {"prompt": "Why?"}).json["run_id"]
        visit.served.get(f"/api/runs/{before}/events")
        visit.answered("Why?")
        live = looked(visit.page)
        run = visit.served.get("/api/runs").json["runs"][0]["id"]
        visit.page.goto(f"/#/answer/{run}")
        visit.page.get_by_role("button", name="Download HTML").wait_for()
        stored = looked(visit.page)
        lines = visit.served.get(f"/api/runs/{run}/export").body.splitlines()
    trace = folded(from_json(line) for line in lines)
    assert trace.root
    top = [*trace.root.children[0].children, *trace.root.children[1:]]
    inner = {node.start.model: Fact(state(node)) for node in trace.calls if node not in top}
    assert live == stored == {node.start.model: fact(node) for node in top} | inner
    assert live["kept:c"].cached and live["lab:flaky"].retried and live["lab:lost"].state == "lost"
