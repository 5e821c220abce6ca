"""The likely usage of a question is estimated from past runs before it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import moa
from helpers.command import configured, on_a_terminal
from helpers.command import moa as command
from helpers.upstream import Body, Reply, Upstream
from moa import (
    Fallback,
    Layer,
    Message,
    Mixture,
    Request,
    Response,
    Scripted,
    Store,
    Synthesize,
    Trace,
    Usage,
    WithDefaults,
)
from moa.config.build import Builder
from moa.config.load import Config
from moa.estimates.likely import WithEstimate, missed, quote


def request_of(words: int) -> Request:
    return Request((Message("user", "word " * words),))


def counted(name: str, written: int, price: float = 1e-6) -> Scripted:
    """Return a model that writes `written` tokens, reads one token per word, and charges `price` for each."""

    def says(request: Request) -> Response:
        read = sum(len(message.text.split()) for message in request.messages)
        return Response(name, "word " * written, Usage(read, written, (read + written) * price))

    return Priced(name, says, price=price)


class Priced(Scripted):
    def __init__(self, name: str, says: object, price: float) -> None:
        super().__init__(name, says)  # type: ignore[arg-type]
        self.price = price

    def cost(self, usage: Usage) -> float | None:
        return (usage.input_tokens + usage.output_tokens) * self.price


def panel(*proposers: moa.Model, big: moa.Model, name: str = "panel") -> Mixture:
    return Mixture((Layer(proposers),), Synthesize(big), name)


async def test_with_runs_of_the_same_the_quote_is_what_they_took_for_a_question_of_this_size(tmp_path: Path) -> None:
    mixture = panel(counted("a", 200), counted("b", 100), big=counted("big", 80))
    with Store(tmp_path) as store:
        for words in (100, 200, 300):
            await moa.generate(mixture, request_of(words), store.emit)
        estimate = quote(mixture, request_of(1000), store.figures())
        trace = Trace()
        await moa.generate(WithEstimate(mixture, estimate), request_of(1000), trace.add)
    assert (estimate.model, estimate.calls, estimate.runs, estimate.unknown, estimate.known) == (
        "panel",
        3,
        3,
        (),
        True,
    )
    assert estimate.seconds is not None and estimate.at_most is not None and estimate.seconds <= estimate.at_most
    wrong = missed(trace)
    assert wrong and abs(wrong["tokens"]) < 0.1 and abs(wrong["cost"]) < 0.1


async def test_an_unused_mixture_is_quoted_by_the_calls_of_its_models_elsewhere(tmp_path: Path) -> None:
    a, b, big = counted("a", 200), counted("b", 100), counted("big", 80)
    other = panel(b, b, big=Fallback((big, a)), name="other")
    with Store(tmp_path) as store:
        await moa.generate(panel(a, b, big=big), request_of(100), store.emit)
        estimate = quote(other, request_of(100), store.figures())
    assert (estimate.calls, estimate.runs, estimate.unknown, estimate.known) == (3, 0, (), True)
    assert estimate.output_tokens == 100 + 100 + 80 and estimate.seconds is not None and estimate.at_most is None


async def test_models_never_called_are_named_and_their_answers_assumed(tmp_path: Path) -> None:
    a, new = counted("a", 200), WithDefaults(counted("new", 5), max_tokens=64)
    with Store(tmp_path) as store:
        await moa.generate(a, request_of(100), store.emit)
        estimate = quote(panel(a, new, big=new), request_of(100), store.figures())
    assert (estimate.unknown, estimate.known, estimate.seconds) == (("new",), True, None)
    assert estimate.output_tokens == 200 + 64 + 64


def test_without_a_past_nothing_is_known() -> None:
    estimate = quote(panel(counted("a", 1), big=counted("big", 1)), request_of(10), [])
    assert (estimate.known, estimate.unknown, estimate.runs, estimate.seconds) == (False, ("a", "big"), 0, None)


async def test_an_unknown_price_makes_the_quote_unknown_and_a_limit_of_tokens_holds(tmp_path: Path) -> None:
    a, big = counted("a", 200), Scripted("big", "answer", usage=Usage(10, 50))
    with Store(tmp_path) as store:
        await moa.generate(panel(a, big=big), request_of(10), store.emit)
        estimate = quote(panel(a, big=big), request_of(10), store.figures())
        assert estimate.cost is None and estimate.output_tokens == 250
        short = quote(a, replace(request_of(10), max_tokens=20), store.figures())
    assert short.output_tokens == 20


async def test_nested_mixtures_are_quoted_too(tmp_path: Path) -> None:
    inner = panel(counted("a", 50), counted("b", 50), big=counted("big", 30), name="inner")
    outer = panel(inner, counted("a", 50), big=counted("big", 30), name="outer")
    with Store(tmp_path) as store:
        await moa.generate(inner, request_of(100), store.emit)
        trace = Trace()
        await moa.generate(
            WithEstimate(outer, quote(outer, request_of(100), store.figures())), request_of(100), trace.add
        )
    wrong = missed(trace)
    assert wrong and abs(wrong["tokens"]) < 0.5


# --- by the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"a": "red " * 20, "b": "blue " * 10, "big": "purple it is"}) as upstream:
        configured(upstream)
        yield upstream


def test_without_a_terminal_the_quote_is_all(upstream: Upstream) -> None:
    done = command("ask", "--estimate", "Which colour?")
    assert "no past runs; upper bound" in done.stdout and "3 calls, cost unknown" in done.stdout
    command("ask", "Which colour?")
    before = len(upstream.calls)
    done = command("ask", "--estimate", "Which colour?")
    assert done.stdout.startswith("moa:panel: about 3 calls, ") and "from 1 past run" in done.stdout
    figures = json.loads(command("ask", "--estimate", "--json", "Which colour?").stdout)
    assert (figures["model"], figures["calls"], figures["runs"]) == ("moa:panel", 3, 1)
    assert len(upstream.calls) == before


def test_a_run_that_was_quoted_says_how_right_that_was(upstream: Upstream) -> None:
    command("ask", "Which colour?")
    done = command("ask", "--estimate", "--yes", "Which colour?")
    assert done.stdout == "purple it is\n" and "moa:panel: about 3 calls" in done.stderr
    assert "tokens +0%, cost +0%, seconds " in done.stderr
    shown = command("runs", "show").stdout
    assert "estimate: 3 calls, " in shown and "against the estimate" in shown
    assert json.loads(command("runs", "show", "--json").stdout)["estimate"]["calls"] == 3


def test_on_a_terminal_it_asks_whether_to_ask(upstream: Upstream) -> None:
    code, written = on_a_terminal("ask", "--estimate", "Which colour?", answer="n\n")
    assert (code, upstream.calls) == (1, []) and "Continue? [Y/n]" in written
    code, written = on_a_terminal("ask", "--estimate", "Which colour?", answer="y\n")
    assert code == 0 and len(upstream.calls) == 3


async def test_a_quote_is_right_within_a_fifth_where_answers_vary(tmp_path: Path) -> None:
    lengths = iter([*range(40, 60), 50])

    def says(body: Body) -> Reply:
        return Reply("word " * (next(lengths) if body["model"] == "a" else 30))

    with Upstream(says) as upstream, Store(tmp_path) as store:
        lab = {"base_url": upstream.url, "price": {"input": 1, "output": 2}}
        mixture = {"proposers": ["lab:a", "lab:b"], "aggregator": "lab:big"}
        config = {"default": "moa:panel", "providers": {"lab": lab}, "mixtures": {"panel": mixture}}
        model = Builder(Config.model_validate(config), Path()).model("moa:panel")
        for number in range(20):
            await moa.generate(model, request_of(20 + 10 * number), store.emit)
        trace = Trace()
        await moa.generate(
            WithEstimate(model, quote(model, request_of(150), store.figures())), request_of(150), trace.add
        )
    wrong = missed(trace)
    assert wrong and abs(wrong["tokens"]) < 0.2 and abs(wrong["cost"]) < 0.2
