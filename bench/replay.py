"""Replays recorded AlpacaEval judgements through `moa eval run alpaca_eval` and compares the results.

Needs `--data DIR`: alpaca_eval/ as `moa eval run` takes it, with annotations/ and expected_dev.csv. Models whose
annotations have no log-probabilities are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from common import arguments, report
from moa.evals.task import Answer
from moa.evals.tasks.alpaca_eval import is_switched, read
from moa.evals.tasks.annotations import preference_of
from moa.evals.tasks.data import read_rows

Row = dict[str, Any]
Recorded = dict[str, tuple[str, Any]]
"""The reply to the last message of a request, and its log-probabilities."""


def recorded(data: Path, path: Path) -> tuple[Recorded, Recorded]:
    """Return a model's recorded answers, and its judge's replies."""
    bench, rows = read(data), {row["instruction"]: row for row in read_rows(path)}
    answers, judgements = Recorded(), Recorded()
    for sample in bench.samples:
        if row := rows.get(sample.question):
            answers[sample.question] = (row["output_2"], None)
            if reply := row.get("raw_completion"):
                answer = Answer(sample.id, "", (row["output_2"],))
                pair = bench.scorer.comparison(sample, answer, is_switched(sample.question))
                judgements[pair.question] = (reply["text"], reply["logprobs"])
    return answers, judgements


@contextmanager
def served(recordings: dict[str, Recorded]) -> Iterator[str]:
    """Start a server whose models give their recorded replies, and yield its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found = recordings[body["model"]].get(body["messages"][-1]["content"])
            status, payload = (
                (200, _completion(*found)) if found else (404, {"error": {"message": "no recorded reply"}})
            )
            reply = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def _completion(text: str, logprobs: Any) -> Row:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "1", "object": "chat.completion", "choices": [{**choice, "logprobs": logprobs}], "usage": usage}


def replayed(data: Path, path: Path, published: float | None) -> Row | None:
    """Run one model. `worst` is the largest difference between a computed and a recorded preference."""
    name = path.name.partition(".json")[0]
    answers, judgements = recorded(data, path)
    if not judgements:
        return None
    with served({name: answers, "gpt-4-1106-preview": judgements}) as url, tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "moa.toml")
        config.write_text(f'[providers.lab]\nbase_url = "{url}"\nattempts = 1\nprice = {{ input = 0, output = 0 }}\n')
        out = Path(folder, "out")
        flags = [
            "-m",
            f"lab:{name}",
            "--judge",
            "lab:gpt-4-1106-preview",
            "--data",
            str(data),
            "--output-dir",
            str(out),
        ]
        command = [sys.executable, "-m", "moa", "eval", "run", "alpaca_eval", *flags, "--config", str(config)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in (out / "scores.jsonl").read_text("utf-8").splitlines()]
        samples = {one["id"]: one["messages"][0]["content"] for one in map(json.loads, (out / "samples.jsonl").open())}
    stored = {row["instruction"]: preference_of(row["preference"]) for row in read_rows(path)}
    computed = {samples[line["sample"]]: line["scores"][0]["value"] for line in lines}
    shown = {row[1]: row[2] for row in (line.split("\t") for line in result.stdout.splitlines())}
    return {
        "model": name,
        "stored": len(stored),
        "computed": len(computed),
        "worst": max(abs(computed[question] - value) for question, value in stored.items() if value is not None),
        "win rate": shown["win rate"],
        "published": published,
        "length-controlled": shown["length-controlled win rate"],
    }


def main() -> None:
    options = arguments(__doc__, runs=1, data="")
    if not options.data:
        print("skipped: needs --data DIR, AlpacaEval's data with annotations", file=sys.stderr)
        return
    data = Path(options.data)
    folder = data / "alpaca_eval"
    expected = {row["model"]: float(row["win_rate"]) for row in read_rows(folder / "expected_dev.csv")}
    files = sorted((folder / "annotations").glob("*.json*"))
    rows = [row for path in files if (row := replayed(data, path, expected.get(path.name.partition(".json")[0])))]
    report("preferences of recorded judgements, recomputed", rows, options)


if __name__ == "__main__":
    main()
