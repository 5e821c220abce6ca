"""Prometheus metrics, per mixture and model, whatever clients send."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from helpers.command import until
from helpers.server import SAYS, TOML, Served, serving
from helpers.upstream import Body, Reply

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"
ASK = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which colour?"}]}
STEADY = TOML.replace("attempts = 1", "attempts = 2\ncache = true\nprice = { input = 1, output = 1 }")

Figures = dict[tuple[str, ...], float]


def figures(served: Served, name: str) -> Figures:
    """The samples of a name, by the values of their labels in the order of the labels' names."""
    result = text_string_to_metric_families(served.get("/metrics").body.decode())
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in result
        for sample in family.samples
        if sample.name == name
    }


def moody() -> Any:
    """Is busy at first."""
    bodies: list[Body] = []

    def says(body: Body) -> Reply:
        bodies.append(body)
        return Reply("busy", status=503) if len(bodies) == 1 else Reply("red")

    return says


def test_a_run_is_counted_by_mixture_and_model() -> None:
    says = {"a": moody(), "b": Reply("on fire", status=400), "judge": "purple it is"}
    with serving(says, STEADY) as (served, _):
        for _ in range(2):
            assert served.post("/v1/chat/completions", {**ASK, "seed": 1, "stream": True}).status == 200
        duo = "moa:duo"
        assert figures(served, "moa_runs_total") == {("answered", duo): 2}
        assert figures(served, "moa_calls_total") == {
            ("answered", duo, "up:a"): 2,
            ("failed", duo, "up:b"): 2,
            ("answered", duo, "up:judge"): 2,
        }
        assert figures(served, "moa_retries_total") == {(duo, "up:a"): 1}
        assert figures(served, "moa_lost_total") == {(duo, "up:b"): 2}
        assert figures(served, "moa_cached_total") == {(duo, "up:a"): 1, (duo, "up:judge"): 1}
        assert figures(served, "moa_tokens_total")["output", duo, "up:judge"] == 3
        assert figures(served, "moa_cost_dollars_total")[duo, "up:a"] == 3e-6
        assert figures(served, "moa_first_word_seconds_count") == {(duo,): 2}
        assert figures(served, "moa_answer_seconds_count") == {(duo,): 2}
        assert figures(served, "moa_call_seconds_count") == {(duo, name): 2 for name in ("up:a", "up:b", "up:judge")}
        assert figures(served, "moa_call_first_word_seconds_count") == {(duo, "up:a"): 2, (duo, "up:judge"): 2}
        assert figures(served, "moa_breaker") == {(name,): 0 for name in ("up:a", "up:b", "up:judge")}


async def test_what_goes_on_and_what_waits_is_counted_while_it_does() -> None:
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def waits(body: Body) -> str:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.wait(), loop))
        return "red"

    toml = TOML.replace("attempts = 1", "attempts = 1\nmax_concurrency = 1")
    with serving({**SAYS, "a": waits, "b": waits}, toml) as (served, _):
        asking = asyncio.create_task(asyncio.to_thread(served.post, "/v1/chat/completions", ASK))

        def standing() -> bool:
            waiting = figures(served, "moa_calls_queued")
            return sorted(waiting.values()) == [1] and figures(served, "moa_active") == {(): 1}

        await asyncio.to_thread(until, standing)
        assert figures(served, "moa_calls_running") == {
            ("moa:duo", "moa:duo"): 0,  # which only holds calls
            ("moa:duo", "up:a"): 1,
            ("moa:duo", "up:b"): 1,
        }
        held.set()
        assert (await asking).status == 200
        assert set(figures(served, "moa_calls_running").values()) == {0}
        assert set(figures(served, "moa_calls_queued").values()) == {0}


def test_what_clients_make_up_is_no_label() -> None:
    with serving({**SAYS, "made-up": "yes", "made-up-too": "yes"}) as (served, _):
        for name in ("up:made-up", "up:made-up-too"):
            assert served.post("/v1/chat/completions", {**ASK, "model": name}).status == 200
            served.get(f"/{name}")
        assert figures(served, "moa_calls_total") == {("answered", "other", "other"): 2}
        assert "made-up" not in served.get("/metrics").body.decode()


def test_every_metric_is_explained() -> None:
    with serving() as (served, _):
        result = served.get("/metrics").body.decode()
    names = {name for name in re.findall(r"^# TYPE (moa_\w+) ", result, re.MULTILINE) if not name.endswith("_created")}
    explained = set(re.findall(r"`(moa_\w+)`", DOCS.read_text("utf-8")))
    assert explained == names
