"""A conversation in the terminal: the same window shows question after question, and all of it goes along."""

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
"""What begins and ends a question of several lines."""


Turn = tuple[Message, Response]


class Chat:
    """What was said, who answers, and the commands that a line beginning with / gives.

    `build` makes a model of a name (`None` is the default), `view` a view for one answer, `read` returns the next line
    after showing a prompt, or `None` at the end. `options` are the sampling options of every question; `emit` is told
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
        self._said: list[Turn] = []
        self._unanswered: str | None = None
        self._saved: set[Path] = set()
        self._options = options or {}

    def run(self) -> int:
        """Talk until the end of the input. Returns the exit code: that of the last question that failed, else 0."""
        _tell(f"{self._model.name}. /help for commands, Ctrl-D to leave")
        with asyncio.Runner() as runner:
            for turn in self._turns():
                try:
                    command = re.match(r"/([a-z?]+)(?:\s+(.*))?$", turn.strip(), re.DOTALL)
                    if not command:
                        self._ask(turn, self._said, runner)
                    elif command[1] in ("quit", "exit"):
                        break
                    else:
                        self._command(command[1], (command[2] or "").strip(), runner)
                except MoaError as error:
                    self.exit_code = error.exit_code
                    _tell(f"moa: {error}")
                except KeyboardInterrupt:
                    _tell("\nstopped; /again asks it once more")
        return self.exit_code

    def _turns(self) -> Iterator[str]:
        while True:
            try:
                turn = question(self._read)
            except KeyboardInterrupt:
                _tell("\nCtrl-D or /quit leaves")
                continue
            if turn is None:
                return
            if turn.strip():
                yield turn

    def _ask(self, text: str, said: Sequence[Turn], runner: asyncio.Runner) -> None:
        """Ask, after what was said before. A question without an answer is kept for /again."""
        self._unanswered = text
        history = [message for asked, answer in said for message in (asked, Message("assistant", answer.text))]
        asked = Message("user", text)
        request = Request((*self._system, *history, asked), **self._options)
        self._said = [*said, (asked, runner.run(watch(self._model, request, self._view(), self._emit)))]
        self._unanswered = None

    def _command(self, name: str, rest: str, runner: asyncio.Runner) -> None:
        match name:
            case "help" | "?":
                _tell(HELP)
            case "again":
                self._again(runner)
            case "mixture" | "model":
                if rest:
                    self._model = self._build(rest)
                _tell(self._model.name)
            case "proposals":
                self._proposals()
            case "save":
                self._save(rest)
            case "clear":
                self._said.clear()
                _tell("forgotten")
            case _:
                commands = re.findall(r"^/(\w+)", HELP, re.MULTILINE)
                raise ConfigError(f"no command /{name}{did_you_mean(name, commands)}")

    def _again(self, runner: asyncio.Runner) -> None:
        if self._unanswered is not None:
            self._ask(self._unanswered, self._said, runner)
        elif self._said:
            self._ask(self._said[-1][0].text, self._said[:-1], runner)
        else:
            raise ConfigError("nothing was asked yet")

    def _proposals(self) -> None:
        if not self._said:
            raise ConfigError("there is no answer yet")
        references = self._said[-1][1].references
        if not references:
            _tell("the last answer had no proposals")
        for reference in references:
            print(printable(f"## {reference.model}\n\n{reference.text.strip()}\n"))  # noqa: T201

    def _save(self, file: str) -> None:
        if not file:
            raise ConfigError("say where: /save FILE.md or /save FILE.json")
        path = expanded(file)
        if path.exists() and path not in self._saved:
            raise ConfigError(f"{path} is there already; choose another name")
        try:
            path.write_text(self.as_json() if path.suffix == ".json" else self.as_markdown(), "utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
        self._saved.add(path)
        _tell(f"saved to {path}")

    def as_markdown(self) -> str:
        """The conversation, a heading for each who speaks."""
        told: list[tuple[str, str]] = [(message.role, message.text) for message in self._system]
        for asked, answer in self._said:
            told += [(asked.role, asked.text), (answer.model, answer.text)]
        return "\n".join(f"## {who}\n\n{text.strip()}\n" for who, text in told)

    def as_json(self) -> str:
        """The conversation as OpenAI's messages; an answer names its model."""
        told = [{"role": message.role, "content": message.text} for message in self._system]
        for asked, answer in self._said:
            told.append({"role": asked.role, "content": asked.text})
            told.append({"role": "assistant", "content": answer.text, "model": answer.model})
        return json.dumps({"messages": told}, ensure_ascii=False, indent=2) + "\n"


HELP = """\
/mixture [NAME]  show who answers, or let another answer
/proposals       show what the last answer was made of
/again           ask the last question once more
/save FILE       write the conversation down, as Markdown or, if FILE ends in .json, as JSON
/clear           forget the conversation
/quit            leave, as Ctrl-D does
A line that ends in \\ goes on in the next one; ''' begins and ends a question of several lines.
Ctrl-C stops an answer."""


def question(read: Callable[[str], str | None]) -> str | None:
    """The next question: a line, lines joined by a backslash, or a block in triple quotes. `None` at the end."""
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


def typed(prompt: str) -> str | None:
    """A line from the person at the terminal, with the editing and the history of `readline`."""
    with suppress(ImportError):  # a terminal without it has some editing of its own
        import readline  # noqa: F401
    try:
        return input(prompt)
    except EOFError:
        _tell("")
        return None
    except UnicodeDecodeError:
        _tell("moa: what was typed is not UTF-8")
        return ""


def piped(prompt: str) -> str | None:
    """A line of standard input, which is no terminal."""
    line = sys.stdin.buffer.readline()
    try:
        return line.decode().rstrip("\r\n") if line else None
    except UnicodeDecodeError:
        raise RequestError("standard input is not UTF-8") from None


def _tell(words: str) -> None:
    print(printable(words), file=sys.stderr)  # noqa: T201
