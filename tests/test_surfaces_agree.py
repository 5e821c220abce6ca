"""One run as every surface shows it, and as the provider that was called logged it: they all agree."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from rich.console import Console

import moa
from helpers.command import configured
from helpers.command import moa as command
from helpers.telemetry import InMemoryTelemetry
from helpers.terminal import Terminal
from helpers.upstream import Body, Reply, Upstream, usage
from moa import Layer, Message, Mixture, Prewarm, Request, Response, Scripted, Span, Store, Synthesize, Trace, Usage
from moa.api import get_builder
from moa.cli.terminal.footer import summary
from moa.cli.terminal.live import Screen
from moa.evals.spending import answer_cost
from moa.events import Event, to_json
from moa.model import ModelInfo
from moa.sinks import tee
from moa.types import PrewarmResult

Row = dict[str, Any]
WEB = Path(__file__).parents[1] / "web"
QUESTION = "Which colour?"
TOML = """
[mixtures.inner]
proposers = ["lab:a", "lab:flaky"]
aggregator = "lab:b"
[mixtures.panel]
proposers = ["lab:a", "lab:gone", "moa:inner"]
aggregator = "lab:big"
"""

READ = (("show",), ("show", "--json"), ("export",))
"""What `moa runs` is asked afterwards."""

COLUMNS = ("layer", "role", "model", "state", "retries", "cached")
RUN = (
    ("1", "proposer", "lab:a", "done", 0, False),
    ("1", "proposer", "lab:gone", "failed", 0, False),
    ("1.1", "proposer", "lab:a", "done", 0, True),
    ("1.1", "proposer", "lab:flaky", "done", 1, False),
    ("1.2", "aggregator", "lab:b", "done", 0, False),
    ("2", "aggregator", "lab:big", "done", 0, False),
)
"""What happens: the layer of a call in a mixture that is in layer 1 itself is 1.1."""


@dataclass
class Surfaces:
    """The run on every surface."""

    provider: list[Row]
    frames: list[str]  # of the terminal
    telemetry: InMemoryTelemetry
    response: Response
    shown: str  # by `moa runs show`
    whole: Any  # ... as JSON
    exported: str  # by `moa runs export`

    @property
    def calls(self) -> list[Row]:
        """What happened, with the tokens of the provider's own log: of a call that it was not asked there are none."""
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in RUN]
        log = {row["model"]: row for row in self.provider}
        for row in rows:
            asked = row["state"] == "done" and not row["cached"]
            known = log[row["model"]] if asked else {"input": 0, "output": 0}
            row |= {key: known[key] if row["state"] == "done" else None for key in ("input", "output")}
            row["cost"] = (row["input"] + row["output"]) / 1e6 if row["state"] == "done" else None
            row["about"] = None if row["cost"] is None else float(f"{row['cost']:.2g}")
        return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surfaces]:
    """A nested mixture with a retry, a lost proposer and a cached call, asked of a real server and watched by all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        replies: list[tuple[Body, Reply]] = []

        def says(body: Body) -> Reply:
            again = any(before["model"] == body["model"] for before, _ in replies)
            made = {
                "a": Reply("red wine"),
                "gone": Reply("no such thing", status=400),
                "flaky": Reply("grey it is") if again else Reply("busy", status=503, headers={"Retry-After": "0"}),
                "b": Reply("dark red"),
                "big": Reply("purple it is"),
            }[body["model"]]
            replies.append((body, made))
            return made

        with Upstream(says) as upstream:
            configured(upstream, TOML)
            settings = Path("moa.toml").read_text("utf-8").replace("attempts = 1", "attempts = 2\ncache = true")
            Path("moa.toml").write_text(settings, "utf-8")
            telemetry = InMemoryTelemetry()
            with Store("runs.sqlite") as store:
                frames, response = asyncio.run(watched(tee(store.emit, telemetry)))
            patch.setenv("MOA_STORE", "runs.sqlite")
            shown, whole, exported = (command("runs", *words).stdout for words in READ)
            yield Surfaces(
                provider_log(upstream, replies), frames, telemetry, response, shown, json.loads(whole), exported
            )


async def watched(emit: Callable[[Event], None]) -> tuple[list[str], Response]:
    """Ask, and look on at a terminal; what was on its screen after every event, and the answer."""
    written = io.StringIO()
    screen = Screen(Console(file=written, force_terminal=True, width=100, height=30, color_system=None))
    terminal, frames, read = Terminal(30), [], 0
    model = get_builder().model("moa:panel")

    def look() -> None:
        nonlocal read
        terminal.feed(written.getvalue()[read:])
        read = len(written.getvalue())
        frames.append(terminal.text)

    async with moa.stream(model, Request((Message("user", QUESTION),)), "all", emit=emit) as events:
        async for event in events:
            screen.add(event)
            screen.draw()
            look()
        screen.close(events.response)
        look()
    return frames, events.response


def provider_log(upstream: Upstream, replies: list[tuple[Body, Reply]]) -> list[Row]:
    """What the provider knows: who was asked how often, and the tokens; its calls of one span are one call."""
    calls: dict[str, Row] = {}
    for call, (body, reply) in zip(upstream.calls, replies, strict=True):
        assert call.body is body
        row = calls.setdefault(call.headers["traceparent"].split("-")[2], {"model": f"lab:{call.model}", "retries": -1})
        spent = usage(body, reply.text)
        row["retries"] += 1
        row["state"] = "done" if reply.status == 200 else "failed"
        row["input"], row["output"] = (
            (spent["prompt_tokens"], spent["completion_tokens"]) if reply.status == 200 else (None, None)
        )
    return list(calls.values())


# --- the surfaces ----------------------------------------------------------------------------------------------------


def live(run: Surfaces) -> list[Row]:
    """The rows of the last frame; that a call was tried again is seen in frames before."""
    rows = []
    for line in run.frames[-1].splitlines():
        if found := re.match(r"([\d.]*) +(lab:\w+) +[✓✗] (\w+) .*?(cached|\d+)? +[\d.]+ s$", line):
            layer, model, state, tokens = found.groups()
            retried = any(re.search(rf"{model} +↻ retrying", frame) for frame in run.frames)
            row = {"layer": layer or rows[-1]["layer"], "model": model, "state": state, "retries": int(retried)}
            output = None if state == "failed" else 0 if tokens == "cached" else int(tokens)
            rows.append({**row, "cached": tokens == "cached", "output": output})
    return rows


def show(run: Surfaces) -> list[Row]:
    """The tree that `moa runs show` prints, with dollars to two digits."""
    rows: list[Row] = []
    above: list[tuple[int, str]] = []
    line_of_call = re.compile(r"([│├└ ]*)(\S+(?: \d+)?) +[✓✗] (\w+) +(?:([\d,]+) \+ ([\d,]+))? +(?:\$(\S+))? +[\d.]+ s")
    for line in run.shown.splitlines():
        if found := line_of_call.match(line):
            lead, name, state, read, wrote, dollars = found.groups()
            above = [*above[: len(lead) // 2], (len(lead) // 2, name)]
            if name.startswith("lab:"):
                layer, role = placed([name for _, name in above[:-1]], rows)
                row = {
                    "layer": layer,
                    "role": role,
                    "model": name,
                    "state": state,
                    "retries": 0,
                    "cached": False,
                }
                row |= {"input": int(read) if read else None, "output": int(wrote) if wrote else None}
                rows.append({**row, "about": float(dollars) if dollars else None})
        elif rows and re.match(r"[│ ]*retry attempt=", line):
            rows[-1]["retries"] += 1
        elif rows and re.match(r"[│ ]*cached ", line):
            rows[-1]["cached"] = True
    return rows


def placed(above: list[str], rows: list[Row]) -> tuple[str, str]:
    """The layer of a call and its role, of the names that stand above it in a tree."""
    numbers = [name.removeprefix("layer ") for name in above if name.startswith("layer ")]
    if above[-1].startswith("layer "):
        return ".".join(numbers), "proposer"
    within = "".join(f"{number}." for number in numbers)
    before = [row["layer"].split(".")[len(numbers)] for row in rows if row["layer"].startswith(within)]
    return ".".join([*numbers, str(int(before[-1]) + 1)]), "aggregator"


def exported(run: Surfaces) -> list[Row]:
    """The JSON of `moa runs show --json`."""
    return list(of_tree(run.whole["tree"]))


def page(run: Surfaces) -> list[Row]:
    """The fold of the page, in TypeScript, of the events that `moa runs export` prints."""
    if not (shutil.which("node") and (WEB / "node_modules").is_dir()):
        pytest.skip("the page's fold runs with Node: npm --prefix web ci")
    done = subprocess.run(
        ["node", str(WEB / "tools" / "fold.mjs")],
        input=run.exported,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    state = json.loads(done.stdout)
    rows = [row for row in of_tree(state["tree"]) if row["role"] != "prewarm"]
    assert [row["state"] for row in rows] == list(state["calls"].values())  # in its own words
    return rows


def of_tree(node: Mapping[str, Any], within: str = "", before: int = 0) -> Iterator[Row]:
    """The calls of a tree in JSON."""
    calls = node.get("calls", ())
    if not calls:
        spent = node.get("usage", {})
        notes = [note["kind"] for note in node.get("notes", ())]
        yield {
            "layer": within if node["role"] == "proposer" else f"{within}{before + 1}",
            "role": node["role"],
            "model": node["model"],
            "state": "failed" if "error" in node else "done",
            "retries": notes.count("retry"),
            "cached": "cached" in notes,
            "input": spent.get("input_tokens"),
            "output": spent.get("output_tokens"),
            "cost": spent.get("cost"),
        }
    number = 0
    for child in calls:
        if child["role"] == "layer":
            number = child["layer"]
            for call in child["calls"]:
                place = f"{within}{number}"
                yield from of_tree(call, f"{place}." if call.get("calls") else place)
        else:
            yield from of_tree(child, within, number)


def opentelemetry(run: Surfaces) -> list[Row]:
    """The spans."""
    spans = {span.context.span_id: span for span in run.telemetry.spans if span.context}
    rows = []
    for span in spans.values():
        known = dict(span.attributes or {})
        if known.get("gen_ai.operation.name") == "chat":
            rows.append(
                {
                    "layer": ".".join(layers(span, spans)),
                    "role": known["moa.role"],
                    "model": f"{known['gen_ai.provider.name']}:{known['gen_ai.request.model']}",
                    "state": "failed" if known.get("moa.lost") or not span.status.is_ok else "done",
                    "retries": known.get("moa.retries", 0),
                    "cached": known.get("moa.cached", False),
                    "input": known.get("gen_ai.usage.input_tokens"),
                    "output": known.get("gen_ai.usage.output_tokens"),
                    "cost": known.get("moa.cost.usd"),
                }
            )
            assert known.get("moa.retries", 0) == [event.name for event in span.events].count("moa.retry")
    return rows


def layers(span: ReadableSpan, spans: Mapping[int, ReadableSpan]) -> list[str]:
    """The layer of a call, and of each mixture that it is in."""
    above = spans.get(span.parent.span_id) if span.parent else None
    if above is None:
        return []
    known = above.attributes or {}
    if known["moa.role"] == "layer":
        return [*layers(above, spans), str(known["moa.layer"])]
    if (span.attributes or {})["moa.role"] == "layer":
        return layers(above, spans)
    beside = [
        one for one in spans.values() if one.parent and above.context and one.parent.span_id == above.context.span_id
    ]
    last = max(int(str((one.attributes or {}).get("moa.layer", 0))) for one in beside)
    return [*layers(above, spans), str(last + 1)]


def provider(run: Surfaces) -> list[Row]:
    """Who was really asked, and how often."""
    return run.provider


def agree(shown: list[Row], happened: list[Row]) -> None:
    """Assert that a surface shows what happened, in the columns that it has."""
    columns = tuple(column for column in happened[0] if column in shown[0])
    assert "model" in columns and "state" in columns

    def table(rows: list[Row]) -> list[tuple[Any, ...]]:
        return sorted((tuple(row[column] for column in columns) for row in rows), key=repr)

    assert table(shown) == table(happened)


@pytest.mark.parametrize("surface", [live, show, exported, page, opentelemetry], ids=lambda surface: surface.__name__)
def test_each_surface_shows_what_happened(run: Surfaces, surface: Callable[[Surfaces], list[Row]]) -> None:
    agree(surface(run), run.calls)


def test_the_provider_got_exactly_the_calls_that_are_shown(run: Surfaces) -> None:
    agree(provider(run), [row for row in run.calls if not row["cached"]])


def test_the_sums_agree_too(run: Surfaces) -> None:
    spent = {key: sum(row[key] or 0 for row in run.calls) for key in ("input", "output", "cost")}
    used = run.response.usage
    root = run.telemetry.span("invoke_workflow panel").attributes or {}
    whole = run.whole["usage"]
    said = f"6 calls · {spent['input']} tokens in, {spent['output']} out · $0.00"
    assert (used.input_tokens, used.output_tokens) == (spent["input"], spent["output"])
    assert (whole["input_tokens"], whole["output_tokens"]) == (spent["input"], spent["output"])
    assert (root["moa.total.input_tokens"], root["moa.total.output_tokens"]) == (spent["input"], spent["output"])
    costs = [used.cost, whole["cost"], root["moa.total.cost.usd"]]
    assert costs == [pytest.approx(spent["cost"])] * 3
    assert said in run.frames[-1] and said in run.shown
    assert "1 failed" in run.frames[-1] and "1 failed" in run.shown


@dataclass(frozen=True)
class Prewarming:
    """A judge on a host of its own that reads its prompt before it is called."""

    name: str = "judge"
    info: ModelInfo = ModelInfo(host="elsewhere", prewarm="free")

    async def prewarm(self, request: Request) -> PrewarmResult:
        return PrewarmResult(request.size, request.size, 0.5)

    async def generate(self, request: Request, span: Span) -> Response:
        span.text("Blue.")
        return Response(self.name, "Blue.", Usage(20, 1, 0.5))


async def test_a_prewarm_is_no_call_wherever_calls_are_counted(tmp_path: Path) -> None:
    proposer = Scripted("a", "Short waves are scattered far more than long ones are. " * 50, usage=Usage(5, 9, 0.25))
    mixture = Mixture((Layer((proposer,)),), Synthesize(Prewarming()), "panel", strategies=[Prewarm()])
    trace = Trace()
    with Store(tmp_path / "runs.sqlite") as store:
        answer = await moa.generate(mixture, Request((Message("user", QUESTION),)), tee(store.emit, trace.add), "all")
    assert [node.start.model for node in trace.prewarms] == ["judge"]
    run, events = store.runs()[0], store.events("last")
    assert [node.start.model for node in trace.calls] == ["a", "judge"]
    assert summary(trace, answer).startswith("2 calls · ")
    assert (run.calls, answer_cost(trace).calls, answer_cost(trace).paid) == (2, 2, 0.75)
    lines = b"".join(to_json(event) + b"\n" for event in events).decode()
    assert [row["model"] for row in page(Surfaces([], [], InMemoryTelemetry(), answer, "", None, lines))] == [
        "a",
        "judge",
    ]
