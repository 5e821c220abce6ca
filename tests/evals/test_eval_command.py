"""The command `moa eval`."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from helpers.command import MOA, configured, moa, on_a_terminal, until
from helpers.upstream import Body, Reply, Upstream
from moa.cli.terminal.progress import figures
from moa.evals.runner import Progress

SUMS = """\
{"task": "sums", "scorer": "numeric"}
{"prompt": "2 + 3?", "answer": 5}
{"prompt": "17 + 25?", "answer": 42}
{"prompt": "8 - 6?", "answer": 2}
"""


def right(body: Body) -> str:
    """Return the sum in the question."""
    one, sign, other = body["messages"][-1]["content"].rstrip("?").split()
    return str(int(one) + int(other) if sign == "+" else int(one) - int(other))


def written(text: str = SUMS) -> None:
    Path("sums.jsonl").write_text(text, "utf-8")


def test_models_are_scored_and_the_same_command_makes_no_further_calls() -> None:
    with Upstream({"a": right, "b": "5", "big": "it is 42"}) as upstream:
        configured(upstream)
        written()
        done = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "-m", "moa:panel")
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
            ("lab:a", "correct", "100.00 %", "3"),
            ("moa:panel", "correct", "33.33 %", "3"),
        ]
        asked = len(upstream.calls)
        assert asked == 3 + 2 * 3  # the proposer a has answered these very questions before
        again = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "-m", "moa:panel")
        assert (again.stdout, len(upstream.calls)) == (done.stdout, asked)


def test_the_results_are_plain_json_beside_a_manifest() -> None:
    with Upstream({"a": right}) as upstream:
        configured(upstream, '[mixtures.panel]\nproposers = ["lab:a"]\naggregator = "lab:a"\n')
        written()
        moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--output-dir", "out", "--seed", "4")
        assert {call.body["seed"] for call in upstream.calls} == {4}
    manifest = json.loads(Path("out/manifest.json").read_text("utf-8"))
    assert (manifest["task"], manifest["models"], manifest["seed"]) == ("sums", ["lab:a"], 4)
    assert manifest["prices"] == {"lab:a": {"input": 1.0, "output": 1.0}}
    assert set(manifest["versions"]) == {"moa", "python"}
    answers = [json.loads(line) for line in Path("out/answers.jsonl").read_text("utf-8").splitlines()]
    assert [(line["sample"], line["model"], line["texts"]) for line in answers] == [
        ("2", "lab:a", ["5"]),
        ("3", "lab:a", ["42"]),
        ("4", "lab:a", ["2"]),
    ]
    assert answers[0]["usage"] == {"input_tokens": 3, "output_tokens": 1, "cost": 4e-06}
    scores = [json.loads(line)["scores"] for line in Path("out/scores.jsonl").read_text("utf-8").splitlines()]
    assert scores[0] == [{"name": "correct", "value": 1.0, "detail": {"read": "5"}}]


def test_a_folder_is_continued_only_by_the_same_evaluation() -> None:
    with Upstream({"a": right}) as upstream:
        configured(upstream)
        written()
        moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--output-dir", "out")
        other = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--output-dir", "out", "--seed", "5")
    assert other.returncode == 2
    assert "out: has results with another seed; set --output-dir to another folder" in other.stderr


def test_open_prompts_are_compared_with_the_first_model_by_the_judge() -> None:
    def judge(body: Body) -> str:
        prompt = body["messages"][-1]["content"]
        return "Verdict: 1" if prompt.index("GOOD") < prompt.index("BAD") else "Verdict: 2"

    with Upstream({"a": "BAD", "b": "GOOD", "j": judge}) as upstream:
        configured(upstream, '[mixtures.panel]\nproposers = ["lab:a"]\naggregator = "lab:b"\n')
        Path("mine.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "How?"}\n', "utf-8")
        missing = moa("eval", "run", "mine.jsonl", "-m", "lab:a", "-m", "lab:b")
        assert (missing.returncode, "--judge" in missing.stderr) == (2, True)
        assert not Path("results").exists()
        done = moa("eval", "run", "mine.jsonl", "-m", "lab:a", "-m", "lab:b", "--judge", "lab:j")
        assert len(upstream.to("j")) == 4
    assert [line.split("\t")[:3] for line in done.stdout.splitlines()] == [
        ["lab:a", "preferred", "50.00 %"],
        ["lab:b", "preferred", "100.00 %"],
    ]


def test_it_stops_at_the_limit_on_cost_and_continues_with_a_higher_one() -> None:
    with Upstream({"a": right}) as upstream:
        configured(upstream)
        written()
        stopped = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--max-cost", "0.000009")
        assert (stopped.returncode, len(upstream.calls)) == (1, 2)
        assert (
            "stopped at $0.000008: 2 of 3 answered; the same command with a higher --max-cost continues"
            in stopped.stderr
        )
        rest = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--max-cost", "1")
        assert (rest.returncode, len(upstream.calls)) == (0, 3)


def test_failures_are_reported_and_nothing_but_failures_is_an_error() -> None:
    with Upstream({"a": lambda body: "5" if "2 + 3" in str(body) else Reply(status=400, text="not today")}) as upstream:
        configured(upstream)
        written()
        some = moa("eval", "run", "sums.jsonl", "-m", "lab:a")
        assert (some.returncode, len(upstream.calls)) == (0, 3)
        assert "2 failed, the first with: lab:a: " in some.stderr
        assert "; the same command retries them\n" in some.stderr
        written(SUMS.replace("2 + 3", "2 + 2"))
        none = moa("eval", "run", "sums.jsonl", "-m", "lab:a")
        assert (none.returncode, "3 failed, the first with" in none.stderr) == (1, True)


def test_a_limit_on_cost_with_an_unknown_price_is_refused_before_any_call() -> None:
    with Upstream({"a": right}) as upstream:
        configured(upstream)
        Path("moa.toml").write_text(Path("moa.toml").read_text("utf-8").replace("price =", "# price ="), "utf-8")
        written()
        refused = moa("eval", "run", "sums.jsonl", "-m", "lab:a", "--max-cost", "1")
        assert (refused.returncode, upstream.calls) == (2, [])
    assert "--max-cost: the price of lab:a is unknown" in refused.stderr


def test_a_bar_shows_the_progress() -> None:
    with Upstream({"a": right}) as upstream:
        configured(upstream)
        written()
        code, screen = on_a_terminal("eval", "run", "sums.jsonl", "-m", "lab:a")
    assert code == 0
    assert "3/3" in screen
    assert "100.00 %" in screen


def test_the_bar_shows_rate_cost_and_time_left_of_this_run() -> None:
    assert figures(Progress(50, 10, 110, 2, 0.25), seconds=5) == "2.0/s · $0.25 · 2 failed · 0:30 left"
    assert figures(Progress(40, 0, 110, 0, 0.0), seconds=5) == "$0"


def test_an_interrupt_says_that_the_same_command_continues() -> None:
    with Upstream({"a": lambda body: right(body) if "2 + 3" in str(body) else Reply(delay=60)}) as upstream:
        configured(upstream)
        written()
        process = subprocess.Popen([*MOA, "eval", "run", "sums.jsonl", "-m", "lab:a", "--output-dir", "out"], stderr=-1)
        until(lambda: Path("out/scores.jsonl").exists())
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
        assert process.returncode == 130
        assert b"moa: stopped; the answers so far are stored, and the same command continues\n" in stderr


def test_an_unknown_task_suggests_a_known_one() -> None:
    done = moa("eval", "run", "mt_bnch", "-m", "moa:local")
    assert (done.returncode, "did you mean 'mt_bench'?" in done.stderr) == (2, True)


@contextmanager
def files(folder: Path) -> Iterator[str]:
    """Serve the files of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloads_with_a_wrong_checksum_are_not_stored(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "question.jsonl").write_text("something else", "utf-8")
    with files(served) as url:
        done = moa("eval", "fetch", "mt_bench", "--into", "data", "--mirror", url)
    assert done.returncode == 2
    assert f"sha256 {hashlib.sha256(b'something else').hexdigest()}, not 119565adb" in done.stderr
    assert "licence of the data: Apache-2.0" in done.stderr
    assert not Path("data").exists()
