"""Limits on concurrent calls: how many run at once, and which is next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.requests import idle, notes, start
from helpers.upstream import Body, Upstream
from moa import Layer, Limited, Limiter, Message, Mixture, ModelError, Request, Response, Scripted, Span, Synthesize
from moa.events import Role
from moa.types import PrewarmResult
from moa.wrappers.limiter import MAX_PASSED

REQUEST = Request((Message("user", "Which colour?"),))


class Gated:
    """A model that answers when its gate opens, and records the calls in progress."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.inside: list[str] = []
        self.started: list[str] = []

    async def generate(self, request: Request, span: Span) -> Response:
        self.started.append(request.question)
        self.inside.append(request.question)
        try:
            await self.gate.wait()
        finally:
            self.inside.remove(request.question)
        return Response(self.name, request.question)


# --- a limit on calls at once -----------------------------------------------------------------------------------------


async def test_no_more_calls_than_the_limit_are_inside_and_the_others_come_in_turn() -> None:
    model = Gated()
    limited = Limited(model, Limiter(2))
    tasks = [start(limited, str(number)) for number in range(5)]
    await idle()
    assert model.inside == ["0", "1"]
    model.gate.set()
    assert [(await task).text for task in tasks] == ["0", "1", "2", "3", "4"]
    assert model.started == ["0", "1", "2", "3", "4"]


async def test_models_that_share_a_limiter_share_its_places() -> None:
    one, other, limiter = Gated(), Gated(), Limiter(1)
    first, second = start(Limited(one, limiter), "a"), start(Limited(other, limiter), "b")
    await idle()
    assert (one.inside, other.inside) == (["a"], [])
    one.gate.set()
    other.gate.set()
    assert [(await first).text, (await second).text] == ["a", "b"]


async def test_waiting_in_line_is_noted_when_it_begins_and_when_it_ends() -> None:
    model, events = Gated(), list[moa.Event]()
    limited = Limited(model, Limiter(1))
    first, second = start(limited, "a"), start(limited, "b", events)
    await idle()
    assert notes(events) == [("queued", {})]
    model.gate.set()
    await asyncio.gather(first, second)
    assert [(kind, list(data)) for kind, data in notes(events)] == [("queued", []), ("dequeued", ["seconds"])]


async def test_who_leaves_the_line_takes_no_place_with_them() -> None:
    model = Gated()
    limited = Limited(model, Limiter(1))
    first, second, third = (start(limited, name) for name in "abc")
    await idle()
    second.cancel()
    model.gate.set()
    assert [(await first).text, (await third).text] == ["a", "c"]
    assert second.cancelled()
    assert (await start(limited, "d")).text == "d"


async def test_who_leaves_at_the_moment_of_being_called_passes_the_place_on() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    second, third = asyncio.create_task(limiter.acquire()), asyncio.create_task(limiter.acquire())
    await idle()
    limiter.release()
    second.cancel()
    async with asyncio.timeout(5):
        await third
    limiter.release()
    assert limiter.try_acquire()
    assert not limiter.try_acquire()


async def test_a_failed_and_a_cancelled_call_give_their_places_back() -> None:
    limiter = Limiter(1)
    with pytest.raises(ModelError):
        await moa.generate(Limited(Scripted("a", ModelError("a: no")), limiter), REQUEST)
    task = start(Limited(Gated(), limiter), "b")
    await idle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert limiter.try_acquire()


def test_a_limit_holds_over_event_loops_of_several_threads() -> None:
    inside, most, lock, meeting = 0, 0, threading.Lock(), threading.Barrier(4)

    class Counts:
        name = "counts"

        async def generate(self, request: Request, span: Span) -> Response:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            await asyncio.sleep(0.001)
            with lock:
                inside -= 1
            return Response(self.name, "x")

    limited = Limited(Counts(), Limiter(2))

    async def crowd() -> None:
        await asyncio.gather(*(moa.generate(limited, REQUEST) for _ in range(10)))

    def work() -> None:
        meeting.wait()
        asyncio.run(crowd())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert (inside, most) == (0, 2)
    assert (limited.limiter.try_acquire(), limited.limiter.try_acquire(), limited.limiter.try_acquire()) == (
        True,
        True,
        False,
    )


# --- which call is next -----------------------------------------------------------------------------------------------


class Line:
    """Calls that reach a limiter one after another, and the order in which they are admitted."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def comes(self, model: str, role: Role = "root", name: str = "") -> None:
        async def wait() -> None:
            await self.limiter.acquire(model, role)
            self.order.append(name or model)

        self.tasks.append(asyncio.create_task(wait()))
        await idle()

    async def leaves(self) -> None:
        self.limiter.release()
        await idle()

    async def all_leave(self) -> None:
        for _ in self.tasks:
            await self.leaves()


async def test_what_ends_a_run_goes_before_what_begins_one() -> None:
    line = Line(Limiter(1))
    await line.comes("a", name="first")
    await line.comes("a", "proposer", "one proposer")
    await line.comes("b", "proposer", "another")
    await line.comes("b", "aggregator", "aggregator")
    await line.all_leave()
    assert line.order == ["first", "aggregator", "one proposer", "another"]


async def test_a_machine_of_one_model_answers_all_that_it_can_before_the_next_is_loaded() -> None:
    line = Line(Limiter(1, one_model=True))
    for model in "abcabca":
        await line.comes(model)
    await line.all_leave()
    assert line.order == ["a", "a", "a", "b", "b", "c", "c"]


async def test_calls_to_the_loaded_model_have_no_limit_where_none_is_set_and_others_wait_for_all_of_them() -> None:
    line = Line(Limiter(one_model=True))
    for model in "abaab":
        await line.comes(model)
    assert line.order == ["a", "a", "a"]
    await line.leaves()
    await line.leaves()
    assert line.order == ["a", "a", "a"]
    await line.leaves()
    assert line.order == ["a", "a", "a", "b", "b"]


async def test_the_limit_holds_on_a_machine_of_one_model_and_no_place_of_it_stays_empty() -> None:
    line = Line(Limiter(2, one_model=True))
    for model in "abaa":
        await line.comes(model)
    assert line.order == ["a", "a"]
    await line.leaves()
    assert line.order == ["a", "a", "a"]
    await line.leaves()
    assert line.order == ["a", "a", "a"]
    await line.leaves()
    assert line.order == ["a", "a", "a", "b"]


async def test_an_aggregator_of_another_model_waits_for_the_loaded_one_but_goes_first_among_the_others() -> None:
    line = Line(Limiter(1, one_model=True))
    await line.comes("a")
    await line.comes("b", "proposer", "b proposes")
    await line.comes("c", "aggregator", "c ends")
    await line.comes("a", "proposer", "a proposes")
    await line.comes("a", "aggregator", "a ends")
    await line.all_leave()
    assert line.order == ["a", "a ends", "a proposes", "c ends", "b proposes"]


@pytest.mark.parametrize("comes", [("b", "root"), ("a", "proposer")])
async def test_nobody_is_passed_over_for_ever(comes: tuple[str, Role]) -> None:
    line = Line(Limiter(1, one_model=True))
    await line.comes("a")
    await line.comes(*comes, name="patient")
    for _ in range(2 * MAX_PASSED):
        await line.comes("a", "aggregator", "passes")
        await line.leaves()
    await line.leaves()  # the last one is admitted
    assert line.order.index("patient") == 1 + MAX_PASSED


async def test_a_call_that_waited_long_enough_is_not_passed_by_one_that_has_just_come() -> None:
    line = Line(Limiter(2, one_model=True))
    await line.comes("a")
    await line.comes("b", name="patient")
    for _ in range(MAX_PASSED):
        await line.comes("a")
        await line.leaves()
    assert not line.limiter.try_acquire("a")
    await line.leaves()
    assert line.order[-1] == "patient"


# --- prewarming -------------------------------------------------------------------------------------------------------


class Reads(Scripted):
    """A model that prewarms until it is stopped."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "red")
        self.reading = False
        self.done = asyncio.Event()

    async def prewarm(self, request: Request) -> PrewarmResult:
        self.reading = True
        try:
            await self.done.wait()
        finally:
            self.reading = False
        return PrewarmResult(10, 10, 0.5)


async def test_what_is_read_ahead_takes_a_place_that_nobody_wants_and_gives_it_back() -> None:
    model, limiter = Reads("a"), Limiter(1)
    reading = asyncio.create_task(moa.model.prewarm(Limited(model, limiter), REQUEST))
    await idle()
    assert not limiter.try_acquire()
    model.done.set()
    assert await reading == PrewarmResult(10, 10, 0.5)
    assert limiter.try_acquire()


async def test_reading_ahead_gives_way_to_a_call() -> None:
    model = Reads("a")
    limited = Limited(model, Limiter(1))
    reading = asyncio.create_task(moa.model.prewarm(limited, REQUEST))
    await idle()
    assert model.reading
    assert (await moa.generate(limited, REQUEST)).text == "red"
    assert await reading is None
    assert not model.reading


async def test_nothing_is_read_ahead_while_calls_take_every_place_or_another_model_is_loaded() -> None:
    full, other = Limiter(1), Limiter(one_model=True)
    await full.acquire("a")
    await other.acquire("b")
    other.release()
    for limiter in (full, other):
        model = Reads("a")
        assert await moa.model.prewarm(Limited(model, limiter), REQUEST) is None
        assert not model.reading


async def test_reading_ahead_that_is_cancelled_gives_its_place_back() -> None:
    model, limiter = Reads("a"), Limiter(1)
    reading = asyncio.create_task(moa.model.prewarm(Limited(model, limiter), REQUEST))
    await idle()
    reading.cancel()
    await asyncio.wait([reading])
    await idle()
    assert (reading.cancelled(), model.reading, limiter.try_acquire()) == (True, False, True)


# --- simulated gain ---------------------------------------------------------------------------------------------------


async def test_an_upstream_with_one_gpu_loads_each_model_once(tmp_path: Path) -> None:
    def says(body: Body) -> str:
        return f"{body['model']} answers"

    with Upstream(says) as upstream:
        path = tmp_path / "moa.toml"
        path.write_text(f"""
            providers.lab = {{ base_url = "{upstream.url}", max_loaded_models = 1, max_concurrency = 2 }}
            [mixtures.panel]
            proposers = ["lab:a", "lab:b", "lab:c"]
            aggregator = "lab:a"
        """)
        panel = moa.get_model("moa:panel", config=path)
        answers = await asyncio.gather(*(moa.generate(panel, REQUEST) for _ in range(4)))

    calls = [call.model for call in upstream.calls]
    assert [answer.text for answer in answers] == ["a answers"] * 4
    assert calls == ["a"] * 4 + ["b"] * 4 + ["c"] * 4 + ["a"] * 4


@dataclass
class Clock:
    """A clock that advances only when every task waits for it."""

    now: float = 0.0
    _alarms: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._alarms, (self.now + seconds, next(self._count), future))
        await future

    async def run(self, *work: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.create_task(one) for one in work]
        await idle()
        while self._alarms:
            self.now, _, future = heapq.heappop(self._alarms)
            future.set_result(None)
            await idle()
        await asyncio.gather(*tasks)


@dataclass
class Gpu:
    """A GPU that holds one model, answers `slots` calls at a time in order of arrival, and loads a model in 5 s."""

    clock: Clock
    slots: int
    loaded: str = ""
    swaps: int = 0
    running: int = 0
    door: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, model: str, seconds: float) -> None:
        async with self.door:
            async with self.changed:
                await self.changed.wait_for(
                    lambda: not self.running or (self.loaded == model and self.running < self.slots)
                )
            if self.loaded != model:
                self.loaded = model
                self.swaps += 1
                await self.clock.sleep(5)
            self.running += 1
        await self.clock.sleep(seconds)
        async with self.changed:
            self.running -= 1
            self.changed.notify_all()


@dataclass
class OnGpu:
    name: str
    gpu: Gpu

    async def generate(self, request: Request, span: Span) -> Response:
        await self.gpu.answer(self.name, 2 if span.role == "proposer" else 3)
        return Response(self.name, "red")


async def simulated(seed: int, slots: int, *, one_model: bool) -> tuple[int, list[float]]:
    """Return how often the model is changed, and when each of twelve runs of two mixtures ends."""
    clock, chance = Clock(), random.Random(seed)
    gpu, limiter = Gpu(clock, slots), Limiter(slots, one_model=one_model)
    a, b, c = (Limited(OnGpu(name, gpu), limiter) for name in "abc")
    mixtures = [
        Mixture((Layer((a, b, c)),), Synthesize(a)),
        Mixture((Layer((b, b, b)),), Synthesize(b)),
    ]
    ends: list[float] = []

    async def one(mixture: Mixture, arrival: float) -> None:
        await clock.sleep(arrival)
        await moa.generate(mixture, REQUEST)
        ends.append(clock.now)

    await clock.run(*(one(chance.choice(mixtures), chance.uniform(0, 60)) for _ in range(12)))
    assert len(ends) == 12
    return gpu.swaps, ends


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("seed", range(5))
async def test_a_machine_of_one_model_changes_it_less_and_is_ready_no_later(seed: int, slots: int) -> None:
    first_come, first_ends = await simulated(seed, slots, one_model=False)
    ordered, ends = await simulated(seed, slots, one_model=True)

    assert ordered < first_come / 2
    assert max(ends) <= max(first_ends)
    assert sum(ends) <= sum(first_ends)
