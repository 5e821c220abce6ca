"""A mixture as the paper draws it: layers of proposers, then an aggregator."""

from __future__ import annotations

import asyncio

import pytest

import moa
from moa import Layer, LayerError, Message, Mixture, ModelError, Request, Response, Scripted, Synthesize, Usage
from moa.mixture.collector import Order

pytestmark = pytest.mark.usefixtures("virtual_time")

QUESTION = Request((Message("system", "Be brief."), Message("user", "Which colour?")))


def panel(*layers: Layer, says: str = "green") -> Mixture:
    return Mixture(layers, Synthesize(Scripted("judge", says)), "panel")


async def test_the_answer_is_the_aggregators_and_carries_its_references() -> None:
    answer = await moa.generate(panel(Layer((Scripted("a", "red"), Scripted("b", "blue")))), QUESTION)
    assert answer.text == "green"
    assert answer.model == "panel"
    assert answer.references == (Response("a", "red"), Response("b", "blue"))


async def test_the_first_layer_gets_the_request_itself() -> None:
    first = Scripted("a", "red")
    await moa.generate(panel(Layer((first,))), QUESTION)
    assert first.requests == [Request(QUESTION.messages)]


async def test_a_later_layer_reads_every_proposal_of_the_one_before_once_and_in_order() -> None:
    second = Scripted("c", "violet")
    mixture = panel(Layer((Scripted("a", "red"), Scripted("b", "blue"))), Layer((second,)))
    answer = await moa.generate(mixture, QUESTION)
    system = second.requests[0].messages[0].text
    assert system.startswith("Be brief.\n\n")
    assert system.index("\nred\n") < system.index("\nblue\n")
    assert (system.count("\nred\n"), system.count("\nblue\n")) == (1, 1)
    assert second.requests[0].messages[1:] == QUESTION.messages[1:]
    assert answer.references == (Response("c", "violet", references=(Response("a", "red"), Response("b", "blue"))),)


async def test_proposers_of_a_layer_run_side_by_side() -> None:
    meeting = asyncio.Barrier(3)

    class Meets:
        name = "meets"

        async def generate(self, request: Request, span: moa.Span) -> Response:
            await meeting.wait()  # passes only when all three are here at the same time
            return Response(self.name, "met")

    answer = await moa.generate(panel(Layer((Meets(), Meets(), Meets()))), QUESTION)
    assert [reference.text for reference in answer.references] == ["met"] * 3


async def test_a_failed_proposer_is_lost_with_its_cause_and_the_rest_answer() -> None:
    trace = moa.Trace()
    mixture = panel(Layer((Scripted("a", ModelError("a: HTTP 500: on fire")), Scripted("b", "blue"))))
    answer = await moa.generate(mixture, QUESTION, trace.add)
    assert answer.references == (Response("b", "blue"),)
    assert trace.lost == [moa.Lost("a", 1, "a: HTTP 500: on fire")]


async def test_a_proposer_that_times_out_is_lost() -> None:
    trace = moa.Trace()
    mixture = panel(Layer((Scripted("slow", "never", delay=3600), Scripted("b", "blue")), timeout=0.05))
    answer = await moa.generate(mixture, QUESTION, trace.add)
    assert answer.references == (Response("b", "blue"),)
    assert trace.lost == [moa.Lost("slow", 1, "no answer within 0.05 s")]


async def test_an_earlier_deadline_than_the_layers_own_is_named_as_such() -> None:
    trace = moa.Trace()
    layer = Layer((Scripted("slow", "never", delay=3600), Scripted("b", "blue")), timeout=60)
    mixture = Mixture((layer,), Synthesize(Scripted("big", "violet")), budget=moa.Budget(seconds=0.1))
    await moa.generate(mixture, QUESTION, trace.add)
    assert trace.lost == [moa.Lost("slow", 1, "no answer before the deadline")]


def test_a_name_is_not_accepted_as_a_proposer() -> None:
    with pytest.raises(moa.ConfigError, match=r"moa\.get_model\('ollama:mistral'\)"):
        Layer(("ollama:mistral",))  # type: ignore[arg-type]


async def test_too_few_proposals_are_one_error_with_every_cause() -> None:
    mixture = panel(Layer((Scripted("a", ModelError("a: no")), Scripted("b", ModelError("b: neither")))))
    with pytest.raises(LayerError, match="layer 1: 0 of 2 proposers answered, 1 needed") as caught:
        await moa.generate(mixture, QUESTION)
    assert [lost.error for lost in caught.value.lost] == ["a: no", "b: neither"]


async def test_when_the_quorum_is_out_of_reach_the_others_are_cancelled_at_once() -> None:
    slow = Scripted("slow", "never", delay=3600)
    mixture = panel(Layer((Scripted("a", ModelError("a: no")), slow), quorum=2))
    with pytest.raises(LayerError, match="layer 1: 0 of 2 proposers") as caught:
        await moa.generate(mixture, QUESTION)
    assert caught.value.lost[1].error == "cancelled: the quorum of 2 is out of reach, as only 1 can answer"


async def test_a_bug_in_a_proposer_is_not_a_lost_proposal() -> None:
    with pytest.raises(ZeroDivisionError):
        await moa.generate(panel(Layer((Scripted("a", lambda _: str(1 // 0)), Scripted("b", "blue")))), QUESTION)


async def test_mixtures_nest_by_value() -> None:
    inner = Mixture((Layer((Scripted("a", "red"),)),), Synthesize(Scripted("b", "pink")), "inner")
    answer = await moa.generate(panel(Layer((inner, Scripted("c", "blue")))), QUESTION)
    assert [(reference.model, reference.text) for reference in answer.references] == [("inner", "pink"), ("c", "blue")]
    assert answer.references[0].references == (Response("a", "red"),)


async def test_usage_is_the_sum_over_all_calls_and_an_unknown_cost_stays_unknown() -> None:
    paid = Scripted("a", "red", usage=Usage(10, 5, 0.25))
    judge = Scripted("j", "green", usage=Usage(7, 3, 0.5))
    layers = (Layer((paid, paid)), Layer((paid,)))
    answer = await moa.generate(Mixture(layers, Synthesize(judge)), QUESTION)
    assert answer.usage == Usage(37, 18, 1.25)
    free = Scripted("b", "blue", usage=Usage(1, 1))
    answer = await moa.generate(Mixture((Layer((paid, free)),), Synthesize(judge)), QUESTION)
    assert answer.usage == Usage(18, 9, None)


async def test_the_requests_options_are_for_the_aggregator_and_the_seed_is_for_all() -> None:
    proposer, judge = Scripted("a", "red"), Scripted("j", "green")
    request = Request(QUESTION.messages, temperature=0.1, max_tokens=9, seed=4, stop=("end",))
    await moa.generate(Mixture((Layer((proposer,)),), Synthesize(judge)), request)
    assert proposer.requests == [Request(QUESTION.messages, seed=4)]
    request = judge.requests[0]
    assert (request.temperature, request.max_tokens, request.seed, request.stop) == (0.1, 9, 4, ("end",))


async def test_references_stand_as_declared_as_arrived_or_shuffled_by_seed() -> None:
    def layer(order: Order) -> Layer:
        return Layer(
            (Scripted("slow", "1", delay=0.02), *(Scripted(f"m{n}", str(n)) for n in range(2, 7))), order=order
        )

    async def order(kind: Order, seed: int | None = None) -> list[str]:
        answer = await moa.generate(panel(layer(kind)), Request(QUESTION.messages, seed=seed))
        return [reference.text for reference in answer.references]

    assert await order("declared") == ["1", "2", "3", "4", "5", "6"]
    assert await order("arrival") == ["2", "3", "4", "5", "6", "1"]
    assert sorted(await order("shuffled", 1)) == await order("declared")
    assert await order("shuffled", 1) == await order("shuffled", 1) != await order("shuffled", 2)


async def test_a_run_that_is_to_finish_answers_with_the_proposals_so_far() -> None:
    mixture = panel(
        Layer((Scripted("a", "red"), Scripted("slow", "never", delay=3600)), quorum=2), Layer((Scripted("b", "no"),))
    )
    async with moa.stream(mixture, QUESTION) as events:
        async for event in events:
            if isinstance(event, moa.SpanEnd) and event.text == "red":
                events.finish()
    assert events.response.references == (Response("a", "red"),)


async def test_leaving_the_stream_early_cancels_every_proposer() -> None:
    ended: list[str] = []

    class Endless:
        def __init__(self, name: str) -> None:
            self.name = name

        async def generate(self, request: Request, span: moa.Span) -> Response:
            span.text("begun")
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(self.name)
            raise AssertionError

    inner = Mixture((Layer((Endless("deep"),)),), Synthesize(Scripted("j", "x")), "inner")
    begun = 0
    async with moa.stream(panel(Layer((Endless("a"), inner))), QUESTION) as events:
        async for event in events:
            begun += isinstance(event, moa.TextDelta)
            if begun == 2:
                break
    assert sorted(ended) == ["a", "deep"]


async def test_text_is_streamed_only_where_there_is_a_listener() -> None:
    watched: list[bool] = []

    class Tells:
        name = "tells"

        async def generate(self, request: Request, span: moa.Span) -> Response:
            watched.append(span.streaming)
            return Response(self.name, "x")

    mixture = Mixture((Layer((Tells(),)),), Synthesize(Tells()))
    await moa.generate(mixture, QUESTION)
    await moa.generate(mixture, QUESTION, words="answer")
    await moa.generate(mixture, QUESTION, words="all")
    assert watched == [False, False, False, True, True, True]


async def test_only_the_aggregators_text_is_the_answer_at_any_depth() -> None:
    inner = Mixture((Layer((Scripted("a", "red"),)),), Synthesize(Scripted("b", "pink")), "inner")
    events: list[moa.Event] = []
    await moa.generate(Mixture((Layer((inner,)),), Synthesize(inner)), QUESTION, events.append, "all")
    assert "".join(event.text for event in events if isinstance(event, moa.TextDelta) and event.answer) == "pink"
