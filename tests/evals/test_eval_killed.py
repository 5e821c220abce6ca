"""An evaluation that is killed continues, with the same results."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from helpers.command import MOA, configured, moa, until
from helpers.upstream import Body, Upstream

RUN = ("eval", "run", "mine.jsonl", "-m", "lab:a", "-m", "moa:panel", "--judge", "lab:j", "--max-concurrency", "3")
SAME = ("report.html", "answers.jsonl", "scores.jsonl", "metrics.json", "samples.jsonl")


class Upto:
    """A server that answers a number of calls, equal ones alike, and never answers further ones."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.most = 0

    async def __call__(self, body: Body) -> str:
        if len(self.answered) >= self.most:
            await asyncio.Event().wait()
        asked = json.dumps(body, sort_keys=True)
        self.answered.append(asked)
        return f"Verdict: {1 + len(asked) % 2}" if body["model"] == "j" else f"{body['model']} has {len(asked)}"


def remembered(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM calls").fetchone()[0])
        except sqlite3.OperationalError:  # the table is just being made
            return 0


def test_after_any_number_of_kills_no_call_is_made_twice_and_the_report_is_the_same(tmp_path: Path) -> None:
    upto = Upto()
    with Upstream(upto) as upstream:
        configured(upstream)
        lines = [json.dumps({"prompt": f"What of {number}?"}) for number in range(5)]
        Path("mine.jsonl").write_text("\n".join(lines), "utf-8")
        for most in (2, 9, 17):
            upto.most = most
            store = {**os.environ, "MOA_STORE": str(tmp_path / "killed.sqlite")}
            process = subprocess.Popen([*MOA, *RUN, "--output-dir", "killed"], env=store, stderr=subprocess.DEVNULL)
            until(lambda most=most: remembered(tmp_path / "calls.sqlite") == most)  # type: ignore[misc]
            process.kill()
            process.wait()
        upto.most = 10**6
        done = moa(*RUN, "--output-dir", "killed", MOA_STORE=str(tmp_path / "killed.sqlite"))
        assert done.returncode == 0, done.stderr
        calls = len(upto.answered)
        assert (calls, len(set(upto.answered))) == (5 * (3 + 2), calls)
        (tmp_path / "other").mkdir()
        whole = moa(*RUN, "--output-dir", "whole", MOA_STORE=str(tmp_path / "other" / "whole.sqlite"))
        assert len(upto.answered) == 2 * calls
    assert whole.stdout == done.stdout
    assert {name: Path("killed", name).read_bytes() for name in SAME} == {
        name: Path("whole", name).read_bytes() for name in SAME
    }


def test_a_cached_answer_has_the_same_cost_as_a_new_one() -> None:
    upto = Upto()
    upto.most = 10**6
    with Upstream(upto) as upstream:
        configured(upstream)
        Path("mine.jsonl").write_text('{"prompt": "What?"}', "utf-8")
        moa(*RUN, "--output-dir", "first")
        moa(*RUN, "--output-dir", "second")
        assert len(upto.answered) == len(set(upto.answered))
    assert Path("first/answers.jsonl").read_bytes() == Path("second/answers.jsonl").read_bytes()
    paid = [json.loads(line)["paid"] for line in Path("second/timing.jsonl").read_text("utf-8").splitlines()]
    assert set(paid) == {0.0}
