"""Measures the page's first paint, size, frame times and longest main-thread task while twelve models stream.

Frame gaps include other load on the machine; the longest task is in CPU time. Needs Chromium and the built page:
`uv run --group browser python bench/page.py`.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, median, mock, report, run, served

CHROMIUM = os.environ.get("MOA_CHROMIUM", "/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
ASSETS = Path(__file__).parents[1] / "src/moa/web/assets"

CARDS = 12
WORD = 8.9  # mean size of a mock word in bytes, with its space
MIXTURE = """
[mixtures.panel]
proposers = [{{ model = "mock:d0.2-w{words}-p{pace}", samples = {cards} }}]
aggregator = "mock:d0.1-w{answer}-p0.004"
"""

WATCH = """() => {
    window.frames = [];
    let last = performance.now();
    const frame = (now) => {
        window.frames.push(now - last);
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def loaded() -> float:
    """Return the gzipped size of all scripts and styles in kB."""
    files = [file for file in ASSETS.iterdir() if file.suffix in (".js", ".css")]
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in files) / 1000


OVER = """() => new Promise((resolve) => {
    const look = () => document.querySelector(".run > footer:not(.running) button") ? resolve() : setTimeout(look, 500);
    look();
})"""


def longest(trace: bytes) -> float:
    """Return the longest task of the page's main thread, in ms of CPU time."""
    events = json.loads(trace)["traceEvents"]
    named = [event for event in events if event["name"] == "thread_name"]
    main = {(one["pid"], one["tid"]) for one in named if one["args"]["name"] == "CrRendererMain"}
    tasks = [one for one in events if "RunTask" in one["name"] and (one["pid"], one["tid"]) in main]
    return max(task.get("tdur", 0) for task in tasks) / 1000


async def measure(browser: Any, url: str) -> dict[str, float]:
    """Run one question in a new tab and return its figures."""
    tab = await browser.new_context(viewport={"width": 1440, "height": 1000})
    page = await tab.new_page()
    try:
        await page.goto(url)
        await page.get_by_label("Question").wait_for()
        paint = await page.evaluate(PAINT)
        await page.get_by_label("Mixture").select_option("moa:panel")
        await page.get_by_label("Question").fill("Why?")
        await page.evaluate(WATCH)
        await browser.start_tracing(page=page, categories=["toplevel"])
        await page.keyboard.press("Enter")
        await page.evaluate(OVER)
        trace = await browser.stop_tracing()
        frames = sorted((await page.evaluate("window.frames"))[1:])
        return {
            "first paint ms": paint,
            "frames": len(frames),
            "p99 frame ms": frames[int(len(frames) * 0.99)],
            "longest frame ms": frames[-1],
            "longest task CPU ms": longest(trace),
        }
    finally:
        await tab.close()


async def main() -> None:
    from playwright.async_api import async_playwright

    options = arguments(__doc__, runs=3, kilobytes="60 240", seconds=5.0)
    rows = []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for kilobytes in map(int, options.kilobytes.split()):
            words = max(1, round(kilobytes * 1000 / CARDS / WORD))
            mixture = MIXTURE.format(
                words=words, pace=f"{options.seconds / words:.6f}", cards=CARDS, answer=min(words, 1000)
            )
            with (
                mock() as upstream,
                tempfile.TemporaryDirectory() as folder,
                served(upstream.config(Path(folder), mixture)) as server,
            ):
                items = [await measure(browser, server.url) for _ in range(options.runs)]
            rows.append(
                {"kB in 12 cards": kilobytes, "kB loaded": round(loaded(), 1)}
                | {name: median([one[name] for one in items]) for name in items[0]}
                | {"worst of all ms": max(one["longest frame ms"] for one in items)}
            )
        await browser.close()
    report("page", rows, options)


run(main())
