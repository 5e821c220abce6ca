"""`moa.toml`: what may be said in it, and what it makes."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import moa
from helpers.upstream import Upstream
from moa import (
    Cached,
    ConfigError,
    Fallback,
    Layer,
    Limited,
    Mixture,
    Pick,
    Prompt,
    Retried,
    Synthesize,
    Vote,
    WithDefaults,
)
from moa.config.build import Builder
from moa.config.load import find, load, schema
from moa.costs.prices import Price
from moa.model import WrapperModel
from moa.models.openai.model import OpenAI

LAB = '[providers.lab]\nbase_url = "http://127.0.0.1:9000/v1"\n'
PANEL = f'{LAB}[mixtures.panel]\nproposers = ["lab:a"]\naggregator = "lab:big"\n'


def built(text: str, name: str = "panel") -> Any:
    path = Path("moa.toml").absolute()
    path.write_text(text)
    config, _ = load(path)
    return Builder(config, path.parent).model(name)


def written(text: str) -> moa.Model:
    """The default model of a `moa.toml` in the folder one works in."""
    Path("moa.toml").write_text(text)
    return moa.get_model()


def endpoint(model: Any) -> OpenAI:
    """The model beneath everything around it."""
    while isinstance(model, (WrapperModel, WithDefaults)):
        model = model.inner
    assert isinstance(model, OpenAI)
    return model


def around(model: Any) -> Iterator[Any]:
    """What stands around a model, from the outside."""
    while isinstance(model, (WrapperModel, WithDefaults)):
        yield model
        model = model.inner


# --- what may be said -------------------------------------------------------------------------------------------------


async def test_the_ten_lines_work_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
default = "panel"
[providers.mylab]
base_url = "{mylab}"
api_key_env = "MYLAB_KEY"          # optional
max_concurrency = 8                # optional
[mixtures.panel]
proposers = ["mylab:a", "mylab:b", { model = "ollama:mistral", temperature = 0.9, samples = 2 }]
layers = 3                         # the same proposers in each proposer layer, then the aggregator (default 2)
aggregator = "mylab:big"
quorum = 2
timeout = 60                       # seconds, per layer
"""
    monkeypatch.setenv("MYLAB_KEY", "my-key")
    with Upstream(lambda body: f"spoken by {body['model']}") as upstream:
        ollama = f'[providers.ollama]\nbase_url = "{upstream.url}"\n'
        model = written(text.replace("{mylab}", upstream.url) + ollama)
        answer = await moa.generate(model, moa.Request((moa.Message("user", "Why?"),)))
        calls = sorted(call.model for call in upstream.calls)
        sampled = [(call.body["temperature"], call.body["seed"]) for call in upstream.to("mistral")]
        keys = {call.model: call.headers.get("Authorization") for call in upstream.calls}
    assert answer.text == "spoken by big"
    assert calls == ["a", "a", "b", "b", "big", "mistral", "mistral", "mistral", "mistral"]
    assert sorted(sampled) == [(0.9, 0), (0.9, 0), (0.9, 1), (0.9, 1)]
    assert keys == {"a": "Bearer my-key", "b": "Bearer my-key", "big": "Bearer my-key", "mistral": None}


def test_layers_may_differ_and_hold_mixtures_by_name() -> None:
    mixture = built(
        f"""{LAB}
        [mixtures.small]
        proposers = ["lab:a"]
        aggregator = "lab:b"
        [mixtures.big]
        layers = [["lab:a"], ["lab:b", "moa:small"]]
        aggregator = "moa:small"
        """,
        "moa:big",
    )
    assert [[model.name for model in layer.proposers] for layer in mixture.layers] == [
        ["lab:a"],
        ["lab:b", "moa:small"],
    ]
    assert [model.name for model in mixture.aggregator.models] == ["moa:small"]


def test_what_a_layer_is_told_is_what_it_does() -> None:
    mixture = built(
        PANEL
        + """quorum = 1
        timeout = 2.5
        grace = 1
        reference_order = "shuffled"
        references_in = "user"
        show_model_names = true
        prompt = "Weigh {{references}} for {{question}}."
        """
    )
    (layer,) = mixture.layers
    prompt = Prompt("Weigh {{references}} for {{question}}.", "user", show_model_names=True)
    assert layer == Layer(layer.proposers, 1, 2.5, 1.0, "shuffled", prompt)
    assert mixture.aggregator.prompt == prompt


def test_what_a_provider_is_told_is_what_its_models_do() -> None:
    model = built(
        f"""{LAB}
        api_key_env = "LAB_KEY"
        read_timeout = 7
        max_concurrency = 3
        attempts = 4
        cache = true
        context_window = 4096
        price = {{ input = 1, output = 2, cached = 0.5 }}
        unsupported = ["seed"]
        renamed = {{ max_tokens = "max_completion_tokens" }}
        headers = {{ X-Title = "mine" }}
        vision = true
        [providers.lab.models.small]
        context_window = 1024
        price = {{ input = 0, output = 0 }}
        """,
        "lab:big",
    )
    url, price = "http://127.0.0.1:9000/v1", Price(1, 2, 0.5)
    assert endpoint(model) == OpenAI(
        "big",
        url,
        "lab:big",
        "LAB_KEY",
        7.0,
        4096,
        price,
        unsupported=("seed",),
        renamed={"max_tokens": "max_completion_tokens"},
        headers={"X-Title": "mine"},
    )
    kinds = {type(one): one for one in around(model)}
    assert kinds[Retried].attempts == 4
    assert kinds[Limited].limiter.max_concurrency == 3
    assert Cached in kinds


def test_what_is_known_of_one_model_goes_before_what_its_provider_says() -> None:
    text = f"""{LAB}
    context_window = 4096
    price = {{ input = 1, output = 2 }}
    [providers.lab.models."org/small"]
    context_window = 1024
    price = {{ input = 0, output = 0 }}
    """
    small, big = (endpoint(built(text, f"lab:{name}")) for name in ("org/small", "big"))
    assert (small.context_window, small.price) == (1024, Price(0, 0))
    assert (big.context_window, big.price) == (4096, Price(1, 2))


def test_models_of_one_provider_share_its_limit_and_those_of_two_do_not() -> None:
    text = f"""{LAB}max_concurrency = 3
    [providers.other]
    base_url = "http://127.0.0.1:9001/v1"
    max_concurrency = 3
    [mixtures.panel]
    proposers = ["lab:a", "lab:b", "other:a"]
    aggregator = "lab:a"
    """
    limiters = [
        next(one.limiter for one in around(model) if isinstance(one, Limited))
        for model in built(text).layers[0].proposers
    ]
    assert limiters[0] is limiters[1]
    assert limiters[0] is not limiters[2]


def test_a_provider_of_the_user_changes_only_what_it_names() -> None:
    text = '[providers.openai]\nbase_url = "http://127.0.0.1:9000/v1"\n'
    model = endpoint(built(text, "openai:gpt-4o"))
    assert (model.base_url, model.api_key_env, model.renamed) == (
        "http://127.0.0.1:9000/v1",
        "OPENAI_API_KEY",
        {"max_tokens": "max_completion_tokens"},
    )


def test_a_mixture_of_the_user_takes_the_place_of_the_shipped_one() -> None:
    text = f'{LAB}[mixtures.paper]\nproposers = ["lab:a"]\naggregator = "lab:b"\n'
    mixture = built(text, "paper")
    assert [[model.name for model in layer.proposers] for layer in mixture.layers] == [["lab:a"]]


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ('aggregator = "lab:j"', Synthesize),
        ('aggregator = { model = "lab:j" }', Synthesize),
        ('aggregator = { kind = "pick", model = "lab:j" }', Pick),
        ('aggregator = { kind = "vote" }', Vote),
    ],
)
def test_an_aggregator_synthesizes_picks_or_votes(table: str, kind: type) -> None:
    assert isinstance(built(f'{LAB}[mixtures.panel]\nproposers = ["lab:a"]\n{table}\n').aggregator, kind)


def test_an_aggregators_fallback_is_a_chain_of_models_with_its_options() -> None:
    table = 'aggregator = { model = "lab:j", fallback = ["lab:k"], temperature = 0.1 }'
    model = built(f'{LAB}[mixtures.panel]\nproposers = ["lab:a"]\n{table}\n').aggregator.model
    assert isinstance(model, Fallback)
    assert [(one.name, one.temperature) for one in model.models if isinstance(one, WithDefaults)] == [
        ("lab:j", 0.1),
        ("lab:k", 0.1),
    ]


def test_a_prompt_file_is_looked_for_beside_the_moa_toml_and_read_as_it_is() -> None:
    folder = Path("elsewhere")
    folder.mkdir()
    (folder / "prompt.txt").write_text("Weigh {these} answers: {references} \\n 日本")
    (folder / "moa.toml").write_text(f'{PANEL}prompt_file = "prompt.txt"\n')
    mixture: Any = moa.get_model("panel", config=folder / "moa.toml")
    assert mixture.aggregator.prompt == Prompt("Weigh {these} answers: {references} \\n 日本")


def test_an_aggregators_own_prompt_goes_before_the_mixtures() -> None:
    text = f"""{LAB}
    [mixtures.panel]
    proposers = ["lab:a"]
    prompt = "For proposers."
    [mixtures.panel.aggregator]
    model = "lab:j"
    prompt = "For the aggregator."
    """
    mixture = built(text)
    assert mixture.layers[0].prompt == Prompt("For proposers.")
    assert mixture.aggregator.prompt == Prompt("For the aggregator.")


# --- where it is looked for -------------------------------------------------------------------------------------------


def test_the_file_is_looked_for_in_moa_config_then_here_then_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find() is None
    users = Path(os.environ["XDG_CONFIG_HOME"]) / "moa" / "moa.toml"
    users.parent.mkdir(parents=True)
    users.write_text(PANEL)
    assert find() == users
    Path("moa.toml").write_text(PANEL)
    assert find() == Path("moa.toml")
    monkeypatch.setenv("MOA_CONFIG", str(tmp_path / "named.toml"))
    assert find() == tmp_path / "named.toml"


def test_a_file_that_is_named_goes_before_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOA_CONFIG", str(tmp_path / "nowhere.toml"))
    (tmp_path / "mine.toml").write_text(f'default = "panel"\n{PANEL}')
    config, path = load(tmp_path / "mine.toml")
    assert (config.default, path) == ("panel", tmp_path / "mine.toml")


def test_without_a_file_the_shipped_catalogue_answers() -> None:
    config, path = load()
    assert (config.default, path) == ("moa:local", None)


def test_a_byte_order_mark_and_windows_line_ends_are_no_hindrance() -> None:
    Path("moa.toml").write_bytes(b"\xef\xbb\xbf" + PANEL.replace("\n", "\r\n").encode())
    assert "panel" in load()[0].mixtures


def test_a_changed_file_is_read_again() -> None:
    path = Path("moa.toml")
    path.write_text(PANEL)
    assert isinstance(moa.get_model("panel", config=path), Mixture)
    path.write_text(PANEL.replace("panel", "other"))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ConfigError, match="no mixture 'panel'"):
        moa.get_model("panel", config=path)


# --- the catalogue ----------------------------------------------------------------------------------------------------

PAPER = [
    "together:Qwen/Qwen1.5-110B-Chat",
    "together:Qwen/Qwen1.5-72B-Chat",
    "together:microsoft/WizardLM-2-8x22B",
    "together:meta-llama/Llama-3-70b-chat-hf",
    "together:mistralai/Mixtral-8x22B-Instruct-v0.1",
    "together:databricks/dbrx-instruct",
]
SHIPPED = tuple(load()[0].mixtures)


def test_the_catalogue_holds_the_mixtures_that_are_promised() -> None:
    promised = {"local", "paper", "paper-gpt4o", "paper-lite", "ollama-one", "ollama-two", "self"}
    assert promised <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_mixture_can_be_built(name: str) -> None:
    mixture = moa.get_model(f"moa:{name}")
    assert isinstance(mixture, Mixture)
    assert mixture.name == f"moa:{name}"


@pytest.mark.parametrize(
    ("name", "rounds", "last"),
    [
        ("paper", 2, "together:Qwen/Qwen1.5-110B-Chat"),
        ("paper-gpt4o", 2, "openai:gpt-4o-2024-05-13"),
        ("paper-lite", 1, "together:Qwen/Qwen1.5-72B-Chat"),
    ],
)
def test_the_papers_mixtures_are_exactly_the_papers(name: str, rounds: int, last: str) -> None:
    mixture: Any = moa.get_model(f"moa:{name}")
    judge = mixture.aggregator
    assert [[model.name for model in layer.proposers] for layer in mixture.layers] == [PAPER] * rounds
    assert isinstance(judge, Synthesize)
    assert judge.model.name == last
    members = [*(model for layer in mixture.layers for model in layer.proposers), judge.model]
    assert [
        member for member in members if member != WithDefaults(member.inner, temperature=0.7, max_tokens=2048)
    ] == []
    assert (mixture.layers[0].quorum, mixture.layers[0].timeout, mixture.layers[0].order) == (1, None, "declared")


def test_ollama_one_is_one_proposer_and_an_aggregator() -> None:
    mixture: Any = moa.get_model("moa:ollama-one")
    assert [[model.name for model in layer.proposers] for layer in mixture.layers] == [["ollama:stablelm-zephyr"]]
    assert mixture.aggregator.model.name == "ollama:llama3"


def test_ollama_two_proposes_three_times() -> None:
    mixture: Any = moa.get_model("moa:ollama-two")
    two = ["ollama:mistral", "ollama:stablelm-zephyr"]
    assert [[model.name for model in layer.proposers] for layer in mixture.layers] == [two] * 3
    assert mixture.aggregator.model.name == "ollama:llama3"


def test_self_is_one_model_sampled_six_times_with_six_seeds() -> None:
    mixture: Any = moa.get_model("moa:self")
    (layer,) = mixture.layers
    assert {model.name for model in layer.proposers} == {mixture.aggregator.model.name}
    assert [model.seed for model in layer.proposers] == [0, 1, 2, 3, 4, 5]


def test_every_provider_that_is_paid_names_its_key_and_its_public_prices() -> None:
    import genai_prices.data

    known = {provider.id for provider in genai_prices.data.providers}
    providers = load()[0].providers
    assert {table.priced_as for table in providers.values()} <= {*known, None}
    paid = {name: table for name, table in providers.items() if table.base_url.startswith("https:")}
    assert [name for name, table in paid.items() if table.api_key_env is None] == []
    own = {name: table.price for name, table in providers.items() if name not in paid}
    assert [name for name, price in own.items() if price is None or (price.input, price.output) != (0, 0)] == []


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_one_in_the_code() -> None:
    """To write it anew: `moa config schema > docs/moa.schema.json`."""
    published = Path(__file__).parents[2] / "docs" / "moa.schema.json"
    assert json.loads(published.read_text("utf-8")) == json.loads(json.dumps(schema()))


def test_the_schema_takes_the_catalogue_and_refuses_what_the_code_refuses() -> None:
    from importlib.resources import files

    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema())
    Draft202012Validator.check_schema(schema())
    shipped = tomllib.loads(files("moa.config").joinpath("catalog.toml").read_text("utf-8"))
    assert list(validator.iter_errors(shipped)) == []
    for wrong in ("defualt = 1", f"{PANEL}layers = 1", f"{PANEL}temprature = 1", PANEL.replace('["lab:a"]', '"a"')):
        assert not validator.is_valid(tomllib.loads(wrong)), wrong
