"""A conversation in the terminal. Each question is sent with the conversation so far."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...config.messages import did_you_mean
from ...errors import ConfigError, MoaError, RequestError
from ...model import Model
from ...paths import expanded
from ...sinks import EventSink
from ...types import Message, Request, Response
from .escape import printable
from .view import View, watch

BLOCK = ("'''", '"""')
"""Delimiters of a question of several lines."""


Turn = tuple[Message, Response]


class Chat:
    """A conversation, its model, and the commands that begin with /.

    `build` returns the model of a name (`None` is the default), `view` a view for one answer. `read` shows a prompt and
    returns the next line, or `None` at the end. `options` are the sampling options of every question. `emit` receives
    every event.
    """

    def __init__(
        self,
        build: Callable[[str | None], Model],
        view: Callable[[], View],
        read: Callable[[str], str | None],
        *,
        model: str | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        emit: EventSink | None = None,
    ) -> None:
        self.exit_code = 0
        self._emit = emit
        self._build = build
        self._view = view
        self._read = read
        self._model = build(model)
        self._system = (Message("system", system),) if system else ()
        self._history: list[Turn] = []
        self._unanswered: str | None = None
        self._saved: set[Path] = set()
        self._options = options or {}

    def run(self) -> int:
        """Read and answer until the end of the input. Return the exit code of the last failure, or 0."""
        _print(f"{self._model.name}. /help for commands, Ctrl-D to quit")
        with asyncio.Runner() as runner:
            for turn in self._turns():
                try:
                    command = re.match(r"/([a-z?]+)(?:\s+(.*))?$", turn.strip(), re.DOTALL)
                    if not command:
                        self._ask(turn, self._history, runner)
                    elif command[1] in ("quit", "exit"):
                        break
                    else:
                        self._command(command[1], (command[2] or "").strip(), runner)
                except MoaError as error:
                    self.exit_code = error.exit_code
                    _print(f"moa: {error}")
                except KeyboardInterrupt:
                    _print("\nstopped; /again retries")
        return self.exit_code

    def _turns(self) -> Iterator[str]:
        while True:
            try:
                turn = question(self._read)
            except KeyboardInterrupt:
                _print("\nCtrl-D or /quit to quit")
                continue
            if turn is None:
                return
            if turn.strip():
                yield turn

    def _ask(self, text: str, turns: Sequence[Turn], runner: asyncio.Runner) -> None:
        """Ask a question with the turns before it. Without an answer, /again retries it."""
        self._unanswered = text
        history = [message for question, answer in turns for message in (question, Message("assistant", answer.text))]
        message = Message("user", text)
        request = Request((*self._system, *history, message), **self._options)
        self._history = [*turns, (message, runner.run(watch(self._model, request, self._view(), self._emit)))]
        self._unanswered = None

    def _command(self, name: str, rest: str, runner: asyncio.Runner) -> None:
        match name:
            case "help" | "?":
                _print(HELP)
            case "again":
                self._again(runner)
            case "mixture" | "model":
                if rest:
                    self._model = self._build(rest)
                _print(self._model.name)
            case "proposals":
                self._proposals()
            case "save":
                self._save(rest)
            case "clear":
                self._history.clear()
                _print("conversation cleared")
            case _:
                commands = re.findall(r"^/(\w+)", HELP, re.MULTILINE)
                raise ConfigError(f"no command /{name}{did_you_mean(name, commands)}")

    def _again(self, runner: asyncio.Runner) -> None:
        if self._unanswered is not None:
            self._ask(self._unanswered, self._history, runner)
        elif self._history:
            self._ask(self._history[-1][0].text, self._history[:-1], runner)
        else:
            raise ConfigError("no question yet")

    def _proposals(self) -> None:
        if not self._history:
            raise ConfigError("no answer yet")
        references = self._history[-1][1].references
        if not references:
            _print("the last answer had no proposals")
        for reference in references:
            print(printable(f"## {reference.model}\n\n{reference.text.strip()}\n"))  # noqa: T201

    def _save(self, file: str) -> None:
        if not file:
            raise ConfigError("no file; use /save FILE.md or /save FILE.json")
        path = expanded(file)
        if path.exists() and path not in self._saved:
            raise ConfigError(f"{path} exists already; choose another name")
        try:
            path.write_text(self.as_json() if path.suffix == ".json" else self.as_markdown(), "utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot write: {error.strerror or error}") from error
        self._saved.add(path)
        _print(f"saved to {path}")

    def as_markdown(self) -> str:
        """Return the conversation with a heading per message."""
        messages: list[tuple[str, str]] = [(message.role, message.text) for message in self._system]
        for question, answer in self._history:
            messages += [(question.role, question.text), (answer.model, answer.text)]
        return "\n".join(f"## {who}\n\n{text.strip()}\n" for who, text in messages)

    def as_json(self) -> str:
        """Return the conversation as OpenAI messages; an answer names its model."""
        messages = [{"role": message.role, "content": message.text} for message in self._system]
        for question, answer in self._history:
            messages.append({"role": question.role, "content": question.text})
            messages.append({"role": "assistant", "content": answer.text, "model": answer.model})
        return json.dumps({"messages": messages}, ensure_ascii=False, indent=2) + "\n"


HELP = """\
/mixture [NAME]  show the current mixture, or switch to another
/proposals       show the proposals of the last answer
/again           ask the last question again
/save FILE       save the conversation, as JSON if FILE ends in .json, else as Markdown
/clear           clear the conversation
/quit            quit, like Ctrl-D
A line that ends in \\ continues on the next one; ''' begins and ends a question of several lines.
Ctrl-C stops an answer."""


def question(read: Callable[[str], str | None]) -> str | None:
    """Read a question: a line, lines joined by a backslash, or a block in triple quotes. `None` at the end."""
    line = read("> ")
    if line is None:
        return None
    if line.lstrip().startswith(BLOCK):
        return _block(line.lstrip(), read)
    while line.endswith("\\"):
        line = line[:-1] + "\n" + (read(". ") or "")
    return line


def _block(line: str, read: Callable[[str], str | None]) -> str:
    quotes, text = line[:3], line[3:]
    while not text.rstrip().endswith(quotes):
        more = read(". ")
        if more is None:
            return text.strip("\n")
        text += "\n" + more
    return text.rstrip().removesuffix(quotes).strip("\n")


def read_typed_line(prompt: str) -> str | None:
    """Read a line from the terminal, with the editing and the history of `readline`."""
    with suppress(ImportError):  # without it the terminal has its own editing
        import readline  # noqa: F401
    try:
        return input(prompt)
    except EOFError:
        _print("")
        return None
    except UnicodeDecodeError:
        _print("moa: the input is not UTF-8")
        return ""


def read_piped_line(prompt: str) -> str | None:
    """Read a line from standard input that is not a terminal."""
    line = sys.stdin.buffer.readline()
    try:
        return line.decode().rstrip("\r\n") if line else None
    except UnicodeDecodeError:
        raise RequestError("standard input is not UTF-8") from None


def _print(words: str) -> None:
    print(printable(words), file=sys.stderr)  # noqa: T201
