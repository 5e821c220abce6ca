"""`moa doctor`: a line for each check, or one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from helpers.upstream import Reply, Upstream
from moa import Scripted
from moa.doctor import examine

ANSWERS = ("Canaries are mostly yellow.", "A canary is yellow, or now and then red.", "Yellow, as a rule.")


async def test_the_report_is_one_json_object() -> None:
    report = (await examine(Scripted("alone", "Yellow."))).to_json()
    assert (report["model"], report["ok"], report["sent"], report["answer"]) == ("alone", True, True, "Yellow.")
    assert report["checks"][0] == {
        "outcome": "ok",
        "what": "every model can be called, and its key is set",
        "seen": "1 model",
        "fix": "",
    }


def run(settings: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with a moa.toml of these settings in the folder it runs in."""
    Path("moa.toml").write_text(settings, "utf-8")
    return subprocess.run([sys.executable, "-m", "moa", "doctor", *arguments], capture_output=True, text=True)


SETTINGS = """\
default = "panel"
[providers.lab]
base_url = "{url}"
context_window = 8000
price = {{ input = 1, output = 2 }}
attempts = 1
{key}
[mixtures.panel]
proposers = ["lab:a", "lab:b"]
aggregator = "lab:judge"
layers = 3
"""


def test_the_command_prints_a_line_for_each_check() -> None:
    with Upstream({"a": ANSWERS[0], "b": ANSWERS[1], "judge": "Yellow."}) as upstream:
        done = run(SETTINGS.format(url=upstream.url, key=""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line[:5] for line in done.stdout.splitlines()} == {"ok   "}
    assert "ok   every proposer was called (4 of 4)\n" in done.stdout
    assert len(upstream.calls) == 5


def test_the_command_prints_json_and_fails_when_a_proposer_does() -> None:
    with Upstream({"a": ANSWERS[0], "b": Reply("boom\x1b[2J", status=500), "judge": "Yellow."}) as upstream:
        settings = SETTINGS.format(url=upstream.url, key="")
        text, done = run(settings, "moa:panel"), run(settings, "moa:panel", "--json")
    assert (text.returncode, done.returncode) == (1, 1)
    assert "fail lab:b (layer 1) was lost: lab:b: HTTP 500: boom" in text.stdout
    assert "\x1b" not in text.stdout
    assert json.loads(done.stdout)["ok"] is False


def test_the_command_ends_with_2_when_a_key_is_missing() -> None:
    with Upstream({}) as upstream:
        done = run(SETTINGS.format(url=upstream.url, key='api_key_env = "LAB_KEY"'))
    assert done.returncode == 2
    assert done.stdout == "fail lab:a, lab:b, lab:judge cannot be called: set its API key: export LAB_KEY=...\n"
    assert upstream.calls == []
