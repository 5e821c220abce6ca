"""An invalid `moa.toml` is reported in one line that names the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config import LAB, PANEL, built

from moa import ConfigError
from moa.config.load import load
from moa.config.renamed import SETTINGS

CYCLE = f"""{LAB}
[mixtures.a]
proposers = ["moa:b"]
aggregator = "lab:j"
[mixtures.b]
proposers = ["lab:a"]
aggregator = {{ model = "lab:j", fallback = ["moa:a"] }}
"""
INVALID = [
    # unknown settings, in every kind of table
    ('defualt = "panel"', "defualt"),
    ("[engine]\nslot = 3", "engine.slot"),
    ("[server]\nprot = 3", "server.prot"),
    ("[store]\npaht = 3", "store.paht"),
    ("[telemetry]\nendpiont = 3", "telemetry.endpiont"),
    (f"{LAB}max_concurency = 3", "providers.lab.max_concurency"),
    (f"{LAB}price = {{ input = 1, outptu = 2 }}", "providers.lab.price.outptu"),
    (f"{LAB}models = {{ a = {{ contextwindow = 3 }} }}", "providers.lab.models.a.contextwindow"),
    (f"{LAB}circuit_breaker = {{ failure = 3 }}", "providers.lab.circuit_breaker.failure"),
    (f'{PANEL}proposer = ["x"]', "mixtures.panel.proposer"),
    (
        PANEL.replace('"lab:a"', '"lab:b", { model = "lab:a", temprature = 1 }'),
        "mixtures.panel.proposers[1].temprature",
    ),
    (
        PANEL.replace('proposers = ["lab:a"]', 'layers = [["lab:a"], [{ model = "lab:a", sample = 2 }]]'),
        "mixtures.panel.layers[1][0].sample",
    ),
    (PANEL.replace('"lab:big"', '{ model = "lab:big", modle = 1 }'), "mixtures.panel.aggregator.modle"),
    (f"{PANEL}timeout = {{ percentil = 90 }}", "mixtures.panel.timeout.percentil"),
    # of the wrong type
    (PANEL.replace('["lab:a"]', '"lab:a"'), "mixtures.panel.proposers"),
    (PANEL.replace('["lab:a"]', "[3]"), "mixtures.panel.proposers[0]"),
    (PANEL.replace('proposers = ["lab:a"]', 'layers = ["lab:a", "lab:b"]'), "mixtures.panel.layers[0]"),
    (PANEL.replace('"lab:big"', '["lab:big"]'), "mixtures.panel.aggregator"),
    (f'{PANEL}layers = "three"', "mixtures.panel.layers"),
    (f'{PANEL}timeout = "60s"', "mixtures.panel.timeout"),
    (f'{PANEL}temperature = "hot"', "mixtures.panel.temperature"),
    (f"{PANEL}temperature = true", "mixtures.panel.temperature"),
    (f'{PANEL}show_model_names = "some"', "mixtures.panel.show_model_names"),
    (f"{PANEL}description = 3", "mixtures.panel.description"),
    (f"{PANEL}max_tokens = 20.5", "mixtures.panel.max_tokens"),
    (f'{PANEL}stop = "END"', "mixtures.panel.stop"),
    (f'{PANEL}reference_order = "random"', "mixtures.panel.reference_order"),
    ('[providers]\nlab = "http://127.0.0.1:9000/v1"', "providers.lab"),
    ('mixtures = "panel"', "mixtures"),
    # out of range
    (f"{PANEL}layers = 1", "mixtures.panel.layers"),
    (f"{PANEL}layers = 21", "mixtures.panel.layers"),
    (f"{PANEL}quorum = 2", "mixtures.panel.quorum"),
    (f"{PANEL}quorum = 0", "mixtures.panel.quorum"),
    (f"{PANEL}timeout = 0", "mixtures.panel.timeout"),
    (f"{PANEL}temperature = 2.5", "mixtures.panel.temperature"),
    (f"{LAB}max_loaded_models = 2", "providers.lab.max_loaded_models"),
    (f"{LAB}price = {{ input = -1, output = 2 }}", "providers.lab.price.input"),
    # missing, or in conflict with another setting
    (PANEL.replace('aggregator = "lab:big"', ""), "mixtures.panel.aggregator"),
    (PANEL.replace('"lab:big"', '{ kind = "pick" }'), "mixtures.panel.aggregator.model"),
    (PANEL.replace('"lab:big"', '{ kind = "vote", model = "lab:big" }'), "mixtures.panel.aggregator.model"),
    (PANEL.replace('proposers = ["lab:a"]', ""), "mixtures.panel.proposers"),
    (f'{PANEL}layers = [["lab:a"]]', "mixtures.panel.proposers"),
    (PANEL.replace('proposers = ["lab:a"]', "layers = []"), "mixtures.panel.layers"),
    (PANEL.replace('proposers = ["lab:a"]', 'layers = [["lab:a"], []]'), "mixtures.panel.layers[1]"),
    ('[providers.lab]\napi_key_env = "LAB_KEY"', "providers.lab.base_url"),
    (f"{LAB}price = {{ input = 1 }}", "providers.lab.price.output"),
    (f'{PANEL}prompt = "x"\nprompt_file = "y"', "mixtures.panel.prompt_file"),
    (f"{PANEL}extra = {{ top_k = 1, messages = [] }}", "mixtures.panel.extra.messages"),
    (f"{PANEL}extra = {{ temperature = 1 }}", "mixtures.panel.extra.temperature"),
    # API keys in the file, and URLs
    (f'{LAB}api_key_env = "sk-proj-abc-123"', "providers.lab.api_key_env"),
    (f'{LAB}api_key_env = "gsk_abcDEF123"', "providers.lab.api_key_env"),
    (f'{LAB}headers = {{ Authorization = "Bearer x" }}', "providers.lab.headers"),
    (f'{LAB}headers = {{ x-goog-api-key = "x" }}', "providers.lab.headers"),
    ('[providers.lab]\nbase_url = "http://me:secret@lab/v1"', "providers.lab.base_url"),
    ('[providers.lab]\nbase_url = "127.0.0.1:9000/v1"', "providers.lab.base_url"),
    ('[providers.lab]\nbase_url = "http://lab/v1?version=1"', "providers.lab.base_url"),
    # names
    (PANEL.replace("lab:a", "lob:a"), "mixtures.panel"),
    (PANEL.replace("lab:a", "lab"), "mixtures.panel"),
    (PANEL.replace("lab:a", "lab:"), "mixtures.panel"),
    (PANEL.replace("lab:a", "moa:papre"), "mixtures.panel"),
    (PANEL.replace("lab:a", "local:gpt"), "mixtures.panel"),
    (f'{PANEL}effort = {{ low = "lob:a" }}', "mixtures.panel.effort.low"),
    (f'default = "panle"\n{PANEL}', "default"),
    ('[server.aliases]\n"gpt-*" = "panle"', "server.aliases.gpt-*"),
    ('[providers."a:b"]\nbase_url = "http://lab/v1"', "providers"),
    ('[providers.local]\nbase_url = "http://lab/v1"', "providers.local"),
    # cycles
    (PANEL.replace("lab:a", "moa:panel"), "mixtures.panel"),
    (CYCLE, "mixtures.a"),
]


def error(text: str) -> ConfigError:
    Path("moa.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    return caught.value


@pytest.mark.parametrize(("text", "setting"), INVALID)
def test_an_error_names_the_file_and_the_setting_in_one_line(text: str, setting: str) -> None:
    found = error(text)
    assert (found.setting, found.exit_code) == (setting, 2)
    assert str(found).startswith(f"moa.toml: {setting}: ")
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('defualt = "panel"', "defualt: unknown setting; did you mean 'default'?"),
        (f"{PANEL}quorum = 2", "mixtures.panel.quorum: must be at most 1 (the proposals of layer 1), got 2"),
        (f"{PANEL}temperature = 2.5", "mixtures.panel.temperature: must be at most 2, got 2.5"),
        (f'{PANEL}layers = "three"', "mixtures.panel.layers: must be a whole number, got 'three'"),
        (f"{PANEL}layers = 1", "mixtures.panel.layers: must be at least 2 (the aggregator counts as a layer), got 1"),
        (
            f'{PANEL}reference_order = "random"',
            "mixtures.panel.reference_order: must be one of 'declared', 'arrival' or 'shuffled', got 'random'",
        ),
        (PANEL.replace('["lab:a"]', '"lab:a"'), "mixtures.panel.proposers: must be a list, such as ['lab:a']"),
        (PANEL.replace('aggregator = "lab:big"', ""), "mixtures.panel.aggregator: required"),
        (
            f'{LAB}headers = {{ x-goog-api-key = "x" }}',
            "providers.lab.headers: must not contain an API key; "
            "set api_key_env to the name of an environment variable",
        ),
        (PANEL.replace("lab:a", "lob:a"), "mixtures.panel: no provider 'lob' (in 'lob:a'); did you mean 'lab'?"),
        (CYCLE, "mixtures.a: a mixture cannot contain itself: moa:a -> moa:b -> moa:a"),
        ("= 1", "not valid TOML: Invalid statement (at line 1, column 1)"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_expected(text: str, message: str) -> None:
    assert str(error(text)) == f"moa.toml: {message}"


RENAMED = [
    (table, old, new.partition("; ")[0])
    for table, names in SETTINGS.items()
    if table != "moa"
    for old, new in names.items()
]
BASES = {
    "providers.NAME": LAB,
    "providers.NAME.circuit_breaker": f"{LAB}[providers.lab.circuit_breaker]\n",
    "providers.NAME.models.ID": f"{LAB}[providers.lab.models.m]\n",
    "mixtures.NAME": PANEL,
    "mixtures.NAME.timeout": f"{PANEL}[mixtures.panel.timeout]\n",
}
PATHS = {
    "providers.NAME": "providers.lab",
    "providers.NAME.circuit_breaker": "providers.lab.circuit_breaker",
    "providers.NAME.models.ID": "providers.lab.models.m",
    "mixtures.NAME": "mixtures.panel",
    "mixtures.NAME.timeout": "mixtures.panel.timeout",
}


def header(table: str) -> str:
    return BASES.get(table, f"[{table}]\n")


@pytest.mark.parametrize(("table", "old", "new"), RENAMED)
@pytest.mark.parametrize("value", ["true", "60", '"end"', "{ cap = 60 }"])
def test_a_renamed_setting_is_an_error_that_names_the_new_one(table: str, old: str, new: str, value: str) -> None:
    found = error(f"{header(table)}{old} = {value}\n")
    assert found.setting == f"{PATHS.get(table, table)}.{old}"
    assert f"{found.setting}: renamed to {new!r}" in str(found)


@pytest.mark.parametrize(("table", "old", "new"), RENAMED)
def test_the_new_name_of_a_renamed_setting_is_a_setting(table: str, old: str, new: str) -> None:
    found = error(f"{header(table)}{new} = [[]]\n")
    assert "unknown setting" not in str(found)


def test_an_error_about_a_renamed_setting_shows_how_its_value_changed() -> None:
    hint = "write max_loaded_models = 1 for one_gpu = true"
    found = error(f"{LAB}one_gpu = true")
    assert str(found) == f"moa.toml: providers.lab.one_gpu: renamed to 'max_loaded_models'; {hint}"


@pytest.mark.parametrize("secret", ["sk-proj-abc-123", "gsk_abcDEF123"])
def test_an_error_does_not_repeat_a_key(secret: str) -> None:
    assert secret not in str(error(f'{LAB}api_key_env = "{secret}"\n'))


def test_a_missing_file_is_an_error_that_shows_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "moa.toml")
    assert str(caught.value) == f"{tmp_path / 'moa.toml'}: no such file; create one with: moa config init"


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot read: Is a directory"


def test_a_file_that_is_not_utf8_is_an_error_with_the_place() -> None:
    Path("moa.toml").write_bytes(b"default = '\xff'")
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == "moa.toml: not UTF-8: invalid start byte at byte 11"


def test_a_missing_prompt_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        built(f'{PANEL}prompt_file = "nowhere.txt"\n')
    assert str(caught.value) == f"prompt_file {tmp_path / 'nowhere.txt'}: No such file or directory"
