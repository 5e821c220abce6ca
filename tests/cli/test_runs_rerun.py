"""A run made again asks only for what comes out differently, and says so before it does."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.command import configured, moa, on_a_terminal
from helpers.upstream import Reply, Upstream
from moa import Store

SIX = [f"m{number}" for number in range(6)]
SAYS = {name: f"answer of {name}" for name in SIX} | {"big": "all of it", "other": "it all"}
TOML = f"""
[mixtures.panel]
proposers = {[f"lab:{name}" for name in SIX]}
aggregator = "lab:big"
[mixtures.deep]
proposers = ["lab:m0", "lab:m1", "lab:m2"]
layers = 3
aggregator = "lab:big"
[mixtures.nested]
proposers = ["moa:deep", "lab:m3"]
aggregator = "lab:big"
[mixtures.stairs]
proposers = ["lab:m0", "lab:m1"]
aggregator = "lab:big"
staircase = 16
[mixtures.vote]
proposers = ["lab:m0", "lab:m1"]
aggregator = {{ kind = "vote" }}
[mixtures.gone]
proposers = ["lab:m0", "lab:gone", {{ model = "lab:m1", samples = 2, temperature = 0.5, system = "Be terse." }}]
aggregator = "lab:big"
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(SAYS) as upstream:
        configured(upstream, TOML)
        yield upstream


def ask_once(upstream: Upstream, *words: str) -> list[str]:
    """Run it; the models that were asked."""
    before = len(upstream.calls)
    done = moa(*words)
    assert done.returncode == 0, done.stderr
    return [call.model for call in upstream.calls[before:]]


@pytest.mark.parametrize(
    ("mixture", "options", "calls"),
    [
        ("panel", [], ["big"]),
        ("panel", ["--aggregator", "lab:other"], ["other"]),
        ("panel", ["--without", "lab:m2"], ["big"]),
        ("panel", ["--prompt", "prompt.md"], ["big"]),
        ("panel", ["--layer", "1"], [*SIX, "big"]),
        ("panel", ["--layer", "2"], ["big"]),
        ("panel", ["--proposer", "lab:m3"], ["m3", "big"]),
        ("deep", ["--proposer", "lab:m1"], ["m1", "m1", "big"]),
        ("deep", ["--proposer", "lab:m1", "--layer", "2"], ["m1", "big"]),
        ("deep", ["--aggregator", "lab:other"], ["other"]),
        ("deep", ["--without", "lab:m0"], ["m1", "m2", "big"]),
        ("deep", ["--layer", "2"], ["m0", "m1", "m2", "big"]),
        ("nested", [], ["big"]),
        ("nested", ["--without", "lab:m3"], ["big"]),
        ("stairs", [], ["big"]),
        ("gone", [], ["big"]),
        ("gone", ["--layer", "1"], ["m0", "gone", "m1", "m1", "big"]),
        ("vote", [], []),
        ("vote", ["--aggregator", "lab:other"], ["other"]),
    ],
)
def test_only_what_changed_is_asked(upstream: Upstream, mixture: str, options: list[str], calls: list[str]) -> None:
    Path("prompt.md").write_text("Say it in verse. {references}", "utf-8")
    moa("ask", "-m", mixture, "Which colour?")
    assert sorted(ask_once(upstream, "runs", "rerun", *options)) == sorted(calls)


def test_what_is_asked_holds_the_proposals_that_are_left(upstream: Upstream) -> None:
    Path("prompt.md").write_text("Say it in verse. {references}", "utf-8")
    moa("ask", "Which colour?")
    moa("runs", "rerun", "--without", "lab:m2", "--prompt", "prompt.md")
    first, again = upstream.to("big")
    assert again.system.startswith("Say it in verse.")
    assert re.findall(r"answer of (\w+)", first.system) == SIX
    assert re.findall(r"answer of (\w+)", again.system) == [name for name in SIX if name != "m2"]


def test_proposals_that_were_read_as_they_arrived_are_read_in_that_order_again() -> None:
    says = {"a": Reply("red", delay=0.3), "b": "blue", "c": Reply("grey", delay=0.1), "big": "purple"}
    with Upstream(says) as upstream:
        configured(
            upstream,
            '[mixtures.panel]\nproposers = ["lab:a", "lab:b", "lab:c"]\naggregator = "lab:big"\n'
            'reference_order = "arrival"\n',
        )
        moa("ask", "Which colour?")
        moa("runs", "rerun")
        first, again = upstream.to("big")
    assert again.body == first.body
    assert re.findall("^(red|blue|grey)$", again.system, re.MULTILINE) == ["blue", "grey", "red"]


def test_it_says_beforehand_which_calls_it_makes_and_what_they_cost(upstream: Upstream) -> None:
    output = json.loads(moa("ask", "--json", "-m", "deep", "Which colour?").stdout)
    done = moa("runs", "rerun", "--without", "lab:m0", "--json")
    plan = [line for line in done.stderr.splitlines() if "about" in line]
    assert plan[0].startswith(
        f"rerun of {output['run']} with moa:deep: 2 proposals reused, 3 calls to make, about $0.0"
    )
    assert [line.split(",")[0].strip() for line in plan[1:]] == [
        "layer 2: lab:m1",
        "layer 2: lab:m2",
        "aggregator: lab:big",
    ]
    again = json.loads(done.stdout)
    assert again["usage"]["cost"] < output["usage"]["cost"]
    assert [reference["model"] for reference in again["references"]] == ["lab:m1", "lab:m2"]


def test_a_run_made_again_is_kept_and_names_the_one_it_is_made_from(upstream: Upstream) -> None:
    moa("ask", "Which colour?")
    moa("runs", "rerun", "--aggregator", "lab:other")
    again, first = Store(Path("state/moa/runs.sqlite").absolute()).runs()
    assert (again.parent, first.parent, again.question) == (first.id, None, "Which colour?")
    shown = moa("runs", "show").stdout
    assert f"rerun of {first.id}: aggregator lab:other" in shown
    assert ask_once(upstream, "runs", "rerun") == ["big"]  # one made again can itself be made again


def test_what_was_lost_is_lost_again_unless_its_layer_is_asked_anew(upstream: Upstream) -> None:
    lost = json.loads(moa("ask", "--json", "-m", "gone", "Which colour?").stdout)["lost"]
    again = json.loads(moa("runs", "rerun", "--json").stdout)["lost"]
    assert lost == again and "HTTP 404" in lost[0]["error"]


def test_on_a_terminal_it_asks_whether_to_go_on(upstream: Upstream) -> None:
    moa("ask", "Which colour?")
    before = len(upstream.calls)
    code, written = on_a_terminal("runs", "rerun", answer="n\n")
    assert (code, len(upstream.calls)) == (1, before) and "1 call to make" in written and "Continue? [Y/n]" in written
    assert on_a_terminal("runs", "rerun", "--yes")[0] == 0
    assert [call.model for call in upstream.calls[before:]] == ["big"]


@pytest.mark.parametrize(
    ("mixture", "options", "wrong"),
    [
        ("panel", ["--without", "lab:m9"], "'lab:m9' is not a proposer of moa:panel; did you mean 'lab:m"),
        ("panel", ["--proposer", "lab:m9"], "'lab:m9' is not a proposer of moa:panel; did you mean 'lab:m"),
        ("panel", ["--proposer", "lab:m1", "--layer", "2"], "'lab:m1' is not a proposer of layer 2 of moa:panel"),
        ("panel", ["--layer", "3"], "layer: must be at most 2 for moa:panel, got 3"),
        ("panel", ["--aggregator", "nobody:x"], "no provider 'nobody'"),
        ("panel", ["--prompt", "none.md"], "none.md: cannot be read: No such file"),
        ("vote", ["--prompt", "moa.toml"], "prompt: a vote has no prompt"),
        ("lab:m0", [], "lab:m0 is a single model, not a mixture"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_before_anybody_is_asked(
    upstream: Upstream, mixture: str, options: list[str], wrong: str
) -> None:
    moa("ask", "-m", mixture, "Which colour?")
    before = len(upstream.calls)
    done = moa("runs", "rerun", *options)
    assert (done.returncode, len(upstream.calls)) == (2, before) and wrong in done.stderr


def test_a_run_whose_words_were_not_kept_cannot_be_made_again(upstream: Upstream) -> None:
    text = Path("moa.toml").read_text("utf-8")
    Path("moa.toml").write_text(text + "[store]\nstore_content = false\n", "utf-8")
    moa("ask", "Which colour?")
    done = moa("runs", "rerun")
    assert done.returncode == 2 and "stored without content, so it cannot be rerun" in done.stderr


def test_settings_that_changed_since_are_asked_for_anew(upstream: Upstream) -> None:
    moa("ask", "Which colour?")
    text: Any = Path("moa.toml").read_text("utf-8").replace("'lab:m4'", '{ model = "lab:m4", temperature = 0.1 }')
    Path("moa.toml").write_text(text, "utf-8")
    assert ask_once(upstream, "runs", "rerun") == ["m4", "big"]


def test_a_plan_reaches_nobody(upstream: Upstream) -> None:
    moa("ask", "Which colour?")
    text = Path("moa.toml").read_text("utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}/v1"
        Path("moa.toml").write_text(text.replace(upstream.url, url), "utf-8")
        code, written = on_a_terminal("runs", "rerun", answer="n\n")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert code == 1 and "1 call to make" in written
