"""Helpers for tests of the page: a real browser and a server on loopback.

    uv run --group browser python -m pytest -m browser

They use the system's Chromium (`MOA_CHROMIUM`, default /usr/bin/chromium) and the page as built from `web/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helpers.server import Served
from helpers.upstream import Reply, Upstream
from moa import Store
from moa.server.static import BUILT
from moa.telemetry import Telemetry

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

CHROMIUM = os.environ.get("MOA_CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SIX = """
default = "moa:six"

[providers.lab]
base_url = "{url}"
attempts = 2
price = { input = 1, output = 2 }

[mixtures.six]
description = "six models and a judge"
proposers = ["lab:a", "lab:b", "lab:c", "lab:d", "lab:flaky", "lab:lost"]
aggregator = "lab:judge"

[mixtures.two]
description = "two layers"
layers = [["lab:a", "lab:b"], ["lab:c", "lab:d"]]
aggregator = "lab:judge"
"""
"""A mixture of six proposers, one of which is retried and one of which fails."""

QUESTION = "Why does the sea rise and fall?"
TIDE = "The Moon pulls the sea into two bulges, and every coast turns through both of them each day."
SUN = "The Sun adds to it at new moon and at full moon, which makes the spring tides."
OWN = "Sailors have kept tables of it for a thousand years."


def six() -> dict[str, Any]:
    """Return the replies of the models of `SIX`."""
    flaky = iter([Reply(status=503, text="busy"), *[Reply("It is the Moon, mostly.")] * 9])
    return {
        "a": Reply(f"{TIDE} That is all.", pace=0.005),
        "b": Reply(f"**Two** bodies do it. {SUN}", pace=0.005),
        "c": "Gravity.",
        "d": "The sea follows the Moon.",
        "flaky": lambda body: next(flaky),
        "lost": Reply(status=401, text="no such key"),
        "judge": Reply(f"{TIDE} {SUN}\n\n- {OWN}", pace=0.005),
    }


@contextmanager
def started() -> Iterator[Browser]:
    """Start Chromium; skip the test if Playwright, from the group `browser`, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    assert (BUILT / "index.html").is_file(), "build the page first: npm --prefix web ci && npm --prefix web run build"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class PageSession:
    """An open page with its server and its models, the URLs that it requested, and its errors."""

    page: Page
    served: Served
    upstream: Upstream
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, question: str = QUESTION) -> None:
        """Type a question and send it."""
        self.page.get_by_label("Question").fill(question)
        self.page.keyboard.press("Enter")

    def ask_and_wait(self, question: str = QUESTION) -> None:
        """Ask, and wait until the answer is complete."""
        self.ask(question)
        self.page.get_by_role("button", name="Download HTML").wait_for()


def _describe(message: ConsoleMessage) -> str:
    """Return a console message and the URL that it is about."""
    return f"{message.text} {message.location['url']}"


@contextmanager
def visiting(
    chromium: Browser, says: Any = None, toml: str = SIX, telemetry: Telemetry | None = None, **context: Any
) -> Iterator[PageSession]:
    """Open the page with a server of its own.

    At the end, fail if the page had an error or sent a request to another host."""
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **context}
    with (
        Upstream(six() if says is None else says) as upstream,
        Served(toml, upstream, Store(), telemetry) as served,
        closing(chromium.new_context(base_url=served.url, **options)) as browser_context,
    ):
        visit = PageSession(browser_context.new_page(), served, upstream)
        visit.page.set_default_timeout(20_000)
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on(
            "console", lambda message: visit.errors.append(_describe(message)) if message.type == "error" else None
        )
        visit.page.goto("/")
        yield visit
        assert not visit.errors, visit.errors
        elsewhere = [url for url in visit.requests if not url.startswith((f"{served.url}/", "blob:"))]
        assert not elsewhere, elsewhere


AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
SIZES = {"desk": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}


def issues(page: Page) -> list[Any]:
    """Return the serious issues that axe finds, each with the elements concerned."""
    page.evaluate(AXE.read_text("utf-8"))  # like the driver, unaffected by the page's policy
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]
