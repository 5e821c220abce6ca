"""Runs that go on by themselves: started by one request, watched by any number, finished early or stopped by others.

The events of a run are kept while it goes on and for a while after it, so a reader that was away misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.routing import Route

from ..config import Table
from ..errors import RequestError
from ..events import Event, to_json
from ..model import Events
from ..trace import Trace
from ..types import Response
from .chat_body import ChatBody, ChatMessage
from .effort import sized
from .keys import caller
from .operations import TEXT, Operation, one_of, table
from .overrides import Overrides, overridden
from .refusals import failed
from .replies import Streamed, json, parsed, problem
from .service import Asked, NotFound, Service

State = Literal["running", "answered", "failed", "stopped"]


class RunBody(Table):
    """What to ask: a prompt or messages, the options of a chat completion, and what to change of the mixture."""

    model: str | None = Field(None, description="the configured default if it is not said")
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    options: dict[str, Any] = Field({}, description="temperature, max_tokens, seed ... as in a chat completion")
    moa: Overrides | None = None

    def asked(self, service: Service) -> Asked:
        """Raises `RequestError` or `NotFound`."""
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give prompt or messages, one of the two")
        if wrong := {"model", "messages", "stream", "moa"} & self.options.keys():
            raise RequestError(f"options.{min(wrong)} is no option; it has a place of its own")
        model = self.model or service.builder.config.default
        messages = self.messages or [ChatMessage(role="user", content=self.prompt or "")]
        try:
            chat = ChatBody.model_validate({**self.options, "model": model, "messages": messages})
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"options.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        asked = service.asked(model, chat.request(), stream=True, show="fields")
        asked, _ = sized(service, model, asked, chat.reasoning_effort)
        return replace(asked, model=overridden(asked.model, self.moa))


class Record:
    """One run: its events so far, and how it stands. `owner` is the id of the key that started it."""

    def __init__(self, model: str, owner: str | None) -> None:
        self.id = ""
        self.model = model
        self.owner = owner
        self.state: State = "running"
        self.events: list[Event] = []
        self.trace = Trace()
        self.response: Response | None = None
        self.error: Exception | None = None
        self.ended = 0.0
        self._changed = asyncio.Event()

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.trace.add(event)
        self._wake()

    def end(self, state: State) -> None:
        self.state, self.ended = state, time.monotonic()
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def read(self, after: int) -> AsyncIterator[list[tuple[int, Event]]]:
        """The events after a number, with their numbers from 1, as they come, until the run is over."""
        while True:
            changed = self._changed
            if fresh := self.events[after:]:
                yield list(enumerate(fresh, after + 1))
                after += len(fresh)
            elif self.state != "running":
                return
            else:
                await changed.wait()

    def told(self) -> dict[str, Any]:
        """How it stands, as JSON."""
        told: dict[str, Any] = {
            "run_id": self.id,
            "model": self.model,
            "state": self.state,
            "events": len(self.events),
        }
        if self.response:
            told["summary"] = self.trace.summary(self.response)
        if self.error:
            error = problem(self.error)
            told["error"] = {"message": error.message, "type": error.kind, "code": error.code}
        return told


class Runs:
    """The runs of one server: all that go on, and the last `kept` that are over, for `seconds`."""

    def __init__(self, service: Service, kept: int = 100, seconds: float = 900.0) -> None:
        self._service = service
        self._kept = kept
        self._seconds = seconds
        self._records: dict[str, Record] = {}
        self._doing: dict[str, tuple[asyncio.Task[None], Events]] = {}

    async def start(self, asked: Asked) -> Record:
        """Begin a run, once there is a place for it. Raises what stands in the way of that, such as `Busy`."""
        key = caller.get()
        record = Record(asked.model.name, key.id if key else None)
        started: asyncio.Future[Events] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(asked, record, started))
        try:
            waiting: set[asyncio.Future[Any]] = {task, started}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()  # who began it went away before it had begun
            raise
        if not started.done():
            await task  # which has failed
        self._records[record.id] = record
        self._doing[record.id] = task, started.result()
        task.add_done_callback(lambda _: self._doing.pop(record.id))
        self._forget()
        return record

    async def _run(self, asked: Asked, record: Record, started: asyncio.Future[Events]) -> None:
        try:
            async with self._service.answering(asked, record.add) as answering:
                record.id = answering.events.run.id
                started.set_result(answering.events)
                async for _ in answering.events:
                    pass
                record.response = answering.response
        except asyncio.CancelledError:
            record.end("stopped")
            raise
        except Exception as error:
            if not started.done():
                raise
            record.error = error
            record.end("failed")
        else:
            record.end("answered")

    def find(self, run: str) -> Record:
        """The run of an id, where it is the caller's own. Raises `NotFound`."""
        self._forget()
        record, key = self._records.get(run), caller.get()
        if record is None or record.owner != (key.id if key else None):
            raise NotFound("there is no such run, or it is over since long")
        return record

    def finish(self, record: Record) -> None:
        """Let it answer with what it has."""
        if record.id in self._doing:
            self._doing[record.id][1].finish()

    async def stop(self, record: Record) -> None:
        """End it now, and every call it has made."""
        if record.id in self._doing:
            task, _ = self._doing[record.id]
            task.cancel()
            await asyncio.wait({task})

    def _forget(self) -> None:
        over = [run for run, record in self._records.items() if record.state != "running"]
        late = time.monotonic() - self._seconds
        for place, run in enumerate(over):
            if place < len(over) - self._kept or self._records[run].ended < late:
                del self._records[run]


async def _finished(asked: asyncio.Event, finish: Any) -> None:
    await asked.wait()
    finish()


RECORD = table({"state": one_of("running", "answered", "failed", "stopped"), "model": TEXT})

OPERATIONS = (
    Operation("post", "/api/runs", "Start a run", table({"run_id": TEXT}), RunBody, status=201),
    Operation("get", "/api/runs/{id}", "Say how a run stands", RECORD),
    Operation("delete", "/api/runs/{id}", "Stop a run", RECORD),
    Operation("post", "/api/runs/{id}/finish", "Answer with the proposals that are there", RECORD, status=202),
    Operation(
        "get",
        "/api/runs/{id}/events",
        "Watch a run, from its start or from where the reader was",
        text="text/event-stream",
        query={"after": TEXT},
    ),
)


def routes(service: Service) -> list[Route]:
    """POST /api/runs, GET and DELETE /api/runs/{id}, GET /api/runs/{id}/events, POST /api/runs/{id}/finish."""
    runs = Runs(service)

    async def start(http: HTTPRequest) -> HTTPResponse:
        try:
            record = await runs.start((await parsed(http, RunBody)).asked(service))
        except Exception as error:
            return failed(error)
        return json({"run_id": record.id}, 201, {"Location": f"/api/runs/{record.id}"})

    async def one(http: HTTPRequest) -> HTTPResponse:
        try:
            record = runs.find(http.path_params["id"])
            if http.method == "DELETE":
                await runs.stop(record)
        except Exception as error:
            return failed(error)
        return json(record.told())

    async def finish(http: HTTPRequest) -> HTTPResponse:
        try:
            record = runs.find(http.path_params["id"])
            runs.finish(record)
        except Exception as error:
            return failed(error)
        return json(record.told(), 202)

    async def events(http: HTTPRequest) -> HTTPResponse:
        try:
            record = runs.find(http.path_params["id"])
            after = _after(http.headers.get("last-event-id") or http.query_params.get("after") or "0")
        except Exception as error:
            return failed(error)
        return Streamed(_sse(record, after), failed, every=service.table.keep_alive)

    return [
        Route("/api/runs", start, methods=["POST"]),
        Route("/api/runs/{id}", one, methods=["GET", "DELETE"]),
        Route("/api/runs/{id}/finish", finish, methods=["POST"]),
        Route("/api/runs/{id}/events", events, methods=["GET"]),
    ]


def _after(told: str) -> int:
    if not (told.isascii() and told.isdecimal() and len(told) < 16):
        raise RequestError("Last-Event-ID is the number of an event, as its id said")
    return int(told)


async def _sse(record: Record, after: int) -> AsyncIterator[bytes]:
    async for batch in record.read(after):
        yield b"".join(b"id: %d\nevent: %b\ndata: %b\n\n" % (n, e.type.encode(), to_json(e)) for n, e in batch)
    yield b'event: end\ndata: {"state":"%b"}\n\n' % record.state.encode()
