"""What every mistake in a `moa.toml` says."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config import LAB, PANEL, built

from moa import ConfigError
from moa.config.load import load

NOT_A_KEY = "must be the name of an environment variable, such as MYLAB_KEY, not the key itself"
WRITTEN_DOWN = "a key is never written down; name its environment variable with api_key_env"
MISTAKES: dict[str, str] = {
    # unknown keys, everywhere
    'defualt = "panel"': "unknown setting 'defualt'; did you mean 'default'?",
    "[engine]\nslot = 3": "engine: unknown setting 'slot'; did you mean 'slots'?",
    "[server]\nprot = 3": "server: unknown setting 'prot'; did you mean 'port'?",
    f"{LAB}max_concurency = 3": "providers.lab: unknown setting 'max_concurency'; did you mean 'max_concurrency'?",
    f"{LAB}price = {{ input = 1, outptu = 2 }}": (
        "providers.lab.price: unknown setting 'outptu'; did you mean 'output'?"
    ),
    f"{LAB}models = {{ a = {{ contextwindow = 3 }} }}": (
        "providers.lab.models.a: unknown setting 'contextwindow'; did you mean 'context_window'?"
    ),
    f"{LAB}breaker = {{ failure = 3 }}": "providers.lab.breaker: unknown setting 'failure'; did you mean 'failures'?",
    f'{PANEL}proposer = ["x"]': "mixtures.panel: unknown setting 'proposer'; did you mean 'proposers'?",
    PANEL.replace('"lab:a"', '"lab:b", { model = "lab:a", temprature = 1 }'): (
        "mixtures.panel.proposers[1]: unknown setting 'temprature'; did you mean 'temperature'?"
    ),
    PANEL.replace('proposers = ["lab:a"]', 'layers = [["lab:a"], [{ model = "lab:a", sample = 2 }]]'): (
        "mixtures.panel.layers[1][0]: unknown setting 'sample'; did you mean 'samples'?"
    ),
    PANEL.replace('"lab:big"', '{ model = "lab:big", modle = 1 }'): (
        "mixtures.panel.aggregator: unknown setting 'modle'; did you mean 'model'?"
    ),
    f"{PANEL}deadline = {{ percentil = 90 }}": (
        "mixtures.panel.deadline: unknown setting 'percentil'; did you mean 'percentile'?"
    ),
    # of the wrong kind
    PANEL.replace('["lab:a"]', '"lab:a"'): "mixtures.panel.proposers: must be a list, such as ['lab:a']",
    PANEL.replace('["lab:a"]', "[3]"): (
        "mixtures.panel.proposers[0]: must be a model's name or a table with model = ..., not 3"
    ),
    PANEL.replace('proposers = ["lab:a"]', 'layers = ["lab:a", "lab:b"]'): (
        "mixtures.panel.layers[0]: must be a list, such as ['lab:a']"
    ),
    PANEL.replace('"lab:big"', '["lab:big"]'): (
        "mixtures.panel.aggregator: must be a model's name or a table with model = ..., not ['lab:big']"
    ),
    f'{PANEL}layers = "three"': "mixtures.panel.layers: must be a whole number, not 'three'",
    f'{PANEL}deadline = "60s"': "mixtures.panel.deadline: must be a number, not '60s'",
    f'{PANEL}temperature = "hot"': "mixtures.panel.temperature: must be a number, not 'hot'",
    f"{PANEL}temperature = true": "mixtures.panel: temperature cannot be true",
    f'{PANEL}names = "some"': "mixtures.panel.names: must be true or false, not 'some'",
    f"{PANEL}description = 3": "mixtures.panel.description: must be text in quotes, not 3",
    f"{PANEL}max_tokens = 20.5": "mixtures.panel.max_tokens: must be a whole number, not 20.5",
    f'{PANEL}stop = "END"': "mixtures.panel.stop: must be a list, such as ['END']",
    f'{PANEL}order = "random"': (
        "mixtures.panel.order: must be one of 'declared', 'arrival' or 'shuffled', not 'random'"
    ),
    '[providers]\nlab = "http://127.0.0.1:9000/v1"': (
        "providers.lab: must be a table, such as { name = value }, not 'http://127.0.0.1:9000/v1'"
    ),
    'mixtures = "panel"': "mixtures: must be a table, such as { name = value }, not 'panel'",
    # out of range
    f"{PANEL}layers = 1": (
        "mixtures.panel.layers: counts the aggregator too, so it is at least 2: "
        "one layer of proposers, and the aggregator"
    ),
    f"{PANEL}layers = 21": "mixtures.panel.layers: must be at most 20, not 21",
    f"{PANEL}quorum = 2": "mixtures.panel: quorum is 2, but layer 1 has 1 proposer(s)",
    f"{PANEL}quorum = 0": "mixtures.panel.quorum: must be at least 1, not 0",
    f"{PANEL}deadline = 0": "mixtures.panel.deadline: must be more than 0, not 0",
    f"{PANEL}temperature = 2.5": "mixtures.panel.temperature: must be at most 2, not 2.5",
    f"{LAB}price = {{ input = -1, output = 2 }}": "providers.lab.price.input: must be at least 0, not -1",
    # missing, or too much
    PANEL.replace('aggregator = "lab:big"', ""): "mixtures.panel.aggregator: is missing",
    PANEL.replace('"lab:big"', '{ kind = "pick" }'): "mixtures.panel.aggregator: a pick aggregator needs a model",
    PANEL.replace('"lab:big"', '{ kind = "vote", model = "lab:big" }'): (
        "mixtures.panel.aggregator: a vote asks no model; it takes no other setting than kind"
    ),
    PANEL.replace('proposers = ["lab:a"]', ""): ("mixtures.panel: needs proposers = [...], or layers = [[...], ...]"),
    f'{PANEL}layers = [["lab:a"]]': "mixtures.panel: proposers are listed in layers already; give one of the two",
    PANEL.replace('proposers = ["lab:a"]', "layers = []"): (
        "mixtures.panel: layers is empty; it needs at least one list of proposers"
    ),
    PANEL.replace('proposers = ["lab:a"]', 'layers = [["lab:a"], []]'): "mixtures.panel: layer 2 has no proposers",
    '[providers.lab]\napi_key_env = "LAB_KEY"': "providers.lab.base_url: is missing",
    f"{LAB}price = {{ input = 1 }}": "providers.lab.price.output: is missing",
    f'{PANEL}prompt = "x"\nprompt_file = "y"': "mixtures.panel: give prompt or prompt_file, not both",
    f"{PANEL}extra = {{ top_k = 1, messages = [] }}": (
        "mixtures.panel.extra: messages cannot be set; it is what moa itself says to a model"
    ),
    f"{PANEL}extra = {{ temperature = 1 }}": "mixtures.panel.extra: temperature has a place of its own, beside extra",
    # keys that are written down, and addresses
    f'{LAB}api_key_env = "sk-proj-abc-123"': f"providers.lab.api_key_env: {NOT_A_KEY}",
    f'{LAB}api_key_env = "gsk_abcDEF123"': f"providers.lab.api_key_env: {NOT_A_KEY}",
    f'{LAB}headers = {{ Authorization = "Bearer x" }}': f"providers.lab.headers: {WRITTEN_DOWN}",
    f'{LAB}headers = {{ x-goog-api-key = "x" }}': f"providers.lab.headers: {WRITTEN_DOWN}",
    '[providers.lab]\nbase_url = "http://me:secret@lab/v1"': (
        f"providers.lab.base_url: {WRITTEN_DOWN} (nothing before an @)"
    ),
    '[providers.lab]\nbase_url = "127.0.0.1:9000/v1"': (
        "providers.lab.base_url: must begin with http:// or https:// and a host, such as http://127.0.0.1:9000/v1"
    ),
    '[providers.lab]\nbase_url = "http://lab/v1?version=1"': (
        "providers.lab.base_url: must end with its path, as http://127.0.0.1:9000/v1 does; a ? or # has no place in it"
    ),
    # names
    PANEL.replace("lab:a", "lob:a"): "mixtures.panel: no provider 'lob' (in 'lob:a'); did you mean 'lab'?",
    PANEL.replace("lab:a", "lab"): "mixtures.panel: 'lab' is a provider; name a model of it, such as lab:some-model",
    PANEL.replace("lab:a", "lab:"): ("mixtures.panel: 'lab:' names no model; names are provider:model or moa:mixture"),
    PANEL.replace("lab:a", "moa:papre"): "mixtures.panel: no mixture 'papre'; did you mean 'paper'?",
    PANEL.replace("lab:a", "local:gpt"): ("mixtures.panel: no embedded model 'gpt'; the one there is is local:smollm2"),
    f'default = "panle"\n{PANEL}': "default: no mixture 'panle'; did you mean 'panel'?",
    '[providers."a:b"]\nbase_url = "http://lab/v1"': ("'a:b' cannot be a name: names have no colon and no white space"),
    '[providers.local]\nbase_url = "http://lab/v1"': (
        "providers.local: this name is taken by what is built in; choose another"
    ),
    # cycles
    PANEL.replace("lab:a", "moa:panel"): "a mixture cannot contain itself: moa:panel -> moa:panel",
    f"""{LAB}
    [mixtures.a]
    proposers = ["moa:b"]
    aggregator = "lab:j"
    [mixtures.b]
    proposers = ["lab:a"]
    aggregator = {{ model = "lab:j", fallback = ["moa:a"] }}
    """: "a mixture cannot contain itself: moa:a -> moa:b -> moa:a",
    # not even TOML
    "= 1": "not valid TOML: Invalid statement (at line 1, column 1)",
}


@pytest.mark.parametrize(("text", "words"), list(MISTAKES.items()), ids=list(MISTAKES.values()))
def test_a_mistake_is_one_line_with_its_place_and_what_should_be_there(text: str, words: str) -> None:
    Path("moa.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert (str(caught.value), caught.value.exit_code) == (f"moa.toml: {words}", 2)


@pytest.mark.parametrize("secret", ["sk-proj-abc-123", "gsk_abcDEF123"])
def test_a_key_that_was_written_down_is_not_repeated(secret: str) -> None:
    Path("moa.toml").write_text(f'{LAB}api_key_env = "{secret}"\n')
    with pytest.raises(ConfigError) as caught:
        load()
    assert secret not in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "moa.toml")
    assert str(caught.value) == f"{tmp_path / 'moa.toml'}: there is no such file; write one with: moa config init"


def test_a_folder_in_place_of_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_is_no_text_says_so() -> None:
    Path("moa.toml").write_bytes(b"default = '\xff'")
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == "moa.toml: is not text in UTF-8: invalid start byte at byte 11"


def test_a_prompt_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        built(f'{PANEL}prompt_file = "nowhere.txt"\n')
    assert str(caught.value) == f"prompt_file {tmp_path / 'nowhere.txt'}: No such file or directory"
