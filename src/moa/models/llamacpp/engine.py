"""llama.cpp in this process: one engine for each model file, shared by all models of the file.

The engine has one context for all answers in progress. When they fill it, llama.cpp fails all of them. So a call starts
only when its prompt and the longest answer it may get fit beside the others; until then it waits, see
`moa.wrappers.limiter`. A prompt is read before its call only while the engine is idle.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, ContextOverflow, ModelError
from ...types import PrewarmResult
from ...wire.chat_completions import error_from_json
from ...wrappers.limiter import next_of
from . import threads
from .batching import Call, Chunk, Samples, samples

STREAMED = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}

MOMENT = 0.005
"""How long a call waits for further samples of its prompt, in seconds: they may come from another event loop, or have
waited for the engine to load."""

BATCH = 128
"""Tokens read at once. A call cannot be stopped within a batch; with 2,048 tokens, reading would be 5 % faster."""

SAVED_PROMPTS_MIB = 256
"""Memory for prompts that have lost their slot, kept for reuse."""


@dataclass(frozen=True)
class Settings:
    """Settings of an engine. `context` is in tokens, shared by all answers; `slots` is how many are written at once."""

    context: int
    slots: int
    threads: int | None


class Engine:
    """A loaded model file. Made by `load`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.settings = settings
        self._server = server(path, settings)
        # A server dropped before it has answered once hangs the interpreter. This answer also tells what the template
        # of the chat adds to the shortest message.
        short = self._server.handle_chat_completions({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
        self.template_tokens: int = short["usage"]["prompt_tokens"]
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        self._running: set[Samples] = set()
        self._reading_ahead = False
        threads.at_exit(stop=self._wake, free=self._free)
        threads.start(self._dispatch, "moa-engine")

    def submit(self, call: Call) -> None:
        """Queue a call. It is answered as soon as there is room."""
        self._check_process()
        with self._changed:
            if threads.closing.is_set():
                raise ModelError("the program is ending")
            self._waiting.append(call)
            self._changed.notify_all()

    def arrived(self, call: Call) -> None:
        """Mark a submitted call as complete: its further samples are submitted too."""
        with self._changed:
            call.arrived = time.monotonic()
            self._changed.notify_all()

    def cancel(self, call: Call) -> None:
        """Stop a call, waiting or running. The other samples of its prompt continue."""
        with self._changed:
            call.cancelled = True
            self._changed.notify_all()

    def read_ahead(self, body: Mapping[str, Any], name: str, wanted: Callable[[], bool]) -> PrewarmResult | None:
        """Read the prompt of a call into the cache, in this thread. `None` if there are calls, or one comes at once.

        It stops between two batches when a call comes, and what it has read stays in the cache. The call waits for that
        batch: a prompt that is still being read is of no use to it.
        """
        self._check_process()
        with self._changed:
            if self._reading_ahead or self._running or self._waiting or threads.closing.is_set():
                return None
            self._reading_ahead = True
        begun = time.monotonic()
        progress: Mapping[str, int] = {}
        failure: ModelError | None = None

        def hear(chunk: Chunk) -> bool:
            nonlocal progress, failure
            if error := chunk.get("error"):
                failure = refusal(error, name)
            progress = chunk.get("prompt_progress") or progress
            return bool(self._waiting) or threads.closing.is_set() or not wanted()

        try:
            self._server.handle_chat_completions({**body, **STREAMED, "max_tokens": 1}, hear)
        except Exception as error:
            failure = _refused(error)
        finally:
            with self._changed:
                self._reading_ahead = False
                self._changed.notify_all()
        if failure:
            raise failure
        if not progress or not progress["processed"]:
            return None
        read = progress["processed"] - progress["cache"]
        return PrewarmResult(progress["processed"], read, time.monotonic() - begun)

    def tokens_read(self) -> int:
        """How many tokens of prompts the engine has read so far, without cached ones."""
        found = re.search(r"^llamacpp:prompt_tokens_total (\S+)$", self._server.handle_metrics(), re.MULTILINE)
        return int(float(found[1])) if found else 0

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ModelError(
                "this process was forked from one that had loaded the model, and llama.cpp does not survive that; "
                "start it with multiprocessing's 'spawn'"
            )

    def _dispatch(self) -> None:
        while group := self._next():
            threads.start(lambda group=group: self._answer(group), "moa-answer")  # type: ignore[misc]

    def _next(self) -> Samples | None:
        """Wait for room and return the calls to start next; `None` at the end."""
        with self._changed:
            while not threads.closing.is_set():
                self._waiting = [call for call in self._waiting if not call.cancelled]
                if not self._waiting or self._reading_ahead:
                    self._changed.wait()
                    continue
                now = time.monotonic()
                left = {call: call.arrived + MOMENT - now for call in self._waiting if call.arrived is not None}
                ready = [call for call in left if left[call] <= 0]
                if first := next_of(self._firsts(ready), lambda call: call.begins, self._goes):
                    group = self._samples(first)
                    self._waiting = [call for call in self._waiting if call not in group.calls]
                    self._running.add(group)
                    return group
                for call in ready:
                    if not call.waits:
                        call.waits = True
                        call.queued()
                self._changed.wait(min((wait for wait in left.values() if wait > 0), default=None))
            return None

    def _firsts(self, calls: Sequence[Call]) -> list[Call]:
        """Return the waiting calls that are not samples of the prompt of an earlier one."""
        firsts: list[Call] = []
        taken: set[Call] = set()
        for call in calls:
            if call not in taken:
                firsts.append(call)
                taken.update(samples(call, calls, self.settings.slots, self.settings.context))
        return firsts

    def _goes(self, call: Call) -> bool:
        return self._slots_left > 0 and self._fit(self._samples(call))

    @property
    def _slots_left(self) -> int:
        return self.settings.slots - sum(len(group.calls) for group in self._running)

    def _samples(self, first: Call) -> Samples:
        """Return the calls to answer together with this one: all samples of its prompt, so that it is read once.

        If reading it twice takes less than an answer, only as many as there is room for.
        """
        whole = Samples(samples(first, self._waiting, self.settings.slots, self.settings.context))
        if first.prompt_tokens > first.max_tokens or self._fit(whole):
            return whole
        context = self.settings.context - sum(group.tokens() for group in self._running)
        return Samples(samples(first, self._waiting, self._slots_left, context))

    def _fit(self, *more: Samples) -> bool:
        """Return whether the running calls and these fit together. One call alone always fits: its answer is cut."""
        groups = {*self._running, *more}
        calls = sum(len(group.calls) for group in groups)
        tokens = sum(group.tokens() for group in groups)
        return calls == 1 or (calls <= self.settings.slots and tokens <= self.settings.context)

    def _answer(self, group: Samples) -> None:
        failure: Exception | None = None
        too_long = False

        def hear(chunk: Chunk) -> bool:
            """Return True to stop the generation. It must raise nothing: that would end the call silently."""
            nonlocal failure, too_long
            try:
                if progress := chunk.get("prompt_progress"):
                    too_long = not self._counted(group, progress["total"])
                else:
                    group.hear(chunk)
                return too_long or threads.closing.is_set() or not group.wanted()
            except Exception as error:
                failure = error
                return True

        first = group.calls[0]
        # to llama.cpp the last number of 32 bits means a random seed, and the samples after that one seeds 0, 1, 2
        seed = secrets.randbits(31) if first.seed is None else first.seed % (2**32 - 1)
        asked = {**first.body, **STREAMED, "seed": seed, "n": len(group.calls)}
        try:
            self._server.handle_chat_completions(asked, hear)
        except Exception as error:
            failure = _refused(error)
        if not too_long and not threads.closing.is_set():  # at the end only daemon threads wait, about to vanish
            group.close(failure or ModelError("llama.cpp stopped in the middle of the answer", retryable=True))
        with self._changed:
            self._running.discard(group)
            if too_long:
                self._waiting[:0] = group.calls
            self._changed.notify_all()

    def _counted(self, group: Samples, tokens: int) -> bool:
        """Replace the estimated length of a prompt by the engine's count. Return whether it fits.

        The count comes before the prompt is read, so a call that must wait has emitted nothing yet.
        """
        if tokens == group.prompt_tokens:
            return True
        with self._changed:
            group.count(tokens)
            self._changed.notify_all()
            return self._fit()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _free(self) -> None:
        self._server = None


def refusal(error: Mapping[str, Any], name: str) -> ModelError:
    """Return the `ModelError` for an error value of llama.cpp."""
    if error.get("type") == "exceed_context_size_error":
        tokens, window = error["n_prompt_tokens"], error["n_ctx"]
        return ContextOverflow(
            f"{name}: the prompt has {tokens} tokens and the context window {window}; "
            "shorten it, or give the model a larger context",
            model=name,
            window=window,
        )
    return error_from_json({"error": error}, name)


def _refused(error: Exception) -> ModelError:
    """Return the `ModelError` for an exception of llama.cpp: ValueError, RuntimeError, or one of its JSON library."""
    return ModelError(f"llama.cpp refuses the call: {' '.join(str(error).split())[:300]}")


_engines: dict[Path, Engine] = {}
_loading = threading.Lock()


def loaded(path: Path, settings: Settings) -> Engine | None:
    """Return the engine of a file if it is loaded. Raises `ConfigError` if it is loaded with other settings."""
    engine = _engines.get(path.resolve())
    if engine is not None and engine.settings != settings:
        raise ConfigError(
            f"{path} is loaded already, with {engine.settings}; give every model of this file the same settings"
        )
    return engine


def load(path: Path, settings: Settings) -> Engine:
    """Return the engine of a file, and load it if necessary. Takes a second or more; call it off the event loop."""
    with _loading:
        engine = loaded(path, settings)
        if engine is None:
            engine = _engines[path.resolve()] = Engine(path, settings)
        return engine


def server(path: Path, settings: Settings) -> Any:
    """Return llama.cpp's server with the settings of an engine."""
    # idle workers of llama.cpp must not spin on cores that others need; read when the library is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigError(
            f'the embedded model needs llama.cpp ({error}): pip install "mixture-of-agents[local]"'
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = settings.context
    params.n_parallel = settings.slots
    params.kv_unified = True
    params.n_batch = params.n_ubatch = BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads or _cores()
    params.cache_ram_mib = SAVED_PROMPTS_MIB
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.ui = False
    # the library always opens a port on loopback: no other user of this machine may use it
    params.api_keys = [secrets.token_urlsafe(32)]
    if os.environ.get("MOA_LLAMA_LOG") != "1":
        params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: llama.cpp cannot load it; it is damaged, or no language model; get it again, or name another"
        ) from error


def _cores() -> int:
    """Return the number of cores this process may use, at most eight: more do not help models that suit a CPU."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 4)
