"""A conversation: what goes along, what the commands do, and that no question is lost."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from helpers.command import MOA, configured, moa, until
from helpers.upstream import Reply, Upstream
from moa import Event, Model, ModelError, Response, Scripted
from moa.cli.terminal.chat import Chat, question
from moa.span import StreamMode


class Quiet:
    """A view that shows nothing."""

    words: StreamMode = "none"

    def add(self, event: Event) -> None: ...
    def draw(self) -> None: ...
    def close(self, response: Response | None) -> None: ...


def reading(*lines: str) -> Callable[[str], str | None]:
    waiting: Iterator[str] = iter(lines)
    return lambda prompt: next(waiting, None)


def talk(model: Model, *lines: str, others: Sequence[Model] = ()) -> Chat:
    models = {one.name: one for one in others}
    chat = Chat(lambda name: models[name] if name else model, Quiet, reading(*lines), system="Be brief.")
    chat.run()
    return chat


def test_every_question_goes_along_with_what_was_said_before() -> None:
    model = Scripted("a", ["one", "two"])
    talk(model, "First?", "Second?")
    assert [(message.role, message.text) for message in model.requests[1].messages] == [
        ("system", "Be brief."),
        ("user", "First?"),
        ("assistant", "one"),
        ("user", "Second?"),
    ]


def test_a_question_that_failed_is_not_part_of_the_conversation() -> None:
    model = Scripted("a", [ModelError("a: on fire"), "two"])
    talk(model, "First?", "Second?")
    assert [message.text for message in model.requests[1].messages] == ["Be brief.", "Second?"]


def test_a_question_that_failed_can_be_asked_again() -> None:
    model = Scripted("a", [ModelError("a: on fire"), "two"])
    talk(model, "First?", "/again")
    assert model.requests[1] == model.requests[0]


def test_an_answer_can_be_replaced_by_another() -> None:
    model = Scripted("a", ["one", "two"])
    chat = talk(model, "First?", "/again")
    assert model.requests[1] == model.requests[0]
    assert "two" in chat.as_markdown() and "one" not in chat.as_markdown()


def test_another_mixture_goes_on_with_the_same_conversation() -> None:
    other = Scripted("b", "two")
    talk(Scripted("a", "one"), "First?", "/mixture b", "Second?", others=[other])
    assert [message.text for message in other.requests[0].messages] == ["Be brief.", "First?", "one", "Second?"]


def test_what_was_said_can_be_forgotten_and_the_instruction_stays() -> None:
    model = Scripted("a", ["one", "two"])
    talk(model, "First?", "/clear", "Second?")
    assert [message.text for message in model.requests[1].messages] == ["Be brief.", "Second?"]


def test_the_exit_code_is_that_of_the_last_failure() -> None:
    assert talk(Scripted("a", [ModelError("a: on fire"), "two"]), "First?", "Second?").exit_code == 1


def test_a_path_is_a_question_and_not_a_command() -> None:
    model = Scripted("a", "one")
    talk(model, "/etc/passwd: what is it?")
    assert model.requests[0].question == "/etc/passwd: what is it?"


@pytest.mark.parametrize(
    ("lines", "inputs"),
    [
        (["one line"], "one line"),
        (["two \\", "lines"], "two \nlines"),
        (["'''", "def f():", "    pass", "'''"], "def f():\n    pass"),
        (['"""a', 'b"""'], "a\nb"),
        (["'''one line'''"], "one line"),
        (["'''never", "ended"], "never\nended"),
        ([], None),
    ],
)
def test_a_question_may_have_several_lines(lines: list[str], inputs: str | None) -> None:
    assert question(reading(*lines)) == inputs


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"a": "red", "b": "blue", "big": "Violet."}) as server:
        configured(server)
        yield server


def test_a_script_gets_the_answers_and_nothing_else(upstream: Upstream) -> None:
    result = moa("chat", stdin="First?\nSecond?\n")
    assert (result.returncode, result.stdout) == (0, "Violet.\nViolet.\n")
    assert [message["content"] for message in upstream.to("a")[1].messages] == ["First?", "Violet.", "Second?"]


def test_the_proposals_of_the_last_answer_can_be_read(upstream: Upstream) -> None:
    assert moa("chat", stdin="First?\n/proposals\n").stdout == "Violet.\n## lab:a\n\nred\n\n## lab:b\n\nblue\n\n"


def test_a_conversation_is_saved_as_markdown_or_as_json(upstream: Upstream) -> None:
    moa("chat", "-s", "Be brief.", stdin="First?\n/save talk.md\n/save talk.json\n")
    assert Path("talk.md").read_text() == ("## system\n\nBe brief.\n\n## user\n\nFirst?\n\n## moa:panel\n\nViolet.\n")
    assert json.loads(Path("talk.json").read_text())["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "Violet.", "model": "moa:panel"},
    ]


def test_a_file_that_was_there_is_not_written_over(upstream: Upstream) -> None:
    Path("notes.md").write_text("mine")
    result = moa("chat", stdin="First?\n/save notes.md\n/save new.md\nSecond?\n/save new.md\n")
    assert "notes.md exists already" in result.stderr
    assert Path("notes.md").read_text() == "mine"
    assert Path("new.md").read_text().count("Violet.") == 2


def test_an_unknown_mixture_or_command_is_said_and_the_chat_goes_on(upstream: Upstream) -> None:
    result = moa("chat", stdin="/mixture pannel\n/prposals\nFirst?\n")
    assert "did you mean 'panel'?" in result.stderr
    assert "no command /prposals; did you mean 'proposals'?" in result.stderr
    assert result.stdout == "Violet.\n"


def test_ctrl_c_stops_the_answer_and_keeps_the_chat() -> None:
    with Upstream({"a": Reply("never", delay=1000), "b": "blue"}) as server:
        configured(server)
        with subprocess.Popen([*MOA, "chat", "-m", "lab:a"], stdin=-1, stdout=-1, stderr=-1) as process:
            assert process.stdin
            process.stdin.write(b"First?\n")
            process.stdin.flush()
            until(lambda: server.calls)
            process.send_signal(signal.SIGINT)
            until(lambda: server.calls[0].dropped)
            out, err = process.communicate(b"/mixture lab:b\n/again\n", timeout=60)
        assert (process.returncode, out) == (0, b"blue\n")
        assert b"stopped; /again retries" in err
