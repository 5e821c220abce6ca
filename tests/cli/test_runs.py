"""What `moa runs` shows of a run is what was seen when it was asked."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.command import configured, on_a_terminal
from helpers.command import moa as command
from helpers.terminal import Terminal
from helpers.upstream import Body, Reply, Upstream
from moa import Guarded, Layer, Message, Mixture, Request, Retried, Scripted, Synthesize, Usage
from moa.cli.terminal.diff import diff_text
from moa.store.rows import moment
from moa.text.diff import words
from moa.trace.tree import Trace
from moa.trace.views import response_of

QUESTION = Request((Message("user", "Which colour?"),))
NESTED = """
[mixtures.inner]
proposers = ["lab:a", "lab:flaky"]
aggregator = "lab:b"
[mixtures.panel]
proposers = ["lab:a", "lab:b", "lab:gone", "moa:inner"]
layers = 3
aggregator = "lab:big"
"""


@pytest.fixture
def ask_once() -> Iterator[Any]:
    """A nested mixture with a retry and a lost proposal was asked; what `--json` told of it."""
    turns = iter(range(100))

    def flaky(body: Body) -> Reply:
        return Reply("grey") if next(turns) % 2 else Reply(status=500, text="busy")

    says = {"a": "red wine", "b": "blue", "gone": Reply(status=400, text="no"), "flaky": flaky, "big": "purple it is"}
    with Upstream(says) as upstream:
        configured(upstream, NESTED)
        text = Path("moa.toml").read_text("utf-8").replace("attempts = 1", "attempts = 2")
        Path("moa.toml").write_text(text, "utf-8")
        yield json.loads(command("ask", "--json", "Which colour?").stdout)


def test_a_run_is_told_as_it_was_when_it_was_asked(ask_once: Any) -> None:
    whole = json.loads(command("runs", "show", "--json").stdout)
    assert {key: whole[key] for key in ask_once} == ask_once
    assert (whole["state"], whole["question"]) == ("answered", "Which colour?")

    def calls(node: Any) -> Iterator[Any]:
        yield node
        for child in node.get("calls", ()):
            yield from calls(child)

    tree = list(calls(whole["tree"]))
    assert [note["kind"] for call in tree for note in call.get("notes", ())].count("retry") == 2
    assert (
        sum(call["usage"]["input_tokens"] for call in tree if "calls" not in call and "usage" in call)
        == (ask_once["usage"]["input_tokens"])
    )


def test_a_run_is_shown_as_a_tree_with_what_was_retried_and_lost(ask_once: Any) -> None:
    result = command("runs", "show", ask_once["run"][:20])
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{ask_once['run']}  moa:panel  answered  ") and lines[1] == "Which colour?"
    names = [found[1] for line in lines if (found := re.match(r"([│├└ ]*[\w: ]+?)  +[✓✗]", line))]
    assert names == [
        "moa:panel",
        *["├ layer 1", "│ ├ lab:a", "│ ├ lab:b", "│ ├ lab:gone", "│ └ moa:inner"],
        *["│   ├ layer 1", "│   │ ├ lab:a", "│   │ └ lab:flaky", "│   └ lab:b"],
        *["├ layer 2", "│ ├ lab:a", "│ ├ lab:b", "│ ├ lab:gone", "│ └ moa:inner"],
        *["│   ├ layer 1", "│   │ ├ lab:a", "│   │ └ lab:flaky", "│   └ lab:b"],
        "└ lab:big",
    ]
    assert result.stdout.count("retry attempt=1 wait=0.5 error=lab:flaky: HTTP 500: busy") == 2
    assert result.stdout.count("│   lab:gone: HTTP 400: no") == 2
    assert "\npurple it is\n" in result.stdout and "13 calls · " in result.stdout and " · 2 failed" in result.stdout


def test_the_messages_are_shown_as_they_were_sent(ask_once: Any) -> None:
    output = command("runs", "show", "--messages").stdout
    assert output.count("## layer 1: lab:a (proposer)\n### user\nWhich colour?\n### answer\nred wine\n") == 2
    sent = output[output.index("## lab:big (aggregator)") :]
    assert re.search(r'### system\nSeveral assistants.*<answer-\w+ number="1">\nred wine\n</answer-', sent, re.DOTALL)


def test_a_replay_prints_what_the_question_printed(ask_once: Any) -> None:
    was = command("ask", "-m", "inner", "Which?")
    for pace in ((), ("--pace", "1000")):
        again = command("runs", "replay", "last", *pace)
        assert (again.returncode, again.stdout, again.stderr) == (0, was.stdout, was.stderr)


def test_a_replay_on_a_terminal_shows_what_was_on_it() -> None:
    with Upstream(
        {"a": "red", "b": Reply("blue", delay=0.3), "big": Reply("Violet, **of course**.", delay=0.3)}
    ) as upstream:
        configured(upstream)
        was = on_a_terminal("ask", "Which colour?")[1]
    again = on_a_terminal("runs", "replay")[1]
    screens = []
    for written in (was, again):
        terminal = Terminal(24)
        terminal.feed(written)
        screens.append(terminal.text)
    assert screens[0] == screens[1] and "Violet, of course." in screens[0]


def test_a_run_that_failed_is_shown_and_replayed_as_failed() -> None:
    with Upstream({"a": "red", "b": "blue", "big": Reply(status=500, text="on fire")}) as upstream:
        configured(upstream, '[mixtures.bare]\nproposers = ["lab:a"]\naggregator = "lab:big"\nguard = false\n')
        command("ask", "-m", "bare", "Which?")
    again = command("runs", "replay")
    assert (again.returncode, again.stdout) == (0, "") and again.stderr.startswith("failed: lab:big: HTTP 500: on fire")
    assert "└ lab:big  ✗ failed" in command("runs", "show").stdout
    assert json.loads(command("runs", "show", "--json").stdout)["state"] == "failed"


def test_runs_are_listed_latest_first_and_chosen_by_what_is_asked() -> None:
    with Upstream({"a": "red", "b": "blue", "big": "purple"}) as upstream:
        configured(upstream)
        for question, *which in (["one"], ["two", "-m", "lab:gone"], ["three", "-m", "lab:a"]):
            command("ask", *which, question)

    def questions(*options: str) -> list[str]:
        return [row.split("\t")[-1] for row in command("runs", *options).stdout.splitlines()]

    assert questions() == ["three", "two", "one"]
    assert questions("--mixture", "panel") == ["one"] and questions("-m", "lab:a") == ["three"]
    assert questions("--failed") == ["two"] and questions("--limit", "1") == ["three"]
    assert questions("--since", "1h") == questions() and questions("--since", "2999-01-01") == []
    listed = json.loads(command("runs", "--json", "--mixture", "panel").stdout)
    assert [(run["question"], run["state"], run["calls"]) for run in listed] == [("one", "answered", 3)]


def test_a_time_is_so_long_ago_or_a_date() -> None:
    assert moment("2h") == pytest.approx(moment("120m"), abs=60) == pytest.approx(moment("1d") + 22 * 3600, abs=60)
    assert moment("2026-11-20T12:00:00+00:00") == 1795176000
    with pytest.raises(moa.RequestError, match="'soon' is no time"):
        moment("soon")


def test_runs_are_exported_imported_and_removed(ask_once: Any) -> None:
    lines = command("runs", "export").stdout
    Path("runs.jsonl").write_text(lines, "utf-8")
    assert command("runs", "purge").returncode == 2
    assert command("runs", "purge", "--all").stderr == "deleted 1 run\n"
    assert command("runs").stdout == ""
    assert command("runs", "import", "runs.jsonl").stderr == "imported 1 run; 0 already stored\n"
    assert command("runs", "import", "-", stdin=lines).stderr == "imported 0 runs; 1 already stored\n"
    assert command("runs", "export", ask_once["run"]).stdout == lines
    wrong = command("runs", "import", "moa.toml")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "moa: line 1 is no event of a run; moa runs export and moa ask --jsonl print such\n",
    )


def test_a_damaged_run_is_left_out_of_an_export_with_a_word(ask_once: Any) -> None:
    assert command("ask", "--json", "And which other?").returncode == 0
    with closing(sqlite3.connect(moa.Store().path)) as db:
        db.execute("UPDATE chunks SET body = '[{' WHERE run = 1")
        db.commit()
    exported = command("runs", "export")
    assert exported.returncode == 1
    assert f"run {ask_once['run']} cannot be read" in exported.stderr
    assert exported.stderr.endswith("; skipped\n")
    assert "And which other?" in exported.stdout and ask_once["run"] not in exported.stdout
    alone = command("runs", "export", ask_once["run"])
    assert (alone.returncode, alone.stdout) == (1, "")


def test_lines_of_ask_can_be_taken_in() -> None:
    with Upstream({"a": "red", "b": "blue", "big": "purple"}) as upstream:
        configured(upstream)
        lines = command("ask", "--jsonl", "Which?", MOA_STORE="off").stdout
    assert command("runs", "import", "-", stdin=lines).returncode == 0
    assert command("runs", "export").stdout == lines


def test_two_runs_are_compared_word_by_word_and_in_figures() -> None:
    answers = iter(["It is red and blue.\n", "It is purple, and blue too.\n"])
    with Upstream({"a": "red", "b": "blue", "big": lambda body: next(answers)}) as upstream:
        configured(upstream)
        ids = [json.loads(command("ask", "--json", "Which?").stdout)["run"] for _ in range(2)]
    output = command("runs", "diff", *ids).stdout.splitlines()
    assert output[0] == "It is [-red-] {+purple,+} and [-blue.-]"
    rows = dict(line.split("\t", 1) for line in output if "\t" in line)
    assert (rows["calls"], rows["failed"], rows["aggregator lab:big"]) == ("3\t3", "0\t0", "1\t1")


@pytest.mark.parametrize(
    ("one", "other", "entry"),
    [
        ("the same words", "the same words", "the same words"),
        ("", "new", "{+new+}"),
        ("gone", "", "[-gone-]"),
        ("a b c d", "a x c d", "a [-b-] {+x+} c d"),
    ],
)
def test_what_differs_is_marked(one: str, other: str, entry: str) -> None:
    assert diff_text(words(one, other)).plain == entry


def test_what_was_asked_cannot_command_the_terminal() -> None:
    with Upstream({"a": "red \x1b[2J", "b": "blue", "big": "purple \x1b]0;title\x07"}) as upstream:
        configured(upstream)
        command("ask", "Which \x1b[31mcolour?")
    for words_ in (["runs"], ["runs", "show"], ["runs", "show", "--messages"], ["runs", "diff", "last", "last"]):
        assert "\x1b" not in command(*words_).stdout


def test_a_run_that_is_not_there_is_said() -> None:
    assert command("runs").stderr.startswith("moa: no runs are stored yet: there is no ")


PAID = Usage(10, 5, 0.25)
RED, BLUE = Scripted("a", "red wine", usage=PAID), Scripted("b", "blue", usage=PAID)
LOST, EMPTY = Scripted("c", moa.ModelError("c: HTTP 500: on fire")), Scripted("e", moa.ModelError("e: empty"))


def panel(
    *proposers: moa.Model,
    judge: Any = None,
    name: str = "panel",
    strategies: Sequence[moa.Strategy] = (),
    **more: Any,
) -> Mixture:
    judge = judge or Synthesize(Scripted("judge", "dark green", usage=PAID))
    return Mixture((Layer(proposers, **more),), judge, name, strategies=strategies)


@pytest.mark.parametrize(
    "model",
    [
        RED,
        panel(RED, BLUE, LOST),
        panel(RED, BLUE, order="shuffled"),
        panel(Scripted("late", "red wine", delay=0.1), BLUE, order="arrival"),
        panel(
            panel(RED, BLUE, name="inner"), Retried(Scripted("r", [moa.ModelError("x", retryable=True), "grey"]), 2, 0)
        ),
        Mixture((Layer((RED, BLUE)), Layer((BLUE, panel(RED)))), Synthesize(RED)),
        Mixture((Layer((RED, BLUE)), Layer((LOST, EMPTY))), Synthesize(RED)),
        panel(RED, BLUE, judge=moa.Vote()),
        panel(RED, BLUE, judge=moa.Pick(Scripted("picks", "2"))),
        panel(RED, BLUE, judge=Synthesize(LOST), strategies=[Guarded()]),
        panel(RED, BLUE, judge=Synthesize(Scripted("refuses", "I'm sorry, I cannot help.")), strategies=[Guarded()]),
        panel(RED, judge=Synthesize(moa.Fallback((LOST, BLUE)))),
    ],
    ids=[
        "single",
        "lost",
        "shuffled",
        "arrival",
        "nested",
        "layers",
        "skipped",
        "vote",
        "pick",
        "failed",
        "flaw",
        "fallback",
    ],
)
async def test_the_answer_out_of_the_events_is_the_answer_that_was_given(model: moa.Model) -> None:
    events: list[moa.Event] = []
    answer = await moa.generate(model, QUESTION, events.append, "all")
    trace = Trace.of(events)
    assert trace.root
    assert trace.summary(response_of(trace.root)) == trace.summary(answer)


def test_texts_of_space_alone_are_compared_too() -> None:  # not in hours
    space = "\n" * 1_000_000
    assert list(words(space, f"{space}Red.")) == [("new", f"{space}Red.")]
