"""Asking on the page: the view of a run in progress, its actions, and conversations."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.browser import OWN, QUESTION, SIX, SUN, TIDE, six, visiting
from helpers.upstream import Body, Reply
from moa.server.auth.keyfile import create_key, write_keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def card(page: Page, model: str):  # type: ignore[no-untyped-def]
    return page.get_by_role("article", name=model, exact=True)


def test_each_proposal_has_a_card_and_the_answer_is_below(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        page = visit.page
        assert page.get_by_role("region", name="Layer 1").get_by_role("article").count() == 6
        assert TIDE in card(page, "lab:a").inner_text()
        assert card(page, "lab:b").locator("strong").inner_text() == "Two"
        answer = page.get_by_role("region", name="Answer").inner_text()
        assert TIDE in answer and SUN in answer and OWN in answer
        assert page.get_by_role("heading", level=1).inner_text() == QUESTION


def test_a_failed_proposal_shows_its_error_and_a_retried_one_a_badge(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        lost, flaky = card(visit.page, "lab:lost").inner_text(), card(visit.page, "lab:flaky").inner_text()
        assert "failed" in lost and "no such key" in lost
        assert "done" in flaky and "retried" in flaky and "busy" in flaky
        assert "5 of 6 proposals" in visit.page.get_by_role("region", name="Layer 1").inner_text()


def test_text_is_shown_while_it_is_streamed(chromium: Browser) -> None:
    go = threading.Event()

    async def held(body: Body) -> Reply:
        await asyncio.to_thread(go.wait, 20)
        return Reply("Late.")

    with visiting(chromium, {**six(), "d": held}) as visit:
        visit.ask()
        page = visit.page
        card(page, "lab:a").get_by_text("That is all.").wait_for()
        card(page, "lab:d").get_by_text("thinking").wait_for()
        assert page.get_by_role("button", name="Stop").is_visible()
        go.set()
        page.get_by_role("button", name="Download HTML").wait_for()
        assert "Late." in card(page, "lab:d").inner_text()


SLOW = Reply("never", delay=60)


def test_a_run_can_be_finished_early_with_the_proposals_that_have_arrived(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "d": SLOW}) as visit:
        visit.ask()
        card(visit.page, "lab:a").get_by_text("done").wait_for()
        card(visit.page, "lab:b").get_by_text("done").wait_for()
        visit.page.get_by_role("button", name="Answer with what you have now").click()
        visit.page.get_by_role("button", name="Download HTML").wait_for()
        assert OWN in visit.page.get_by_role("region", name="Answer").inner_text()
        assert "failed" in card(visit.page, "lab:d").inner_text()


def test_a_run_can_be_stopped(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "d": SLOW}) as visit:
        visit.ask()
        card(visit.page, "lab:a").get_by_text("done").wait_for()
        visit.page.get_by_role("button", name="Stop").click()
        visit.page.get_by_text("Stopped before the answer started.").wait_for()
        assert "stopped" in card(visit.page, "lab:d").inner_text()
        assert visit.upstream.to("judge") == []


def test_a_conversation_has_follow_up_questions_and_survives_a_reload(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        visit.page.get_by_label("Question").fill("And in the Mediterranean?")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_role("button", name="Download HTML").nth(1).wait_for()
        sent = visit.upstream.to("a")[-1].messages
        assert [message["role"] for message in sent] == ["user", "assistant", "user"]
        assert sent[1]["content"].startswith(TIDE) and sent[2]["content"] == "And in the Mediterranean?"
        visit.page.reload()
        visit.page.get_by_role("button", name="Download HTML").wait_for()
        assert visit.page.get_by_role("heading", level=1).all_inner_texts() == [QUESTION, "And in the Mediterranean?"]
        assert OWN in visit.page.locator("article").first.inner_text()
        visit.page.get_by_role("link", name="New question").click()
        visit.page.get_by_role("heading", name="Several models, one answer").wait_for()
        visit.page.get_by_role("navigation", name="Conversations").get_by_text(QUESTION).click()
        visit.page.get_by_text("And in the Mediterranean?").first.wait_for()


def test_a_run_in_progress_is_shown_again_after_a_reload(chromium: Browser) -> None:
    go = threading.Event()

    async def held(body: Body) -> Reply:
        await asyncio.to_thread(go.wait, 20)
        return Reply("Late.")

    with visiting(chromium, {**six(), "d": held}) as visit:
        visit.ask()
        card(visit.page, "lab:a").get_by_text("done").wait_for()
        visit.page.reload()
        card(visit.page, "lab:a").get_by_text("done").wait_for()
        assert visit.page.get_by_role("button", name="Stop").is_visible()
        go.set()
        visit.page.get_by_role("button", name="Download HTML").wait_for()
        assert OWN in visit.page.get_by_role("region", name="Answer").inner_text()
    assert len(visit.upstream.to("a")) == 1


def test_an_estimate_is_shown_before_the_question_is_asked_and_with_the_result(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.ask_and_wait()
        visit.page.get_by_role("link", name="New question").click()
        visit.page.get_by_label("Question").fill(QUESTION)
        quote = visit.page.locator(".estimate")
        quote.wait_for()
        assert re.fullmatch(r"about [\d,]+ tokens · \$[\d.]+ · [\d.]+ s", quote.inner_text())
        assert quote.get_attribute("title") == "Estimated from 1 past run."
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("estimated $").wait_for()


def test_another_mixture_can_be_chosen(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.get_by_label("Mixture").select_option("two")
        visit.page.get_by_text("two layers · 5 calls per question").wait_for()
        visit.ask_and_wait()
        assert visit.page.get_by_role("region", name="Layer 2").get_by_role("article").count() == 2


def test_a_re_run_with_one_change_keeps_both_answers(chromium: Browser) -> None:
    with visiting(chromium, {**six(), "c": "Nothing but the Moon."}) as visit:
        visit.page.get_by_label("Mixture").select_option("two")
        visit.ask_and_wait()
        before = len(visit.upstream.calls)
        visit.page.get_by_role("button", name="Re-run…").click()
        visit.page.get_by_label("Use another aggregator").check()
        visit.page.get_by_label("Aggregator", exact=True).select_option("lab:c")
        visit.page.get_by_text("1 call, about").wait_for()
        visit.page.get_by_role("button", name="Re-run", exact=True).click()
        visit.page.get_by_role("region", name="Answer").get_by_text("Nothing but the Moon.").wait_for()
        assert len(visit.upstream.calls) == before + 1
        visit.page.get_by_role("button", name="first answer").click()
        visit.page.get_by_role("region", name="Answer").get_by_text(OWN).wait_for()


def test_a_single_model_answers_without_layers(chromium: Browser) -> None:
    with visiting(chromium) as visit:
        visit.page.get_by_label("Mixture").select_option("lab:a")
        visit.ask_and_wait()
        assert TIDE in visit.page.get_by_role("region", name="Answer").inner_text()
        assert visit.page.get_by_role("region", name="Layer 1").count() == 0


def test_a_failed_question_shows_the_error(chromium: Browser) -> None:
    with visiting(chromium, {}) as visit:
        visit.ask()
        visit.page.get_by_role("alert").get_by_text("no such model").first.wait_for()


def test_an_api_key_is_asked_for_and_stored_for_this_tab_only(chromium: Browser) -> None:
    secret, key = create_key("anna")
    write_keys(Path("keys.jsonl"), [key])
    toml = SIX + '[server]\nkeys_file = "keys.jsonl"\n'
    with visiting(chromium, toml=toml) as visit:
        visit.page.get_by_label("Key").fill("moa-wrong")
        visit.page.keyboard.press("Enter")
        visit.page.get_by_text("This key is not valid.").wait_for()
        visit.page.get_by_label("Key").fill(secret)
        visit.page.keyboard.press("Enter")
        visit.ask_and_wait()
        assert OWN in visit.page.get_by_role("region", name="Answer").inner_text()
        kept = visit.page.evaluate("JSON.stringify({...localStorage})")
        assert secret not in kept
        visit.errors = [one for one in visit.errors if "401" not in one]  # the browser reports these itself


@pytest.mark.embedded
def test_the_embedded_model_answers_on_the_page(chromium: Browser) -> None:
    toml = 'default = "moa:tiny"\n[mixtures.tiny]\nproposers = [{ model = "local:smollm2", samples = 2 }]\n'
    toml += 'aggregator = { model = "local:smollm2", max_tokens = 24 }\nmax_tokens = 24\n'
    with visiting(chromium, toml=toml) as visit:
        visit.page.set_default_timeout(120_000)
        visit.ask_and_wait("What is a proverb?")
        assert visit.page.get_by_role("region", name="Layer 1").get_by_role("article").count() == 2
        assert len(visit.page.locator(".answer").inner_text()) > 20
