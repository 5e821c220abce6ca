"""The doctor distinguishes a mixture that mixes from one that only seems to, by what was really sent and received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

import moa
from helpers.upstream import Reply, Upstream
from moa import (
    Fallback,
    Layer,
    Limited,
    Limiter,
    Message,
    Mixture,
    Model,
    ModelError,
    Pick,
    Prompt,
    Request,
    Response,
    Scripted,
    Synthesize,
    Usage,
    Vote,
    WithDefaults,
)
from moa.costs.prices import FREE
from moa.doctor import Report, examine
from moa.mixture.adaptive_timeout import AdaptiveTimeout
from moa.mixture.strategies.guarded import Guarded
from moa.models.openai.model import OpenAI

PAID = Usage(50, 10, 0.001)
ANSWERS = ("Canaries are mostly yellow.", "A canary is yellow, or now and then red.", "Yellow, as a rule.")


def says(name: str, text: str, **options: object) -> Scripted:
    return Scripted(name, text, usage=PAID, context_window=8000, **options)  # type: ignore[arg-type]


def panel(
    *,
    aggregator: moa.Aggregator | None = None,
    layers: Sequence[Layer] = (),
    strategies: Sequence[moa.Strategy] = (),
) -> Mixture:
    judge = says("judge", "Most canaries are yellow.")
    first = Layer([says(f"m{number}", text) for number, text in enumerate(ANSWERS)])
    return Mixture(layers or (first,), aggregator or Synthesize(judge), "panel", strategies=strategies)


def lines(report: Report, outcome: str) -> list[str]:
    return [line for check in report.checks if check.outcome == outcome for line in check.lines]


async def test_a_good_mixture_passes_and_the_report_says_what_was_seen() -> None:
    report = await examine(panel())
    passed = [check.what for check in report.checks if check.outcome == "ok"]
    assert (report.ok, report.exit_code, report.answer) == (True, 0, "Most canaries are yellow.")
    assert passed[0] == "every model can be called, and its key is set"
    assert passed[2:8] == [
        "the answer is the aggregator's",
        "every proposer was called",
        "the proposers of a layer run concurrently",
        "the aggregator was shown every proposal",
        "the system message and the history reach every call",
        "every prompt fits its context window",
    ]
    assert "ok   every proposer was called (3 of 3)" in report.lines
    assert "ok   the aggregator was shown every proposal (3 of 3, once, in order)" in report.lines
    assert "ok   prices are known (the canary cost $0.0040)" in report.lines
    assert lines(report, "warn") == lines(report, "fail") == []


async def test_a_good_mixture_over_http_passes_and_its_requests_are_what_was_reported() -> None:
    texts = {f"m{number}": f"Model number {number} says that they are yellow." for number in range(6)}
    with Upstream({**texts, "judge": "They are yellow."}) as upstream:

        def model(name: str) -> Model:
            return OpenAI(name, upstream.url, f"lab:{name}", context_window=4000, price=FREE)

        layer = Layer([model(name) for name in texts])
        report = await examine(Mixture((layer, layer), Synthesize(model("judge")), "panel"))
    assert lines(report, "warn") == lines(report, "fail") == []
    assert "ok   every proposer was called (12 of 12)" in report.lines
    assert "ok   layer 2 was shown every proposal (6 of 6, to each of 6, once, in order)" in report.lines
    assert "ok   the system message and the history reach every call (13 of 13)" in report.lines
    assert "ok   lab answers (13 of 13 calls" in "\n".join(report.lines)
    assert len(upstream.calls) == 13


@pytest.mark.parametrize(
    "mixture",
    [
        says("alone", "Yellow."),
        panel(aggregator=Vote()),
        panel(aggregator=Pick(says("ranker", "2"))),
        panel(aggregator=Pick(says("ranker", "dunno"), Synthesize(says("judge", "Yellow.")))),
        panel(aggregator=Synthesize(says("judge", "Yellow."), Prompt(references_in="user"))),
        panel(aggregator=Synthesize(says("judge", "Yellow."), Prompt("Of {references} make one answer to {question}"))),
        panel(aggregator=Synthesize(WithDefaults(says("judge", "Yellow."), system="Be a poet."))),
        panel(aggregator=Synthesize(says("judge", "Yellow.")), strategies=[Guarded()]),
        panel(layers=(Layer((panel(), says("m3", "It depends on the breed of the canary."))),)),
        panel(layers=(Layer([says(f"m{n}", t) for n, t in enumerate(ANSWERS)]), Layer((panel(), says("x", "Red."))))),
        panel(layers=(Layer([WithDefaults(says("m", ANSWERS[0]), seed=seed) for seed in range(3)]),)),
        panel(layers=(Layer([says(f"m{n}", t) for n, t in enumerate(ANSWERS)], order="shuffled"),)),
        Fallback((panel(), says("spare", "Yellow."))),
    ],
)
async def test_any_model_that_does_what_it_should_passes(mixture: Model) -> None:
    report = await examine(mixture)
    assert lines(report, "fail") == []
    assert report.exit_code == 0


async def test_models_that_repeat_what_they_are_told_do_not_confuse_the_doctor() -> None:
    echoes = [
        Scripted("question", lambda request: request.question),
        Scripted("system", lambda request: request.messages[0].text),
        Scripted("all", lambda request: "\n".join(message.text for message in request.messages)),
        Scripted("marks", "<|im_start|>system\nYou are a [INST] canary </s>"),
        Scripted("punctuation", "!!!"),
    ]
    for layers in ((Layer(echoes),), (Layer(echoes), Layer(echoes))):
        report = await examine(Mixture(layers, Synthesize(Scripted("judge", "Yellow."))))
        assert lines(report, "fail") == []


@dataclass(frozen=True)
class Custom:
    """Somebody's own aggregator: asks its model what `shows` makes of the request and the references."""

    model: Model
    shows: Callable[[Request, Sequence[Response]], Request]

    @property
    def models(self) -> tuple[Model, ...]:
        return (self.model,)

    async def aggregate(self, request: Request, references: Sequence[Response], span: moa.Span) -> Response:
        return await span.call(self.model, self.shows(request, references), moa.CallSpec("aggregator", is_answer=True))


def custom(shows: Callable[[Request, Sequence[Response]], Request]) -> Mixture:
    return panel(aggregator=Custom(says("judge", "Yellow."), shows))


async def test_an_aggregator_that_is_not_shown_the_proposals_fails() -> None:
    report = await examine(custom(lambda request, references: request))
    assert lines(report, "fail") == [
        f"fail the aggregator was not shown the proposal of m{number}: asked: judge (aggregator)" for number in range(3)
    ]
    assert report.exit_code == 1


async def test_an_aggregator_that_is_shown_only_the_last_proposal_fails() -> None:
    report = await examine(custom(lambda request, references: moa.aggregate_and_synthesize(request, references[-1:])))
    assert [line.partition(":")[0] for line in lines(report, "fail")] == [
        "fail the aggregator was not shown the proposal of m0",
        "fail the aggregator was not shown the proposal of m1",
    ]


async def test_an_aggregator_whose_prompt_cuts_the_proposals_fails() -> None:
    def cut(request: Request, references: Sequence[Response]) -> Request:
        return moa.aggregate_and_synthesize(request, [replace(one, text=one.text[:25]) for one in references])

    report = await examine(custom(cut))
    assert lines(report, "fail") == [
        "fail the aggregator was shown only a part of the proposal of m0: judge (aggregator)",
        "fail the aggregator was shown only a part of the proposal of m1: judge (aggregator)",
    ]


async def test_an_aggregator_that_is_shown_a_proposal_twice_fails() -> None:
    def twice(request: Request, references: Sequence[Response]) -> Request:
        return moa.aggregate_and_synthesize(request, (*references, references[1]))

    report = await examine(custom(twice))
    assert lines(report, "fail") == [
        "fail the aggregator was shown the proposal of m1 more than once: judge (aggregator)"
    ]


async def test_an_aggregator_with_a_form_of_its_own_passes_when_it_shows_everything() -> None:
    def quoted(request: Request, references: Sequence[Response]) -> Request:
        return request.instructed(
            "Merge:\n" + "\n".join("  > " + one.text.replace(" ", "\n  > ") for one in references)
        )

    assert lines(await examine(custom(quoted)), "fail") == []


async def test_an_aggregator_that_drops_the_system_message_fails() -> None:
    report = await examine(custom(lambda r, refs: moa.aggregate_and_synthesize(Request(r.messages[1:]), refs)))
    assert lines(report, "fail") == ["fail judge (aggregator) was sent without the system message"]


async def test_an_aggregator_that_sees_only_the_last_message_fails_for_each_part_of_the_history() -> None:
    report = await examine(
        custom(lambda r, refs: moa.aggregate_and_synthesize(Request((r.messages[0], r.messages[-1])), refs))
    )
    failed = lines(report, "fail")
    assert len(failed) == 2
    assert failed[0].startswith("fail judge (aggregator) was sent without a part of the history: user: 'I keep small")
    assert failed[1].startswith("fail judge (aggregator) was sent without a part of the history: assistant: 'How nice")


async def test_an_aggregator_that_is_sent_the_conversation_as_text_fails() -> None:
    def flat(request: Request, references: Sequence[Response]) -> Request:
        text = "\n".join(f"{message.role}: {message.text}" for message in request.messages[1:])
        return moa.aggregate_and_synthesize(Request((request.messages[0], Message("user", text))), references)

    failed = lines(await examine(custom(flat)), "fail")
    assert len(failed) == 3
    assert all("was sent the conversation as text, not turn by turn" in line for line in failed)


async def test_a_history_sent_twice_fails() -> None:
    def doubled(request: Request, references: Sequence[Response]) -> Request:
        return moa.aggregate_and_synthesize(
            replace(request, messages=(*request.messages, *request.messages)), references
        )

    failed = lines(await examine(custom(doubled)), "fail")
    assert "fail judge (aggregator) was sent the system message 2 times" in failed
    assert sum("was sent a part of the history more than once" in line for line in failed) == 3


@dataclass(frozen=True)
class Deaf:
    """A model around a model that hands on only the user's last message."""

    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    async def generate(self, request: Request, span: moa.Span) -> Response:
        return await self.model.generate(Request(request.messages[-1:]), span)


async def test_a_wrapper_that_drops_the_system_message_is_found_by_what_its_model_was_really_sent() -> None:
    scripted = says("m", ANSWERS[0])
    with Upstream({"web": ANSWERS[1]}) as upstream:
        web = OpenAI("web", upstream.url)
        report = await examine(panel(layers=(Layer((Deaf(scripted), Deaf(web))),)))
    failed = [line for line in lines(report, "fail") if "system message" in line]
    assert failed == [
        "fail m (layer 1) was sent without the system message",
        "fail web (layer 1) was sent without the system message",
    ]


async def test_a_wrapper_of_the_aggregator_that_drops_the_proposals_is_found_too() -> None:
    report = await examine(panel(aggregator=Synthesize(Deaf(says("judge", "Yellow.")))))
    assert "fail the aggregator was not shown the proposal of m0: asked: judge (aggregator)" in lines(report, "fail")


async def test_a_later_layer_that_sees_only_one_proposal_fails_and_is_named() -> None:
    class Forgetful(Layer):
        async def propose(
            self, request: Request, references: Sequence[Response], span: moa.Span, number: int, *_: Any
        ) -> tuple[Response, ...]:
            return await super().propose(request, references[-1:], span, number)

    first = Layer([says(f"m{number}", text) for number, text in enumerate(ANSWERS)])
    second = Forgetful((says("n0", "They are yellow birds."), says("n1", "Yellow birds, these are.")))
    report = await examine(panel(layers=(first, second)))
    assert lines(report, "fail") == [
        f"fail {reader} (layer 2) was not shown the proposal of {proposer}: asked: {reader} (layer 2)"
        for reader in ("n0", "n1")
        for proposer in ("m0", "m1")
    ]


async def test_a_layer_that_asks_one_proposer_after_another_fails() -> None:
    class Queue(Layer):
        async def propose(
            self, request: Request, references: Sequence[Response], span: moa.Span, number: int, *_: Any
        ) -> tuple[Response, ...]:
            return tuple(
                [
                    await span.call(model, request, moa.CallSpec("proposer", number, index))
                    for index, model in enumerate(self.proposers)
                ]
            )

    slow = [says(f"m{number}", text, delay=0.03) for number, text in enumerate(ANSWERS)]
    report = await examine(panel(layers=(Queue(slow),)))
    assert lines(report, "fail") == [
        "fail the proposers of layer 1 do not all run concurrently: m1 began after another had ended"
    ]


async def test_a_layer_that_skips_a_proposer_fails() -> None:
    class Half(Layer):
        async def propose(
            self, request: Request, references: Sequence[Response], span: moa.Span, number: int, *_: Any
        ) -> tuple[Response, ...]:
            return await Layer(self.proposers[:-1]).propose(request, references, span, number)

    report = await examine(panel(layers=(Half([says("a", ANSWERS[0]), says("b", ANSWERS[1])]),)))
    assert lines(report, "fail") == ["fail a proposer was not called: b (layer 1 of panel)"]


@pytest.mark.usefixtures("virtual_time")
async def test_a_limit_on_calls_at_once_is_a_warning() -> None:
    limiter = Limiter(1)
    proposers = [Limited(says(f"m{n}", text, delay=0.02), limiter) for n, text in enumerate(ANSWERS)]
    report = await examine(panel(layers=(Layer(proposers),)))
    assert lines(report, "fail") == []
    assert lines(report, "warn")[0].startswith("warn a concurrency limit delays proposers: 2 calls were queued")


async def test_a_missing_key_is_named_with_its_variable_and_nothing_is_sent() -> None:
    with Upstream({"a": "x", "b": "y", "judge": "z"}) as upstream:

        def model(name: str, key: str | None = None) -> Model:
            return OpenAI(name, upstream.url, f"lab:{name}", key)

        layer = Layer((model("a", "LAB_KEY"), model("b", "LAB_KEY")))
        report = await examine(Mixture((layer,), Synthesize(model("judge"))))
    assert report.lines == ["fail lab:a, lab:b cannot be called: set its API key: export LAB_KEY=..."]
    assert (report.exit_code, report.sent, upstream.calls) == (2, False, [])


async def test_a_missing_key_of_a_spare_model_is_a_warning() -> None:
    spare = OpenAI("spare", "http://127.0.0.1:9/v1", api_key_env="LAB_KEY")
    report = await examine(panel(aggregator=Synthesize(Fallback((says("judge", "Yellow."), spare)))))
    assert lines(report, "warn")[0] == "warn spare cannot be called: set its API key: export LAB_KEY=..."
    assert report.exit_code == 0


async def test_a_window_too_small_for_the_proposals_fails() -> None:
    judge = Scripted("judge", "Yellow.", usage=PAID, context_window=420)
    report = await examine(
        panel(aggregator=Synthesize(judge), layers=(Layer([says("m", "yellow " * 40) for _ in range(3)]),))
    )
    assert (
        "fail the context window of judge is too small: even the canary's proposals do not fit at once, "
        "so it reads a few at a time"
    ) in lines(report, "fail")
    assert "     choose a model with a larger context window, or fewer proposers" in report.lines


async def test_a_window_too_small_for_the_question_fails_and_tells_the_sizes() -> None:
    report = await examine(panel(aggregator=Synthesize(Scripted("judge", "Yellow.", context_window=40))))
    assert lines(report, "fail")[0].startswith("fail panel did not answer: judge: the prompt is about ")
    assert "but the context window has 40, including the answer" in lines(report, "fail")[0]


async def test_little_room_for_a_long_answer_is_a_warning() -> None:
    report = await examine(panel(aggregator=Synthesize(Scripted("judge", "Yellow.", usage=PAID, context_window=1000))))
    assert lines(report, "warn")[0] == (
        "warn judge has little room for a long answer: 50 of 1000 tokens are the prompt, and 1024 may be needed"
    )
    assert report.exit_code == 0


async def test_proposals_that_may_outgrow_the_aggregator_are_a_warning() -> None:
    long = Layer([WithDefaults(says(f"m{n}", text), max_tokens=3000) for n, text in enumerate(ANSWERS)])
    assert lines(await examine(panel(layers=(long,))), "warn") == [
        "warn judge may have to read proposals a few at a time: 3 proposals may have 9000 tokens, its window 8000"
    ]


async def test_an_unreachable_provider_fails_and_is_told_where_it_should_be() -> None:
    gone = OpenAI("m", "http://127.0.0.1:9/v1", "gone:m")
    report = await examine(panel(layers=(Layer((gone, says("a", ANSWERS[0]))),)))
    assert [line.partition(": ")[0] for line in lines(report, "fail")] == [
        "fail gone:m (layer 1) was lost",
        "fail gone does not answer",
    ]
    assert all("cannot reach http://127.0.0.1:9/v1" in line for line in lines(report, "fail"))


async def test_a_lost_proposer_fails_with_its_error() -> None:
    with Upstream({"a": Reply("on fire", status=500), "b": "Yellow."}) as upstream:
        layer = Layer((OpenAI("a", upstream.url, "lab:a"), OpenAI("b", upstream.url, "lab:b")))
        report = await examine(panel(layers=(layer,)))
    assert len(lines(report, "fail")) == 1
    assert lines(report, "fail")[0].startswith("fail lab:a (layer 1) was lost: lab:a: HTTP 500: on fire")
    assert "lab answers: 1 of 2 calls" in "\n".join(lines(report, "warn"))


async def test_when_every_proposer_fails_the_report_says_so_and_why() -> None:
    failing = Layer([Scripted(name, ModelError(f"{name}: no")) for name in "ab"])
    report = await examine(panel(layers=(failing,)))
    assert lines(report, "fail") == [
        "fail panel did not answer: layer 1: 0 of 2 proposers answered, 1 needed",
        "fail a (layer 1) was lost: a: no",
        "fail b (layer 1) was lost: b: no",
        "fail a does not answer: a: no",
        "fail b does not answer: b: no",
    ]


@pytest.mark.usefixtures("virtual_time")
async def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    report = await examine(panel(aggregator=Synthesize(says("judge", "never", delay=3600))), timeout=0.05)
    assert lines(report, "fail")[0] == "fail panel did not answer: timed out after 0.05 s"


async def test_an_aggregator_that_gives_back_something_else_than_its_model_said_fails() -> None:
    class Swaps(Custom):
        async def aggregate(self, request: Request, references: Sequence[Response], span: moa.Span) -> Response:
            await super().aggregate(request, references, span)
            return references[0]

    report = await examine(panel(aggregator=Swaps(says("judge", "Yellow."), moa.aggregate_and_synthesize)))
    assert lines(report, "fail") == [
        "fail the streamed text is not the answer: 'Yellow.'",
        "fail the answer is not the text of the aggregator's model: it wrote 'Yellow.'",
    ]


async def test_an_aggregator_that_writes_from_a_judges_report_gets_a_warning() -> None:
    @dataclass(frozen=True)
    class Reported:
        models: tuple[Model, ...]

        async def aggregate(self, request: Request, references: Sequence[Response], span: moa.Span) -> Response:
            asked = moa.aggregate_and_synthesize(request, references)
            verdict = await span.call(self.models[0], asked, moa.CallSpec("judge"))
            return await span.call(
                self.models[1], request.instructed(verdict.text), moa.CallSpec("aggregator", is_answer=True)
            )

    report = await examine(panel(aggregator=Reported((says("critic", "They agree."), says("writer", "Yellow.")))))
    assert lines(report, "fail") == []
    assert (
        lines(report, "warn")[0] == "warn the aggregator was not shown the proposal of m0 itself: writer (aggregator)"
    )


async def test_a_proposal_that_stands_in_for_a_failed_aggregator_fails() -> None:
    judge = Scripted("judge", ModelError("judge: out of order"))
    report = await examine(panel(aggregator=Synthesize(judge), strategies=[Guarded()]))
    assert lines(report, "fail")[0] == "fail the aggregator did not answer: judge: out of order"


async def test_a_flawed_aggregation_is_a_warning() -> None:
    sorry = says("judge", "I'm sorry, but I can't help with that.")
    report = await examine(panel(aggregator=Synthesize(sorry), strategies=[Guarded()]))
    assert lines(report, "warn")[0].startswith("warn the aggregation is flawed: the aggregation refuses")


async def test_unknown_prices_and_windows_are_warnings_that_name_the_models() -> None:
    report = await examine(Mixture((Layer((Scripted("a", "Yellow."),)),), Synthesize(Scripted("b", "Gold."))))
    assert lines(report, "warn")[::2] == [
        "warn context windows are unknown: a, b",
        "warn prices are unknown, and so is the cost: a, b",
    ]
    assert report.exit_code == 0


async def test_what_was_noted_on_the_way_is_reported() -> None:
    cut = Scripted("cut", Response("cut", "Canaries are", PAID, "length"), context_window=8000)
    flaky = moa.Retried(
        Scripted("flaky", [ModelError("flaky: busy", retryable=True), "Yellow."], usage=PAID, context_window=8000), 2, 0
    )
    spared = Fallback((Scripted("first", ModelError("first: gone")), says("second", "Gold.")))
    report = await examine(panel(layers=(Layer((cut, flaky, spared)),)))
    warned = "\n".join(lines(report, "warn"))
    assert "warn cut (layer 1) was cut off by max_tokens" in warned
    assert "warn flaky (layer 1) was retried: flaky: busy" in warned
    assert "warn a fallback answered for first: first: gone" in warned


async def test_options_a_provider_refuses_are_reported() -> None:
    with Upstream({"a": "Yellow."}) as upstream:
        picky = WithDefaults(OpenAI("a", upstream.url, "lab:a", unsupported=("seed",)), seed=1)
        report = await examine(panel(layers=(Layer((picky,)),)))
    assert "warn lab:a (layer 1) does not support every option: not sent: seed" in lines(report, "warn")


async def test_a_bug_in_somebodys_own_code_is_not_hidden_in_a_report() -> None:
    with pytest.raises(ZeroDivisionError):
        await examine(panel(layers=(Layer((Scripted("a", lambda _: str(1 // 0)),)),)))


async def test_two_examinations_at_once_do_not_mix() -> None:
    good, bad = await asyncio.gather(examine(panel()), examine(custom(lambda request, references: request)))
    assert (good.ok, bad.ok) == (True, False)


async def test_learned_deadlines_are_shown() -> None:
    patience = AdaptiveTimeout(least=1)
    patience.latencies.add("a", 10.0)
    layer = Layer((Scripted("a", "red"), Scripted("b", "blue")), timeout=patience)
    report = await examine(Mixture((layer,), Synthesize(Scripted("judge", "green"))))
    seen = next(check.seen for check in report.checks if check.what == "the timeouts of layer 1 are adaptive")
    assert seen.startswith("a 15.0 s from 2 answers, b 5.0 s from 1 answers")
