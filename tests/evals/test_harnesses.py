"""Evaluation harnesses, called as their users call them, with `moa serve` as the server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.server import TOML, Served, serving
from helpers.upstream import Body, Reply, Upstream

pytestmark = [
    pytest.mark.harnesses,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(
        importlib.util.find_spec("inspect_ai") is None,
        reason="the harnesses are not installed: uv run --isolated --group harnesses python -m pytest -m harnesses",
    ),
]

CONFIG = TOML + '[server.aliases]\n"gpt-4*" = "up:m"\n'
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
BIN = Path(sys.executable).parent


def right(body: Body) -> str:
    """Return the sum in the last question, or a grade if it asks for one."""
    asked = str(body["messages"][-1]["content"])
    return "GRADE: C" if "GRADE" in asked else "The answer is 5." if "2 + 3" in asked else "7"


def prefers_m(body: Body) -> Reply:
    """Return the reply of AlpacaEval's judge: one token, with its likeliest alternatives."""
    likely = [{"token": "m", "logprob": -0.1, "bytes": None}, {"token": "M", "logprob": -2.4, "bytes": None}]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "m"},
        "finish_reason": "length",
        "logprobs": {"content": [{"token": "m", "logprob": -0.1, "bytes": None, "top_logprobs": likely}]},
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Reply(raw=json.dumps(whole).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture
def served() -> Iterator[tuple[Served, Upstream]]:
    says: Any = {"a": "4", "b": "6", "judge": right, "m": prefers_m}
    with serving(says, CONFIG) as (server, upstream):
        yield server, upstream


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment without network and with its own home folder. It must succeed."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": "hf", "HOME": str(Path.cwd())}
    command = [str(BIN / words[0]), *words[1:]]
    env = {**os.environ, **offline, "NO_COLOR": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes, model_graded_qa
from inspect_ai.solver import generate

SUM = [Sample(input="What is 2 + 3?", target="5")]

@task
def tiny():
    return Task(dataset=SUM, solver=generate(), scorer=includes())

@task
def graded():
    return Task(dataset=SUM, solver=generate(), scorer=model_graded_qa())
"""


def logged() -> dict[str, Any]:
    """Return the only log of Inspect, in which all samples succeeded."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    (info,) = list_eval_logs("logs")
    log = read_eval_log(info)
    assert log.status == "success", log.error
    assert log.results and log.samples
    score = log.results.scores[0].metrics["accuracy"].value
    return {"accuracy": score, "output": log.samples[0].output}


def configured(toml: str, upstream: Upstream) -> None:
    """Write a `moa.toml` in the current folder."""
    Path("moa.toml").write_text(toml.format(url=upstream.url), "utf-8")


class TestInspect:
    def inspect(self, task: str, *words: str, **environment: str) -> dict[str, Any]:
        Path("task.py").write_text(TASK, "utf-8")
        run("inspect", "eval", f"task.py@{task}", "--log-dir", "logs", "--display", "plain", *words, **environment)
        return logged()

    def test_asks_the_server_as_an_openai_api(self, served: tuple[Served, Upstream]) -> None:
        server, upstream = served
        url = {"MOA_API_KEY": "sk-local", "MOA_BASE_URL": f"{server.url}/v1"}
        log = self.inspect("tiny", "--model", "openai-api/moa/moa:duo", "--max-connections", "8", **url)
        assert (log["accuracy"], log["output"].completion) == (1.0, "The answer is 5.")
        assert len(upstream.calls) == 3

    def test_has_a_model_of_the_server_grade(self, served: tuple[Served, Upstream]) -> None:
        server, upstream = served
        url = f"{server.url}/v1"
        keys = {"MOA_API_KEY": "k", "MOA_BASE_URL": url, "JUDGE_API_KEY": "k", "JUDGE_BASE_URL": url}
        log = self.inspect(
            "graded", "--model", "openai-api/moa/duo", "--model-role", "grader=openai-api/judge/duo", **keys
        )
        assert log["accuracy"] == 1.0
        assert len(upstream.calls) == 6

    @pytest.mark.parametrize("more", [("-M", "responses_api=false"), ()])
    def test_asks_with_its_openai_provider_in_either_protocol(
        self, served: tuple[Served, Upstream], more: tuple[str, ...]
    ) -> None:
        server, _ = served
        words = ("--model", "openai/duo", "--model-base-url", f"{server.url}/v1", *more)
        assert self.inspect("tiny", *words, OPENAI_API_KEY="sk-local")["accuracy"] == 1.0

    def test_asks_mixtures_in_its_own_process_as_the_provider_moa(self, served: tuple[Served, Upstream]) -> None:
        _, upstream = served
        configured(CONFIG, upstream)
        log = self.inspect("tiny", "--model", "moa/duo")
        assert log["accuracy"] == 1.0
        assert [one["text"] for one in log["output"].metadata["references"]] == ["4", "6"]
        assert log["output"].usage.total_tokens > 0
        assert len(upstream.calls) == 3


class TestOurProviderForInspect:
    async def test_passes_tools_and_returns_calls(self) -> None:
        from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
        from inspect_ai.tool import ToolInfo, ToolParams

        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
        reply = Reply(message={"role": "assistant", "content": None, "tool_calls": [call]}, finish_reason="tool_calls")
        with Upstream({"a": "red", "b": "blue", "judge": reply}) as upstream:
            configured(TOML, upstream)
            look = ToolInfo(name="look", description="Look.", parameters=ToolParams())
            asked = [ChatMessageUser(content="Where?")]
            output = await get_model("moa/duo").generate(
                asked, tools=[look], config=GenerateConfig(temperature=0.5, max_tokens=9, seed=3, stop_seqs=["!"])
            )
            (body,) = (call.body for call in upstream.to("judge"))
        assert output.stop_reason == "tool_calls"
        assert output.message.tool_calls
        assert (output.message.tool_calls[0].function, output.message.tool_calls[0].arguments) == (
            "look",
            {"at": "sky"},
        )
        assert [tool["function"]["name"] for tool in body["tools"]] == ["look"]
        assert (body["temperature"], body["max_tokens"], body["seed"], body["stop"]) == (0.5, 9, 3, ["!"])

    async def test_sends_images_and_refuses_other_content(self) -> None:
        from inspect_ai.model import ChatMessageUser, ContentAudio, ContentImage, ContentText, get_model

        with Upstream({"a": "red", "b": "blue", "judge": "purple"}) as upstream:
            configured(TOML.replace("attempts = 1", "attempts = 1\nvision = true"), upstream)
            model = get_model("moa/up:judge")
            shown = [ContentText(text="What is it?"), ContentImage(image=DOT)]
            assert (await model.generate([ChatMessageUser(content=shown)])).completion == "purple"
            assert upstream.calls[0].messages[0]["content"][1] == {"type": "image_url", "image_url": {"url": DOT}}
            with pytest.raises(Exception, match="content of type 'audio'"):
                await model.generate(
                    [ChatMessageUser(content=[ContentAudio(audio="data:audio/wav;base64,UklGRg==", format="wav")])]
                )

    def test_refuses_an_unknown_option(self) -> None:
        from inspect_ai.model import get_model

        with pytest.raises(Exception, match="colour: unknown option"):
            get_model("moa/local", colour="red")


class TestLmEvaluationHarness:
    def test_asks_a_mixture_by_chat_completions(self, served: tuple[Served, Upstream]) -> None:
        server, upstream = served
        Path("tasks").mkdir()
        lines = ({"question": f"What is 2 + {number}?", "answer": str(2 + number)} for number in (3, 5))
        Path("sums.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
        Path("tasks/sums.yaml").write_text(
            "task: sums\ndataset_path: json\ndataset_kwargs: {data_files: {test: sums.jsonl}}\ntest_split: test\n"
            'output_type: generate_until\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
            'generation_kwargs: {until: ["\\n\\n"], max_gen_toks: 32}\n'
            "filter_list:\n  - name: number\n    filter:\n"
            '      - {function: regex, regex_pattern: "(\\\\d+)"}\n      - {function: take_first}\n'
            "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}\n",
            "utf-8",
        )
        url = f"{server.url}/v1/chat/completions"
        arguments = f"model=duo,base_url={url},num_concurrent=8,max_retries=3,tokenized_requests=False"
        run(
            *(
                "lm_eval",
                "run",
                "--model",
                "local-chat-completions",
                "--model_args",
                arguments,
                "--apply_chat_template",
            ),
            *("--tasks", "sums", "--include_path", "tasks", "--output_path", "out", "--log_samples"),
            OPENAI_API_KEY="sk-local",
        )
        (results,) = Path("out").rglob("results_*.json")
        assert json.loads(results.read_text("utf-8"))["results"]["sums"]["exact_match,number"] == 1.0
        assert len(upstream.calls) == 6
        assert {call.body["max_tokens"] for call in upstream.to("judge")} == {32}


class TestAlpacaEval:
    OUTPUT = (
        *("--annotators_config", "weighted_alpaca_eval_gpt4_turbo", "--output_path", "out"),
        *("--precomputed_leaderboard", "None", "--caching_path", "None"),
        *("--fn_metric", "get_winrate", "--sort_by", "win_rate"),
    )

    @pytest.fixture
    def reference(self, served: tuple[Served, Upstream]) -> tuple[Served, Upstream]:
        """Write the reference answers, and the file that names the server."""
        server, _ = served
        client = f'default: [{{api_key: "sk-local", base_url: "{server.url}/v1"}}]\n'
        Path("client.yaml").write_text(client, "utf-8")
        line = {"instruction": "What is 2 + 3?", "output": "It is 6.", "generator": "ref", "dataset": "mine"}
        Path("ref.json").write_text(json.dumps([line]), "utf-8")
        return served

    def rate(self) -> float:
        import csv

        (path,) = Path("out").rglob("leaderboard.csv")
        with path.open() as file:
            return float(next(iter(csv.DictReader(file)))["win_rate"])

    def test_has_a_model_of_the_server_judge_by_its_log_probabilities(self, reference: tuple[Served, Upstream]) -> None:
        _, upstream = reference
        line = {"instruction": "What is 2 + 3?", "output": "It is 5.", "generator": "moa", "dataset": "mine"}
        Path("moa.json").write_text(json.dumps([line]), "utf-8")
        words = ("--model_outputs", "moa.json", "--reference_outputs", "ref.json")
        run(
            "alpaca_eval",
            "evaluate",
            *words,
            *self.OUTPUT,
            OPENAI_CLIENT_CONFIG_PATH=str(Path("client.yaml").resolve()),
        )
        assert upstream.to("m")
        assert self.rate() in (pytest.approx(9.1, abs=0.1), pytest.approx(90.9, abs=0.1))

    def test_has_a_mixture_answer_its_instructions(self, reference: tuple[Served, Upstream]) -> None:
        _, upstream = reference
        folder = Path("models/moa")
        folder.mkdir(parents=True)
        (folder / "prompt.txt").write_text("<|im_start|>user\n{instruction}\n<|im_end|>", "utf-8")
        (folder / "configs.yaml").write_text(
            f"moa:\n  prompt_template: {(folder / 'prompt.txt').resolve()}\n  fn_completions: openai_completions\n"
            "  completions_kwargs: {model_name: duo, requires_chatml: true, max_tokens: 2048, temperature: 0.7, "
            "num_procs: 4, price_per_token: 0.0}\n",
            "utf-8",
        )
        words = ("--model_configs", str(folder.resolve()), "--evaluation_dataset", "ref.json")
        more = ("--reference_model_configs", "None", "--chunksize", "None")
        client = {"OPENAI_CLIENT_CONFIG_PATH": str(Path("client.yaml").resolve())}
        run("alpaca_eval", "evaluate_from_model", *words, *more, *self.OUTPUT, **client)
        assert upstream.to("judge")[0].messages[-1]["content"] == "What is 2 + 3?"
        assert self.rate() > 0
