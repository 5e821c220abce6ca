"""GGUF models, run by llama.cpp in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import notes
from ...errors import ConfigError, ModelError
from ...model import ModelInfo
from ...span import CallSpec, Run, Span
from ...types import Message, PrewarmResult, Request, Response, Usage, without_images
from ...wire.chat_completions import Cost, Draft, request_to_json
from ...wrappers.limiter import begins
from . import threads, weights
from .batching import Call, Chunk
from .engine import Engine, Settings, load, loaded, refusal
from .weights import Weights


@dataclass(frozen=True)
class LlamaCpp:
    """A model file. `file` is its path, or the weights of a model that is downloaded at its first call.

    `context` is in tokens and shared by all answers being written at the same time, `slots` is how many those may be,
    `threads` is `None` for the number of cores. All models of one file share one engine, so these three must agree.
    Without `max_tokens`, an answer may take one share of the context: one of `slots` + 1, as one is for the prompt.
    """

    file: Path | Weights
    name: str
    context: int = 8192
    slots: int = 6
    threads: int | None = None

    @property
    def info(self) -> ModelInfo:
        """A model of this process, which costs nothing. Its cache key changes with its file."""
        return ModelInfo(self._cache_key, self.context, host="this process", prewarm="free", cost=self.cost)

    @property
    def _cache_key(self) -> str:
        if isinstance(self.file, Weights):
            file = self.file.sha256
        else:
            known = self.file.stat() if self.file.is_file() else None
            file = f"{self.file.absolute()} {known and (known.st_size, known.st_mtime_ns)}"
        return f"{file} {self.context} {self.slots}"

    def check(self) -> None:
        """Raise what would prevent loading the file. Downloads and loads nothing."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise ConfigError(f'{self.name} needs llama.cpp: pip install "mixture-of-agents[local]"')
        if isinstance(self.file, Weights):
            weights.check(self.file)
        else:
            _check_file(self.file)

    def cost(self, usage: Usage) -> float:
        """Return 0: it runs in this process."""
        return 0.0

    async def generate(self, request: Request, span: Span) -> Response:
        request = without_images(request)
        span.record_sent(request)
        try:
            body = self._body(request)
            engine = await self._engine(span)
            return await _Answer(self.name, request, span, self.cost).wait(engine, body)
        except ModelError as error:
            error.model = error.model or self.name
            raise

    async def prewarm(self, request: Request) -> PrewarmResult | None:
        """Read a prompt before its call, while the engine is idle. It loads an existing file but downloads none: the
        call does that, and reports the progress."""
        path = self._there()
        if path is None:
            return None
        body = self._body(without_images(request))
        wanted = True
        try:
            engine = self._loaded()
            if engine is None:
                _check_file(path)
                engine = await threads.result_of(lambda: load(path, self._settings), "moa-load")
            return await threads.result_of(lambda: engine.read_ahead(body, self.name, lambda: wanted), "moa-ahead")
        except ModelError as error:
            error.model = error.model or self.name
            raise
        finally:
            wanted = False

    def _body(self, request: Request) -> dict[str, Any]:
        """Return the call in OpenAI's form, without the seed that distinguishes samples."""
        request = replace(
            request,
            messages=[_as_read(message) for message in request.messages],
            stop=tuple(stop for stop in request.stop if stop),  # an empty one would stop every answer at once
            max_tokens=request.max_tokens or max(1, self.context // (self.slots + 1)),
            seed=None,
        )
        return {**request_to_json(request, self.name), "cache_prompt": True}

    async def _engine(self, span: Span) -> Engine:
        if engine := self._loaded():
            return engine
        notes = _Fetching(span)
        try:
            return await threads.result_of(lambda: load(self._path(notes.progress), self._settings), "moa-load")
        finally:
            notes.over = True

    def _loaded(self) -> Engine | None:
        path = self._there()
        return loaded(path, self._settings) if path else None

    def _there(self) -> Path | None:
        """Return the path of the file, `None` if it has to be downloaded first."""
        return weights.found(self.file) if isinstance(self.file, Weights) else self.file

    @property
    def _settings(self) -> Settings:
        return Settings(self.context, self.slots, self.threads)

    def _path(self, progress: weights.Progress) -> Path:
        if isinstance(self.file, Weights):
            return weights.fetch(self.file, progress)
        _check_file(self.file)
        return self.file


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; name a GGUF file that is there") from error
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file, or a damaged one; name another")


def _as_read(message: Message) -> Message:
    """Return the message as chat templates expect it, without parts and developer messages."""
    return replace(message, content=message.text, role="system" if message.role == "developer" else message.role)


class _Fetching:
    """Reports the progress of a download to a span, percent by percent, from the thread that downloads."""

    def __init__(self, span: Span) -> None:
        self.over = False
        self._span = span
        self._loop = asyncio.get_running_loop()
        self._percent = -1

    def progress(self, done: int, total: int) -> None:
        if threads.closing.is_set():
            raise ModelError("the program is ending")
        percent = done * 100 // total if total else 0
        if percent > self._percent:
            self._percent = percent
            _post(self._loop, lambda: self._note(done, total))

    def _note(self, done: int, total: int) -> None:
        if not self.over:
            self._span.note(notes.Downloading(done, total))


class _Answer:
    """An answer on its way from the engine's thread to the event loop that waits for it.

    Streamed tokens go to the loop one by one. Otherwise they are joined in the engine's thread and emitted to a run
    without a sink, so they cost the loop nothing.
    """

    def __init__(self, name: str, request: Request, span: Span, cost: Cost) -> None:
        self._name = name
        self._request = request
        self._span = span
        self._streaming = span.streaming
        self._speaker = span if self._streaming else Span(Run(), None, CallSpec(span.role), name)
        self._draft = Draft(name, cost)
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Response] = self._loop.create_future()

    async def wait(self, engine: Engine, body: Mapping[str, Any]) -> Response:
        call = Call(
            body,
            self._request.seed,
            prompt_tokens=_most_tokens(body, engine.template_tokens),
            max_tokens=body["max_tokens"],
            take=self._take,
            end=lambda error: _post(self._loop, lambda: self._end(error)),
            queued=lambda: _post(self._loop, self._queued),
            begins=begins(self._span.role),
        )
        engine.submit(call)
        self._loop.call_soon(engine.arrived, call)
        try:
            return await self._future
        finally:
            engine.cancel(call)

    def _take(self, chunk: Chunk) -> None:
        if self._streaming:
            _post(self._loop, lambda: self._add(chunk))
        else:
            self._add(chunk)

    def _add(self, chunk: Chunk) -> None:
        if self._future.done():
            return
        try:
            if error := chunk.get("error"):
                raise refusal(error, self._name)
            self._draft.add(chunk)
            self._draft.emit(self._speaker)
        except Exception as error:  # raised in `wait`; other samples are not affected
            self._error = error

    def _queued(self) -> None:
        if not self._future.done():
            self._span.note(notes.Queued())

    def _end(self, error: Exception | None) -> None:
        if self._future.done():
            return
        try:
            if error := self._error or error:
                raise error
            self._future.set_result(self._draft.close(True, self._request))
        except Exception as failure:
            self._future.set_exception(failure)


def _most_tokens(body: Mapping[str, Any], template_tokens: int) -> int:
    """Return an upper estimate of the length of the prompt, until the engine has counted it.

    Letters and spaces come at least three to a token in the languages the vocabularies are made for; a digit, or a
    byte of another script, may be a token by itself.
    """
    text = json.dumps([body["messages"], body.get("tools")], ensure_ascii=False)
    letters = len(re.findall("[A-Za-z ]", text))
    return len(text.encode()) - letters * 2 // 3 + len(body["messages"]) * template_tokens


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call back in the thread of a loop. In a closed loop nothing waits."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise
