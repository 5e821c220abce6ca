"""Prewarming: the next prompt is read while the last proposals are written, at no cost in time or money."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.upstream import Reply, Upstream
from moa import Budget, Layer, Message, Mixture, ModelError, Prewarm, Prompt, Request, Response, Span, Synthesize, Usage
from moa.config.schema import ProviderTable
from moa.mixture.collector import Order
from moa.model import ModelInfo, Prewarming
from moa.models.openai.model import OpenAI
from moa.prompts.prompt import ReferencesIn
from moa.span import StreamMode
from moa.types import PrewarmResult
from moa.wrappers.limiter import Limited, Limiter

QUESTION = Request((Message("system", "Be brief."), Message("user", "Why is the sky blue?")))
LONG = "Air scatters short waves of light far more than long ones. " * 20


@dataclass(eq=False)
class Writer:
    """A proposer that writes what the test hands it: words, `None` at its end, an error to fail with."""

    name: str
    host: str = "there"
    pieces: asyncio.Queue[str | Exception | None] = field(default_factory=asyncio.Queue)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(host=self.host)

    async def generate(self, request: Request, span: Span) -> Response:
        text = ""
        while (piece := await self.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            text += piece
            if span.streaming:
                span.text(piece)
        return Response(self.name, text, Usage(cost=0.0))

    def writes(self, *pieces: str | Exception | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)


@dataclass(eq=False)
class Judge:
    """An aggregator's model that reads prewarmed what it is given, and remembers it."""

    name: str = "judge"
    prewarming: Prewarming = "free"
    host: str = "here"
    kept: bool = True
    bill: float = 0.0
    failing: bool = False
    busy: int = 0
    prewarmed: list[Request] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    reading: bool = False

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(host=self.host, prewarm=self.prewarming)

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        if self.failing:
            raise ModelError(f"{self.name}: out of order", model=self.name)
        if self.busy:
            self.busy -= 1
            return None
        known = self.prewarmed[-1].size if self.prewarmed and self.kept else 0
        self.prewarmed.append(request)
        self.news.set()
        if self.gate:
            self.reading = True
            await self.gate.wait()
            self.reading = False
        return PrewarmResult(request.size, request.size - known, 0.5, self.bill)

    async def generate(self, request: Request, span: Span) -> Response:
        assert not self.reading
        self.requests.append(request)
        return Response(self.name, "Because of the air.", Usage(1, 1, cost=0.0))

    async def reads(self, words: str) -> None:
        """Wait until it has been given a prompt with these words."""
        while not any(words in text_of(request) for request in self.prewarmed):
            self.news.clear()
            await self.news.wait()


def text_of(request: Request) -> str:
    return "\n".join(message.text for message in request.messages)


def panel(judge: Judge, *writers: moa.Model, order: Order | None = None, prompt: Prompt | None = None) -> Mixture:
    layers = (Layer(writers, order=order),)
    return Mixture(layers, Synthesize(judge, prompt or Prompt()), "panel", strategies=[Prewarm()])


async def run(
    mixture: Mixture, script: Callable[[], Any] | None = None, words: StreamMode = "none", **more: Any
) -> tuple[Response, list[moa.Event]]:
    """The answer and the events of a run during which the script goes on."""
    events: list[moa.Event] = []
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        task = group.create_task(moa.generate(mixture, QUESTION, events.append, words, **more))
        if script:
            await script()
    return task.result(), events


def notes(events: Sequence[moa.Event], kind: str) -> list[dict[str, Any]]:
    return [event.data.as_json() for event in events if isinstance(event, moa.Note) and event.kind == kind]


async def both(judge: Judge, *, order: Order | None = None, prompt: Prompt | None = None) -> Response:
    """A run in which the second of two proposals arrives first, and the first is read while it is written."""
    first, second = Writer("a"), Writer("b")

    async def script() -> None:
        second.writes("Second. " + LONG, None)
        await judge.reads("Second. ")
        first.writes("First <|im_start|> one. " + LONG)
        await judge.reads("First < |im_start|> one. ")
        first.writes(LONG + "The end.", None)

    answer, _ = await run(panel(judge, first, second, order=order, prompt=prompt), script)
    return answer


@pytest.mark.parametrize("where", ["system", "user"])
@pytest.mark.parametrize("instruction", ["Merge them.", "{question} Here:\n{references}\nMerge, {question}"])
async def test_a_prewarmed_prompt_is_the_beginning_of_the_real_one(where: ReferencesIn, instruction: str) -> None:
    judge = Judge()
    await both(judge, prompt=Prompt(instruction, where, True))
    last = -1 if where == "user" else 0
    whole = judge.requests[0].messages[last].text
    for request in judge.prewarmed:
        assert whole.startswith(request.messages[last].text)
        assert request.messages[0].role == "system"
    sizes = [request.size for request in judge.prewarmed]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0.6 * judge.requests[0].size


async def test_the_prompt_is_the_same_as_without_prewarming() -> None:
    reading, plain = Judge(), Judge(prewarming="off")
    texts = [Response("b", "Second. " + LONG), Response("a", "First <|im_start|> one. " + 2 * LONG + "The end.")]
    await both(reading)
    assert reading.requests == [Prompt()(QUESTION, texts)]
    first, second = Writer("a"), Writer("b")
    first.writes(texts[1].text, None)
    second.writes(texts[0].text, None)
    await run(panel(plain, second, first))
    assert plain.requests == reading.requests
    assert plain.prewarmed == []


async def test_references_stand_in_the_order_in_which_they_were_prewarmed() -> None:
    answer = await both(Judge())
    assert [reference.model for reference in answer.references] == ["b", "a"]


async def test_a_configured_order_is_kept() -> None:
    judge, first, second = Judge(), Writer("a"), Writer("b")

    async def script() -> None:
        second.writes("Second. " + LONG, None)
        first.writes("First. " + LONG)
        await judge.reads("First. ")
        first.writes("The end.", None)

    answer, _ = await run(panel(judge, first, second, order="declared"), script)
    assert [reference.model for reference in answer.references] == ["a", "b"]
    assert not any("Second. " in text_of(request) for request in judge.prewarmed)


async def test_shuffled_proposals_are_not_prewarmed() -> None:
    judge, writer = Judge(), Writer("a")
    writer.writes(LONG, None)
    await run(panel(judge, writer, order="shuffled"))
    assert judge.prewarmed == []


async def test_the_incomplete_proposal_sent_first_keeps_its_position() -> None:
    judge, first, second = Judge(), Writer("a"), Writer("b")

    async def script() -> None:
        first.writes("First. " + LONG)
        await judge.reads("First. ")
        second.writes("Second. " + LONG, None)
        first.writes("The end.", None)

    answer, _ = await run(panel(judge, first, second), script)
    assert [reference.model for reference in answer.references] == ["a", "b"]


async def test_a_proposal_that_fails_midway_is_not_in_the_prompt() -> None:
    judge, first, second = Judge(), Writer("a"), Writer("b")

    async def script() -> None:
        first.writes("First. " + LONG)
        await judge.reads("First. ")
        first.writes(ModelError("a: out of order", model="a"))
        second.writes("Second. " + LONG)
        await judge.reads("Second. ")
        second.writes(None)

    answer, _ = await run(panel(judge, first, second), script)
    assert [reference.model for reference in answer.references] == ["b"]
    assert "First. " not in text_of(judge.prewarmed[-1])
    assert "First. " not in text_of(judge.requests[0])


async def test_text_voided_by_a_retry_is_not_sent_again() -> None:
    judge, writer = Judge(), Writer("a")
    retried = moa.Retried(writer, attempts=2, pause=0)

    async def script() -> None:
        writer.writes("Wrong. " + LONG)
        await judge.reads("Wrong. ")
        writer.writes(ModelError("a: busy", model="a", retryable=True))
        writer.writes("Right. " + 2 * LONG)
        await judge.reads("Right. ")
        writer.writes(None)

    await run(panel(judge, retried), script)
    assert "Wrong. " not in text_of(judge.prewarmed[-1])


async def test_text_streamed_for_prewarming_alone_is_not_emitted() -> None:
    judge, writer = Judge(), Writer("a")

    async def script() -> None:
        writer.writes("First. " + LONG)
        await judge.reads("First. ")
        writer.writes(None)

    _, events = await run(panel(judge, writer), script)
    assert not any(isinstance(event, moa.TextDelta) for event in events)


async def test_the_real_call_waits_for_a_prewarming_call_in_progress() -> None:
    judge = Judge(gate=asyncio.Event())
    writer = Writer("a")

    async def script() -> None:
        writer.writes(LONG, None)
        await judge.reads("assistants")
        await asyncio.sleep(0)
        assert judge.gate and judge.reading
        judge.gate.set()

    await run(panel(judge, writer), script)
    assert len(judge.requests) == 1  # and Judge.generate says that nothing was being read then


async def test_the_trace_shows_what_was_prewarmed() -> None:
    judge, writer, trace = Judge(), Writer("a"), moa.Trace()

    async def script() -> None:
        writer.writes("First. " + LONG)
        await judge.reads("First. ")
        writer.writes("On. " + LONG)
        await judge.reads("On. ")
        writer.writes(None)

    answer, events = await run(panel(judge, writer), script)
    for event in events:
        trace.add(event)
    [node] = [node for node in trace.root.walk() if node.start.role == "prewarm"]
    [note] = notes(events, "prewarmed")
    assert (node.start.model, node.start.layer) == ("judge", 2)
    assert note["tokens"] == note["read"] == judge.prewarmed[-1].size
    assert (note["times"], note["seconds"]) == (len(judge.prewarmed), 0.5 * len(judge.prewarmed))
    assert 0 < note["saved"] <= note["seconds"]
    assert node.usage == Usage(judge.prewarmed[-1].size, cost=0.0)
    assert answer.usage.cost == 0.0


async def test_all_samples_of_a_model_in_a_later_layer_are_prewarmed_once() -> None:
    judge, writer = Judge("b"), Writer("a")
    samples = [moa.WithDefaults(judge, seed=n, system="Be kind.") for n in range(3)]
    layers = (Layer((writer,)), Layer(samples))
    mixture = Mixture(layers, Synthesize(moa.Scripted("c", "Yes.")), "panel", strategies=[Prewarm()])

    async def script() -> None:
        writer.writes("First. " + LONG)
        await judge.reads("First. ")
        writer.writes(None)

    _, events = await run(mixture, script)
    assert len(notes(events, "prewarmed")) == 1
    assert all(request.messages[0].text.startswith(judge.prewarmed[-1].messages[0].text) for request in judge.requests)


async def test_a_model_on_the_host_of_all_proposers_is_not_prewarmed() -> None:
    judge, writer = Judge(host="there"), Writer("a", host="there")
    writer.writes(LONG, None)
    await run(panel(judge, writer))
    assert judge.prewarmed == []


async def test_a_failed_prewarming_is_noted_and_loses_no_answer() -> None:
    judge, writer = Judge(failing=True), Writer("a")
    writer.writes(LONG, None)
    answer, events = await run(panel(judge, writer))
    assert answer.text == "Because of the air."
    assert notes(events, "prewarm_failed") == [{"model": "judge", "error": "judge: out of order"}]


async def test_a_busy_host_is_asked_again() -> None:
    judge, writer = Judge(busy=2), Writer("a")

    async def script() -> None:
        writer.writes("First. " + LONG)
        await judge.reads("First. ")
        writer.writes(None)

    await run(panel(judge, writer), script)
    assert judge.busy == 0


async def test_prewarming_stops_if_the_server_keeps_no_prefix() -> None:
    judge = Judge(kept=False)
    writer = Writer("a")
    mixture = panel(judge, writer)

    async def script() -> None:
        for number in range(4):
            writer.writes(f"Part {number}. " + LONG)
            await judge.reads(f"Part {number}. ")
        writer.writes(None)

    await run(mixture, script)
    judge.prewarmed.clear()
    writer.writes(LONG, None)
    await run(mixture)
    assert judge.prewarmed == []


async def test_a_copy_of_the_mixture_keeps_what_was_learned_of_its_servers() -> None:
    judge, writer = Judge(kept=False), Writer("a")
    mixture = panel(judge, writer)

    async def script() -> None:
        for number in range(4):
            writer.writes(f"Part {number}. " + LONG)
            await judge.reads(f"Part {number}. ")
        writer.writes(None)

    await run(mixture, script)
    judge.prewarmed.clear()
    writer.writes(LONG, None)
    await run(replace(mixture, name="copy"))
    assert judge.prewarmed == []


async def test_paid_prewarming_is_priced_and_done_once_for_each_proposal() -> None:
    judge, first, second = Judge(prewarming="paid", bill=0.25), Writer("a"), Writer("b")

    async def script() -> None:
        first.writes("First. " + LONG)
        await judge.reads("assistants")
        first.writes(None)
        await judge.reads("First. ")
        second.writes("Second. " + LONG, None)

    answer, _ = await run(panel(judge, first, second), script)
    assert sum("First. " in text_of(request) for request in judge.prewarmed) == 1
    assert not any("Second. " in text_of(request) for request in judge.prewarmed)
    assert answer.usage.cost == 0.25 * len(judge.prewarmed) > 0


async def test_nothing_is_prewarmed_for_money_in_a_run_with_a_budget() -> None:
    judge, writer = Judge(prewarming="paid", bill=0.25), Writer("a")
    writer.writes(LONG, None)
    await run(panel(judge, writer), budget=Budget(tokens=100_000))
    assert judge.prewarmed == []


async def test_prewarming_gives_way_to_a_call_at_the_same_host() -> None:
    judge, calls = Judge(gate=asyncio.Event()), Limiter()
    model = Limited(judge, calls)
    reading = asyncio.create_task(moa.model.prewarm(model, QUESTION))
    await judge.reads("sky")
    assert calls.try_acquire()
    assert await reading is None
    assert await moa.model.prewarm(model, QUESTION) is None
    calls.release()
    judge.gate = None
    assert await moa.model.prewarm(model, QUESTION) is not None


async def test_a_server_generates_one_token_and_reports_what_it_had_cached() -> None:
    known = {"usage": {"prompt_tokens": 900, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 640}}}
    with Upstream({"m": Reply(raw=json.dumps(known).encode())}) as upstream:
        warmed = await OpenAI("m", upstream.url, prewarming="free").prewarm(QUESTION)
    assert (warmed.tokens, warmed.read) == (900, 260)
    assert warmed.seconds > 0
    [call] = upstream.calls
    assert call.body["max_tokens"] == 1
    assert "stream" not in call.body


async def test_a_server_need_not_report_what_it_had_cached() -> None:
    with Upstream({"m": "x"}) as upstream:
        warmed = await OpenAI("m", upstream.url).prewarm(QUESTION)
    assert (warmed.tokens, warmed.read, warmed.cost) == (7, None, None)


async def test_a_rejected_prewarming_call_is_a_model_error() -> None:
    with Upstream({"m": Reply(status=400, text="no")}) as upstream, pytest.raises(ModelError, match="no"):
        await OpenAI("m", upstream.url).prewarm(QUESTION)


async def test_two_servers_of_a_configuration_overlap(tmp_path: Path) -> None:
    with Upstream({"a": Reply(LONG, pace=0.002)}) as first, Upstream({"b": "Yes."}) as other:
        path = tmp_path / "moa.toml"
        path.write_text(
            f"""
            [providers.first]
            base_url = "{first.url}"
            [providers.other]
            base_url = "{other.url}"
            price = {{ input = 0, output = 0 }}
            [mixtures.panel]
            proposers = ["first:a"]
            aggregator = "other:b"
            """
        )
        answer = await moa.generate(moa.get_model("moa:panel", path), QUESTION)
    assert answer.text == "Yes."
    *prewarmed, call = other.calls
    assert len(prewarmed) > 2
    assert [beginning.body["max_tokens"] for beginning in prewarmed] == [1] * len(prewarmed)
    assert all(call.system.startswith(beginning.system) for beginning in prewarmed)
    assert first.calls[0].body["stream"] is True


@pytest.mark.parametrize(
    ("url", "price", "setting", "expected"),
    [
        ("http://127.0.0.1:8000/v1", 0, None, "free"),
        ("http://localhost:8000/v1", 0, None, "free"),
        ("http://127.0.0.1:8000/v1", 1, None, "off"),
        ("http://127.0.0.1:8000/v1", None, None, "off"),
        ("https://example.org/v1", 0, None, "off"),
        ("https://example.org/v1", 1, "paid", "paid"),
        ("http://127.0.0.1:8000/v1", 0, "off", "off"),
    ],
)
def test_prewarming_is_on_by_default_only_where_it_costs_nothing(
    url: str, price: int | None, setting: str | None, expected: str
) -> None:
    table: dict[str, Any] = {"base_url": url}
    if price is not None:
        table["price"] = {"input": price, "output": price}
    if setting:
        table["prewarm"] = setting
    assert ProviderTable.model_validate(table).prewarming == expected
