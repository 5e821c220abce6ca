"""The command line: what goes where, what it ends with, and one line for whatever a person can get wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command import MOA, configured, moa, on_a_terminal, until
from helpers.terminal import Terminal
from helpers.upstream import Reply, Upstream
from moa import SpanEnd, SpanStart, TextDelta, Trace
from moa.config.renamed import COMMANDS, OPTIONS
from moa.events import VERSION, from_json


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"a": "red", "b": "blue", "big": "Violet, *of course*."}) as server:
        configured(server)
        yield server


# --- the answer ------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_the_answer_and_nothing_else(upstream: Upstream) -> None:
    assert moa("ask", "Which colour?").stdout == "Violet, *of course*.\n"


def test_the_figures_go_to_standard_error(upstream: Upstream) -> None:
    (line,) = moa("ask", "Which colour?").stderr.splitlines()
    assert re.fullmatch(r"3 calls · \d+ tokens in, 5 out · \$[\d.]+ · [\d.]+ s · first word after [\d.]+ s", line)


def test_nothing_but_the_answer_is_streamed_to_a_pipe(upstream: Upstream) -> None:
    moa("ask", "Which colour?")
    assert [(call.model, call.body.get("stream")) for call in upstream.calls[2:]] == [("big", True)]
    assert [call.body.get("stream") for call in upstream.calls[:2]] == [None, None]


def test_the_prompt_comes_from_a_pipe(upstream: Upstream) -> None:
    assert moa("ask", stdin="Which colour?").returncode == 0
    assert upstream.calls[0].messages[-1]["content"] == "Which colour?"


def test_a_dash_reads_the_prompt_from_a_pipe(upstream: Upstream) -> None:
    moa("ask", "-", stdin="Welche Farbe, grün?")
    assert upstream.calls[0].messages[-1]["content"] == "Welche Farbe, grün?"


def test_a_prompt_that_is_given_is_the_whole_prompt(upstream: Upstream) -> None:
    moa("ask", "Which colour?", stdin="Not this.")
    assert upstream.calls[0].messages == [{"role": "user", "content": "Which colour?"}]


def test_options_reach_the_aggregator_and_the_system_message_everyone(upstream: Upstream) -> None:
    moa("ask", "-s", "Be brief.", "--temperature", "0.5", "--max-tokens", "9", "--seed", "3", "Which?")
    assert all(call.system.startswith("Be brief.") for call in upstream.calls)
    body = upstream.to("big")[0].body
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 9, 3)


def test_another_file_and_another_model_can_be_named(upstream: Upstream) -> None:
    Path("moa.toml").rename("other.toml")
    assert moa("ask", "-c", "other.toml", "-m", "lab:a", "Which?").stdout == "red\n"


def test_proposals_are_told_on_standard_error(upstream: Upstream) -> None:
    result = moa("ask", "--proposals", "Which?")
    assert result.stdout == "Violet, *of course*.\n"
    assert "## layer 1: lab:a\n\nred\n" in result.stderr
    assert "## layer 1: lab:b\n\nblue\n" in result.stderr


def test_json_is_one_object_with_the_answer_and_what_it_was_made_of(upstream: Upstream) -> None:
    result = moa("ask", "--json", "Which colour?")
    whole = json.loads(result.stdout)
    assert result.stderr == ""
    assert list(whole) == ["run", "model", "answer", "finish_reason", "usage", "references", "lost", "timing"]
    assert (whole["model"], whole["answer"]) == ("moa:panel", "Violet, *of course*.")
    assert (whole["finish_reason"], whole["lost"]) == ("stop", [])
    assert list(whole["usage"]) == ["input_tokens", "output_tokens", "cost"]
    assert [(one["model"], one["text"], one["references"]) for one in whole["references"]] == [
        ("lab:a", "red", []),
        ("lab:b", "blue", []),
    ]
    assert 0 < whole["timing"]["first_word"] <= whole["timing"]["total"]


def test_jsonl_is_the_events_and_they_fold_to_the_same_run(upstream: Upstream) -> None:
    events = [from_json(line) for line in moa("ask", "--jsonl", "Which colour?").stdout.splitlines()]
    trace = Trace()
    for event in events:
        trace.add(event)
    assert isinstance(events[0], SpanStart) and events[0].version == VERSION
    assert isinstance(events[-1], SpanEnd) and events[-1].text == "Violet, *of course*."
    assert [call.start.model for call in trace.calls] == ["lab:a", "lab:b", "lab:big"]
    assert "".join(e.text for e in events if isinstance(e, TextDelta) and e.answer) == "Violet, *of course*."


def test_a_lost_proposal_is_named_on_standard_error_and_the_answer_stands() -> None:
    with Upstream({"a": "red", "b": Reply(status=500, text="on fire"), "big": "Red."}) as server:
        configured(server)
        result = moa("ask", "Which?")
    assert (result.returncode, result.stdout) == (0, "Red.\n")
    lost, figures = result.stderr.splitlines()
    assert lost.startswith("failed in layer 1: lab:b: HTTP 500: on fire")
    assert figures.endswith(" · 1 failed")


def test_an_answer_that_is_not_the_aggregators_is_said_to_be_a_proposal() -> None:
    with Upstream({"a": "red", "b": "red", "big": Reply(status=500, text="on fire")}) as server:
        configured(server)
        result = moa("ask", "Which?")
    assert (result.returncode, result.stdout) == (0, "red\n")
    assert result.stderr.splitlines()[0].startswith("fallback: ")
    assert "on fire" in result.stderr and "this is the proposal of lab:a" in result.stderr


def test_an_answer_that_was_cut_off_is_said_to_be() -> None:
    with Upstream({"a": Reply("Because", finish_reason="length")}) as server:
        configured(server)
        assert "cut off by max_tokens" in moa("ask", "-m", "lab:a", "Why?").stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with Upstream({"a": Reply("word " * 200, pace=0.01)}) as server:
        configured(server)
        with subprocess.Popen([*MOA, "ask", "-m", "lab:a", "Why?"], stdout=-1, stderr=-1) as process:
            assert process.stdout and process.stderr
            assert process.stdout.read(4) == b"word"
            process.stdout.close()
            assert process.stderr.read() == b""
    assert process.returncode == 141


# --- exit codes, and a line for every mistake ------------------------------------------------------------------------


def refused(fields: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with this code, said one line with these words on standard error, and printed nothing."""
    assert (fields.returncode, fields.stdout) == (code, "")
    (line,) = fields.stderr.splitlines()
    assert line.startswith("moa: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(upstream: Upstream, prompt: str) -> None:
    refused(moa("ask", prompt), 2, "the prompt is empty")
    refused(moa("ask", stdin=prompt), 2, "the prompt is empty")
    assert upstream.calls == []


def test_input_that_is_not_utf_8_is_refused(upstream: Upstream) -> None:
    refused(moa("ask", stdin=b"caf\xe9"), 2, "standard input is not UTF-8", "0xe9", "3")


@pytest.mark.parametrize("form", [[], ["--json"], ["--jsonl"]])
def test_an_output_that_takes_no_more_is_one_line(upstream: Upstream, form: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run([*MOA, "ask", *form, "Why?"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    words = b"moa: standard output cannot be written: No space left on device; free some space\n"
    assert (result.returncode, result.stderr) == (1, words)


def test_closed_streams_are_no_bug(upstream: Upstream) -> None:
    def closed(*descriptors: int) -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-c", f'exec "$@" {" ".join(f"{one}>&-" for one in descriptors)}', "sh", *MOA, "ask"]
        return subprocess.run([*command, *["Why?"] * (0 not in descriptors)], capture_output=True, timeout=60)

    assert (closed(0).returncode, closed(0).stderr) == (2, b"moa: the prompt is empty; say what to ask\n")
    assert (closed(1).returncode, closed(2).returncode) == (0, 0)
    assert closed(2).stdout == b"Violet, *of course*.\n"


def test_an_unknown_mixture_is_refused_with_the_nearest(upstream: Upstream) -> None:
    refused(moa("ask", "-m", "moa:pannel", "Why?"), 2, "no mixture 'pannel'", "did you mean 'panel'?")


def test_an_unknown_provider_is_refused_with_the_nearest(upstream: Upstream) -> None:
    refused(moa("ask", "-m", "opena:gpt", "Why?"), 2, "no provider 'opena'", "did you mean 'openai'?")


def test_an_unknown_model_is_named() -> None:
    with Upstream({}) as server:
        configured(server)
        refused(moa("ask", "-m", "lab:nope", "Why?"), 1, "lab:nope", "HTTP 404")


def test_a_missing_key_is_refused_with_the_name_of_its_variable() -> None:
    refused(moa("ask", "-m", "openai:gpt-4o", "Why?"), 2, "OPENAI_API_KEY")


def test_a_missing_key_of_the_aggregator_is_refused_before_anything_is_sent(upstream: Upstream) -> None:
    configured(upstream, '[mixtures.keyless]\nproposers = ["lab:a"]\naggregator = "openai:gpt-4o"\n')
    refused(moa("ask", "-m", "keyless", "Why?"), 2, "OPENAI_API_KEY")
    assert upstream.calls == []


def test_a_host_that_cannot_be_reached_is_named() -> None:
    Path("moa.toml").write_text('[providers.lab]\nbase_url = "http://127.0.0.1:9/v1"\nattempts = 1\n')
    refused(moa("ask", "-m", "lab:a", "Why?"), 1, "lab:a", "http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401, text="bad key"), "HTTP 401"),
        (Reply(status=403, text="not yours"), "HTTP 403"),
        (Reply(status=429, text="slowly"), "HTTP 429"),
        (Reply(status=500, text="on fire"), "on fire"),
        (Reply(raw=b"<html>hello</html>"), "not JSON"),
        (Reply(raw=b'{"choices": []}'), "no choices"),
        (Reply(message={"role": "assistant", "content": None}, stream=[b"data: [DONE]\n\n"]), "empty"),
        (Reply("one two three", cut_after=2), "cut"),
    ],
)
def test_whatever_an_upstream_does_is_one_line_that_names_it(reply: Reply, words: str) -> None:
    with Upstream({"a": reply}) as server:
        configured(server)
        result = moa("ask", "-m", "lab:a", "Why?")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("moa: lab:a") and words in line


def test_no_upstream_commands_the_terminal_through_standard_error() -> None:
    evil = "red\x1b]0;title\x07"
    with Upstream({"a": evil, "b": Reply(status=500, text=evil), "big": "violet"}) as server:
        configured(server)
        output = moa("ask", "--proposals", "Why?").stderr + moa("ask", "-m", "lab:b", "Why?").stderr
    assert output.count("red]0;title") == 3
    assert "\x1b" not in output and "\x07" not in output


def test_when_all_proposers_fail_every_cause_has_its_line() -> None:
    fails = Reply(status=500, text="on fire")
    with Upstream({"a": fails, "b": fails}) as server:
        configured(server)
        result = moa("ask", "Why?")
    assert (result.returncode, result.stdout) == (1, "")
    first, *causes = result.stderr.splitlines()
    assert first.startswith("moa: layer 1: 0 of 2 proposers answered")
    assert [cause.split(": ")[:2] for cause in causes] == [["  lab:a", "HTTP 500"], ["  lab:b", "HTTP 500"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default = ", "not valid TOML"),
        ("defualt = 'x'", "did you mean 'default'?"),
        ("default = 'moa:nope'", "no mixture 'nope'"),
        (
            '[mixtures.x]\nproposers = ["moa:y"]\naggregator = "moa:y"\n'
            '[mixtures.y]\nproposers = ["moa:x"]\naggregator = "moa:x"\n',
            "a mixture cannot contain itself: moa:x -> moa:y -> moa:x",
        ),
    ],
)
def test_a_wrong_moa_toml_is_refused_in_one_line(text: str, words: str) -> None:
    Path("moa.toml").write_text(text)
    refused(moa("ask", "Why?"), 2, "moa.toml", words)
    refused(moa("config", "check"), 2, "moa.toml", words)


def test_a_moa_toml_that_cannot_be_read_is_refused() -> None:
    Path("moa.toml").write_bytes(b'default = "caf\xe9"')
    refused(moa("ask", "Why?"), 2, "moa.toml", "UTF-8")
    refused(moa("ask", "-c", ".", "Why?"), 2, "cannot read")
    refused(moa("ask", "-c", "nowhere.toml", "Why?"), 2, "nowhere.toml", "no such file")


def test_a_prompt_file_that_is_missing_is_refused(upstream: Upstream) -> None:
    configured(upstream, '[mixtures.x]\nproposers = ["lab:a"]\naggregator = "lab:a"\nprompt_file = "gone.txt"\n')
    refused(moa("config", "check"), 2, "gone.txt")


def test_a_home_that_nobody_has_is_named(upstream: Upstream) -> None:
    refused(moa("ask", "-m", "gguf:~nobody-here/m.gguf", "Why?"), 2, "~nobody-here/m.gguf: no such home folder")
    refused(moa("ask", "-m", "local", "Why?", MOA_CACHE="~nobody-here/cache"), 2, "~nobody-here/cache")


def test_a_cache_that_cannot_be_written_is_named() -> None:
    Path("file").touch()
    result = moa("ask", "-m", "local", "Why?", MOA_CACHE=str(Path("file").absolute() / "cache"))
    refused(result, 1, "cannot be written", "MOA_CACHE")


def test_a_cache_that_cannot_be_written_loses_only_the_proposer_that_needs_it(upstream: Upstream) -> None:
    configured(upstream, '[mixtures.mixed]\nproposers = ["lab:a", "local:smollm2"]\naggregator = "lab:big"\n')
    Path("file").touch()
    result = moa("ask", "-m", "mixed", "Why?", MOA_CACHE=str(Path("file").absolute() / "cache"))
    assert (result.returncode, result.stdout) == (0, "Violet, *of course*.\n")
    assert "failed in layer 1: local:smollm2" in result.stderr
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("words", "words_given"),
    [
        (["ask", "--nope"], "--nope"),
        (["frobnicate"], "frobnicate"),
        (["ask", "--temperature", "hot", "Why?"], "--temperature"),
        (["ask", "--temperature", "9", "Why?"], "temperature must be from 0 to 2"),
        (["ask", "--seed", "9" * 20, "Why?"], "seed must be from"),
        (["ask", "--json", "--jsonl", "Why?"], "exclude one another"),
    ],
)
def test_a_command_that_is_wrong_is_refused_in_one_line(words: list[str], words_given: str) -> None:
    refused(moa(*words), 2, words_given)


RENAMED_IN = {
    "--at-once": ["eval run", "eval worth", "eval experiment", "tune"],
    "--budget": ["tune"],
    "--days": ["runs purge"],
    "--latency": ["tune"],
    "--log": ["serve"],
    "--megabytes": ["runs purge"],
    "--open": ["serve"],
    "--out": ["eval run", "eval worth", "eval experiment", "tune"],
    "--quote": ["ask"],
    "--spend": ["eval run", "eval worth", "eval experiment", "tune"],
}


@pytest.mark.parametrize("old", OPTIONS)
def test_a_renamed_option_is_an_error_that_names_the_new_one(old: str) -> None:
    for command in RENAMED_IN[old]:
        for form in ([old, "1"], [f"{old}=1"]):
            refused(
                moa(*command.split(), *form), 2, f"moa: {old} was renamed to {OPTIONS[old]}; see: moa {command} --help"
            )


def test_an_option_that_was_renamed_in_another_command_only_is_unknown() -> None:
    refused(moa("ask", "--spend", "1", "Why?"), 2, "No such option: --spend")


@pytest.mark.parametrize("old", COMMANDS)
def test_a_renamed_command_is_an_error_that_names_the_new_one(old: str) -> None:
    refused(moa(*old.split()[1:]), 2, f"moa: {old} was renamed to {COMMANDS[old]}; see: moa runs --help")


def test_an_error_with_json_goes_to_standard_error() -> None:
    with Upstream({}) as server:
        configured(server)
        refused(moa("ask", "--json", "-m", "lab:nope", "Why?"), 1, "HTTP 404")


def test_ctrl_c_ends_with_130_and_drops_every_call() -> None:
    hangs = Reply("never", delay=1000)
    with Upstream({"a": hangs, "b": hangs, "big": "x"}) as server:
        configured(server)
        with subprocess.Popen([*MOA, "ask", "Why?"], stdout=-1, stderr=-1) as process:
            until(lambda: len(server.calls) == 2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"moa: interrupted\n")
        until(lambda: all(call.dropped for call in server.calls))
        assert server.to("big") == []


# --- a terminal ------------------------------------------------------------------------------------------------------


def test_a_terminal_shows_the_calls_and_the_answer_as_markdown(upstream: Upstream) -> None:
    code, written = on_a_terminal("ask", "Which colour?")
    terminal = Terminal(24)
    terminal.feed(written)
    assert code == 0
    assert re.search(r"^1 +lab:a +✓ done +red +1 +", terminal.text, re.MULTILINE)
    assert "\nViolet, of course.\n" in terminal.text
    assert "3 calls · " in terminal.text


def test_the_cursor_is_back_after_an_answer_and_after_an_interruption(upstream: Upstream) -> None:
    assert on_a_terminal("ask", "Which?")[1].rindex("\x1b[?25h") > 0
    with Upstream({"a": Reply("never", delay=1000)}) as server:
        configured(server)
        code, written = on_a_terminal("ask", "-m", "lab:a", "Why?", interrupt=True)
    assert code == 130
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_ask_without_a_prompt_on_a_terminal_says_how(upstream: Upstream) -> None:
    code, written = on_a_terminal("ask")
    assert (code, written.startswith("moa: no question")) == (2, True)


# --- the other commands ----------------------------------------------------------------------------------------------


def test_help_is_printed_without_a_command() -> None:
    result = moa()
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: moa [OPTIONS] COMMAND")


def test_help_imports_neither_a_screen_nor_a_client() -> None:
    program = (
        "import sys; from moa.cli.app import main; sys.argv = ['moa', '--help']\ntry: main()\nexcept SystemExit: pass\n"
    )
    program += "print([name for name in ('rich', 'aiohttp', 'pydantic', 'genai_prices') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert moa("--version").stdout == f"moa {version('mixture-of-agents')}\n"


def test_names_are_completed(upstream: Upstream) -> None:
    result = moa(_MOA_COMPLETE="complete_bash", COMP_WORDS="moa ask -m pa", COMP_CWORD="3")
    assert result.stdout.split() == ["paper", "paper-gpt4o", "paper-lite", "panel"]


def test_mixtures_are_listed_a_line_each_with_tabs(upstream: Upstream) -> None:
    rows = [line.split("\t") for line in moa("mixtures").stdout.splitlines()]
    assert rows[-1] == ["moa:panel", "2", "3", ""]
    assert ["moa:paper", "3", "13"] in [row[:3] for row in rows]


def test_a_mixture_is_drawn_with_its_layers_calls_and_cost(upstream: Upstream) -> None:
    configured(
        upstream,
        "[mixtures.drawn]\nlayers = 3\nmax_tokens = 1000\nquorum = 2\ntimeout = 60\n"
        'proposers = ["lab:a", { model = "lab:b", samples = 2, temperature = 0.9 }]\naggregator = "lab:big"\n',
    )
    drawn = moa("mixtures", "drawn").stdout
    for words in ("layer 1 · 3 proposers", "layer 2 · 3 proposers", "layer 3 · aggregator", "lab:b ×2"):
        assert words in drawn
    for words in ("temperature 0.9", "quorum 2, timeout 60 s", "3 layers, 7 calls per question"):
        assert words in drawn
    # 3 x (1000 + 1000), 3 x (4200 + 1000), 4200 + 1000: at a dollar a million, each way
    assert "maximum cost: $0.027" in drawn


def test_an_unknown_price_leaves_the_cost_unknown_and_is_named(upstream: Upstream) -> None:
    assert "maximum cost: unknown (without max_tokens of lab:a" in moa("mixtures", "panel").stdout


def test_providers_are_listed_with_the_state_of_their_keys() -> None:
    output = moa("models", OPENAI_API_KEY="sk-secret").stdout
    rows = {line.split("\t")[0]: line.split("\t")[2] for line in output.splitlines()}
    assert rows["openai:MODEL"] == "OPENAI_API_KEY is set"
    assert rows["together:MODEL"] == "TOGETHER_API_KEY is missing"
    assert rows["ollama:MODEL"] == "none needed"
    assert "sk-secret" not in output


def test_the_models_of_a_provider_are_its_own_list() -> None:
    with Upstream({"zeta": "x", "alpha": "x"}) as server:
        configured(server)
        assert moa("models", "lab").stdout == "lab:alpha\nlab:zeta\n"


def test_the_models_of_a_provider_are_asked_through_the_proxy_too() -> None:
    with Upstream({"a": "x"}) as proxy:
        Path("moa.toml").write_text('[providers.far]\nbase_url = "http://far-away.invalid/v1"\n')
        url = proxy.url.removesuffix("/v1")
        assert moa("models", "far", http_proxy=url, no_proxy="", NO_PROXY="").stdout == "far:a\n"


def test_a_provider_that_cannot_be_reached_is_named() -> None:
    Path("moa.toml").write_text('[providers.lab]\nbase_url = "http://127.0.0.1:9/v1"\n')
    refused(moa("models", "lab"), 1, "lab: cannot reach http://127.0.0.1:9/v1", "refused")


def test_a_new_moa_toml_is_valid_and_is_not_written_over() -> None:
    assert moa("config", "init").returncode == 0
    assert "moa.toml is valid" in moa("config", "check").stdout
    refused(moa("config", "init"), 2, "moa.toml exists already", "--force")
    Path("moa.toml").write_text("")
    assert moa("config", "init", "--force").returncode == 0
    assert tomllib.loads(Path("moa.toml").read_text())["default"] == "moa:panel"


def test_the_path_of_the_file_in_use_is_printed(upstream: Upstream) -> None:
    assert moa("config", "path").stdout == f"{Path('moa.toml').absolute()}\n"
    Path("moa.toml").unlink()
    refused(moa("config", "path"), 2, "moa config init")


def test_the_schema_is_json() -> None:
    assert json.loads(moa("config", "schema").stdout)["title"] == "moa.toml"
