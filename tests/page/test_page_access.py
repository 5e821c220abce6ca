"""Accessibility of the page: keyboard, screen reader, dark and light, small screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helpers.browser import OWN, SIZES, issues, visiting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_the_ask_view_has_no_serious_axe_violations_and_fits_the_screen(
    chromium: Browser, size: tuple[int, int], scheme: Any
) -> None:
    width, height = size
    with visiting(chromium, color_scheme=scheme, viewport={"width": width, "height": height}) as visit:
        page = visit.page
        page.get_by_label("Question").wait_for()
        assert issues(page) == []
        visit.ask_and_wait()
        page.locator("[data-own]").first.wait_for()
        page.get_by_role("button", name="Re-run…").click()
        page.get_by_text("1 call, about").wait_for()
        assert issues(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        visit.page.goto(f"/#/answer/{visit.served.get('/api/runs').json['runs'][0]['id']}")
        page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()
        assert issues(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_asking_and_reading_the_answer_needs_only_the_keyboard(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        keyboard, page = visit.page.keyboard, visit.page
        page.get_by_label("Question").wait_for()
        keyboard.type("What is the tide?")  # the field has the focus from the start
        keyboard.press("Enter")
        page.get_by_role("button", name="Download HTML").wait_for()
        page.locator("[data-sentence][tabindex='0']").wait_for()
        reached: list[str] = []
        for _ in range(60):
            keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.innerText.trim().split('\\n')[0]"))
        for wanted in ("Skip to content", "New question", "Copy", "Copy link", "Download HTML", "Re-run…"):
            assert wanted in reached, wanted
        assert any(one.startswith("The Moon pulls the sea") for one in reached)


def test_progress_is_announced_to_screen_readers_but_not_the_streamed_text(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.evaluate(
            """() => {
                window.announcements = [];
                new MutationObserver((changes) => {
                    for (const { target } of changes) {
                        const element = target.nodeType === 1 ? target : target.parentElement;
                        const live = element?.closest("[role=status], [aria-live]");
                        if (live?.textContent.trim()) announcements.push(live.textContent.trim());
                    }
                }).observe(document.body, { subtree: true, childList: true, characterData: true });
            }"""
        )
        visit.ask_and_wait()
        announcements = visit.page.evaluate("[...new Set(announcements)]")
        assert "The answer is complete." in announcements
        assert len(announcements) < 14, announcements
        assert not [one for one in announcements if "Moon" in one]


def test_the_theme_follows_the_system_until_the_user_chooses(chromium: Browser) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    with visiting(chromium, color_scheme="dark") as visit:
        dark = visit.page.evaluate(ground)
        visit.page.get_by_role("button", name="Light theme").click()
        light = visit.page.evaluate(ground)
        assert dark != light
        visit.page.reload()
        visit.page.get_by_role("button", name="Dark theme").wait_for()
        assert visit.page.evaluate(ground) == light


def test_streaming_text_does_not_shift_the_layout(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.evaluate(
            """() => {
                window.shifts = [];
                new PerformanceObserver((list) => {
                    for (const one of list.getEntries()) if (!one.hadRecentInput) shifts.push(one.value);
                }).observe({ type: "layout-shift", buffered: true });
            }"""
        )
        visit.ask_and_wait()
        visit.page.locator("[data-own]").first.wait_for()
        assert visit.page.evaluate("shifts.reduce((sum, one) => sum + one, 0)") < 0.05
