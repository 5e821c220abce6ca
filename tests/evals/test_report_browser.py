"""The report of an evaluation in a browser: accessible, on any screen, without network."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_report import both

from helpers.browser import SIZES, issues
from moa.evals.report.report import write_report
from moa.evals.report.verdict import store_worth
from moa.evals.results_folder import ResultsFolder
from moa.evals.stats.comparison import Rival, worth

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


def written(folder: Path) -> Path:
    """Write the report of an evaluation with a verdict on a mixture."""
    with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop on this one
        there: ResultsFolder = thread.submit(lambda: asyncio.run(both(folder))).result()
    rivals = [Rival(name, [1.0, 0.0, -1.0, 1.0] * 3, 0.001, 1.0, list(range(12))) for name in ("bad", "a" * 60)]
    store_worth(there, "good", worth(rivals, cost=0.02, seconds=2.0))
    return write_report(there)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_it_is_legible_makes_no_requests_and_fits_the_screen(
    chromium: Browser, tmp_path: Path, size: tuple[int, int], scheme: Any
) -> None:
    width, height = size
    url = written(tmp_path).as_uri()
    asked: list[str] = []
    with closing(chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": height})) as looked:
        page = looked.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.locator("summary").first.click()
        assert issues(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        first = page.locator("main > *").nth(1)
        assert first.inner_text().startswith("good is")
        assert page.locator("svg").count() == 3
    assert asked == [url]
