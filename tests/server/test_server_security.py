"""Access to the server: keys, hosts, origins and limits."""

from __future__ import annotations

import http.client
import json
import random
import socket
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from helpers.server import SAYS, TOML, Served, serving
from helpers.upstream import Upstream
from moa.config.build import Builder
from moa.config.load import Config
from moa.config.schema import ServerTable
from moa.errors import ConfigError
from moa.server.auth.keyfile import add_key, create_key, list_keys, read_keys, remove_key, write_keys
from moa.server.auth.keys import Keys, caller
from moa.server.middleware.access import known_host, too_deep
from moa.server.service import Service

ASK = {"model": "moa:duo", "messages": [{"role": "user", "content": "Which colour?"}]}
KEYED = f'{TOML}\n[server]\nkeys_file = "keys.jsonl"\n'


@contextmanager
def locked(toml: str = KEYED, **settings: object) -> Iterator[tuple[Served, str, Upstream]]:
    """A server with one key, and the key."""
    secret, key = create_key("anna", **settings)  # type: ignore[arg-type]
    write_keys(Path("keys.jsonl"), [key])
    with serving(SAYS, toml) as (served, upstream):
        yield served, secret, upstream


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def raw(served: Served, head: bytes, body: bytes = b"") -> bytes:
    """What comes back for bytes sent as they are, until the connection is closed or says nothing more."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        result = b""
        while packet := connection.recv(65536):
            result += packet
        return result


def test_a_key_opens_as_a_bearer_token_and_as_x_api_key() -> None:
    with locked() as (served, secret, _):
        for headers in (bearer(secret), {"x-api-key": secret}, {"authorization": f"bearer {secret}"}):
            assert served.post("/v1/chat/completions", ASK, headers).status == 200
        both = {**bearer(secret), "x-api-key": secret}
        assert served.post("/v1/chat/completions", ASK, both).status == 200


def test_keys_of_the_environment_open_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENTS", "first-secret, second-secret")
    with serving(SAYS, f'{TOML}\n[server]\nkeys_env = "CLIENTS"\n') as (served, _):
        status = {one: served.get("/v1/models", bearer(one)).status for one in ("first-secret", "second-secret", "x")}
    assert status == {"first-secret": 200, "second-secret": 200, "x": 401}


def wrong_keys(secret: str) -> list[str]:
    """Many near and far guesses."""
    dice = random.Random(5)
    guesses = ["", " ", "null", "undefined", "*", "true", "moa-", secret[:-1], secret[1:], secret + "x", secret * 2]
    guesses += [secret.upper(), secret.swapcase(), secret.replace("-", "_", 1), f'"{secret}"', f"{secret},{secret}"]
    guesses += [f"{secret}\t{secret}", f"x {secret}", f"{secret} x", f"Bearer {secret}", "sha256:" + "0" * 64]
    guesses += [secret[:place] for place in range(0, len(secret), 4)]
    guesses += ["".join(dice.sample(secret, len(secret))) for _ in range(20)]
    for place in range(0, len(secret), 3):
        guesses.append(secret[:place] + dice.choice("abcXYZ019_") + secret[place + 1 :])
    guesses += [secret.replace("o", "ö"), secret + "\xa0", "\xff" * 40, secret.replace("a", "\xe0")]
    identity = secret[:12]
    guesses += [identity, f"{identity}-", f"{identity}-{'A' * 43}"]
    return [one for one in guesses if one.strip() != secret]


def attempts(secret: str) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Ways to try to come in without presenting the key: request lines and headers."""
    path = b"/v1/chat/completions"
    line = b"POST " + path
    result: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []
    for guess in wrong_keys(secret):
        value = guess.encode("latin-1")
        result += [(line, [(b"Authorization", b"Bearer " + value)]), (line, [(b"x-api-key", value)])]
    right = secret.encode()
    for scheme in (b"Basic ", b"Token ", b"Digest ", b"", b"Bearer", b"Bearer:", b"Bearer\t", b"Bearer  ", b"BearerX "):
        result.append((line, [(b"Authorization", scheme + right)]))
    for name in (b"api-key", b"x_api_key", b"authorization-x", b"proxy-authorization", b"cookie", b"x-auth-token"):
        result.append((line, [(name, right)]))
    wrong = b"Bearer wrong"
    result += [
        (line, [(b"Authorization", b"Bearer " + right), (b"Authorization", wrong)]),
        (line, [(b"Authorization", wrong), (b"Authorization", b"Bearer " + right)]),
        (line, [(b"Authorization", b"Bearer " + right), (b"x-api-key", b"wrong")]),
        (line, [(b"x-api-key", b"wrong"), (b"x-api-key", right)]),
        (line, [(b"Authorization", b"Bearer " + right + b", Bearer wrong")]),
        (line, [(b"X-Forwarded-For", b"127.0.0.1"), (b"X-Real-IP", b"127.0.0.1")]),
        (line, [(b"X-Original-URL", b"/healthz"), (b"X-Rewrite-URL", b"/healthz")]),
        (line, [(b"X-HTTP-Method-Override", b"GET")]),
        (line, [(b"Connection", b"close, authorization")]),
    ]
    tricks = [
        *(b"/" * count + path for count in (1, 2, 5)),
        b"/v1/../v1/chat/completions",
        b"/healthz/../v1/chat/completions",
        b"/healthz/%2e%2e/v1/chat/completions",
        b"/healthz%2f..%2fv1/chat/completions",
        b"/healthz;/../v1/chat/completions",
        b"/./v1/chat/completions",
        b"/v1%2Fchat%2Fcompletions",
        b"/%76%31/chat/completions",
        b"/v1/chat/completions/",
        b"/v1/chat/completions?key=" + right,
        b"/v1/chat/completions?api_key=" + right,
        b"/v1/chat/completions#/healthz",
        b"/V1/Chat/Completions",
        b"/v1\\chat\\completions",
        b"/readyz/v1/chat/completions",
        b"http://127.0.0.1/v1/chat/completions",
        b"/v1/chat/completions%00/healthz",
    ]
    result += [(method + b" " + trick, []) for trick in tricks for method in (b"POST", b"GET")]
    paths = [
        b"/v1/models",
        b"/metrics",
        b"/api/runs",
        b"/api/tags",
        b"/v1/messages",
        b"/v1/responses",
        b"/openapi.json",
        b"/",
    ]
    methods = [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"POST"]
    result += [(method + b" " + one, []) for method in methods for one in (*paths, path)]
    upgrade = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
    key = [(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")]
    result += [(b"GET " + one, upgrade + key) for one in (*paths, path)]
    result += [(line, [(b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")])]
    return result


def test_there_is_no_way_in_without_the_key() -> None:
    body = json.dumps(ASK).encode()
    with locked() as (served, secret, upstream):
        tried = attempts(secret)
        for line, headers in tried:
            head = line + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            head += b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            length = len(body) if line.startswith(b"POST") else 0
            reply = raw(served, head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % length, body[:length])
            status = int(reply[9:12] or 0)
            assert status in (400, 401), (line, headers, reply[:300])
            for result in (b"purple", b"moa:duo", b"up:a", b"moa_requests", secret.encode()):
                assert result not in reply, (line, headers)
    assert len(tried) > 300
    assert upstream.calls == []


def test_who_watches_over_the_server_needs_no_key_and_learns_nothing() -> None:
    with locked() as (served, _, _):
        assert served.get("/healthz").json == {"status": "ok"}
        assert served.get("/readyz").json == {"status": "ready"}


def test_a_key_may_use_only_what_it_is_for() -> None:
    with locked(KEYED, mixtures=["duo"]) as (served, secret, upstream):
        result = served.get("/v1/models", bearer(secret)).json["data"]
        assert [one["id"] for one in result] == ["moa:duo"]
        assert served.post("/v1/chat/completions", ASK, bearer(secret)).status == 200
        for model in ("up:a", "up:other", "local:smollm2", "up:judge:latest"):
            assert served.post("/v1/chat/completions", {**ASK, "model": model}, bearer(secret)).status == 403
        calls = len(upstream.calls)
    assert calls == 3


def test_a_file_that_no_mixture_names_is_not_opened() -> None:
    Path("secret.gguf").write_bytes(b"GGUF")
    with serving() as (served, _):
        reply = served.post("/v1/chat/completions", {**ASK, "model": f"gguf:{Path('secret.gguf').absolute()}"})
    assert reply.status == 404


PRICED = KEYED.replace("attempts = 1", "attempts = 1\nprice = { input = 0, output = 1000 }")


def test_a_name_that_is_none_takes_no_place() -> None:
    with serving() as (served, upstream):
        body = {"model": "up:" + "a" * 5_000_000, "messages": [{"role": "user", "content": "Which?"}]}
        reply = served.post("/v1/chat/completions", body)
    assert (reply.status, len(reply.body) < 500, upstream.calls) == (404, True, [])


def test_a_key_that_has_spent_its_budget_waits_until_tomorrow() -> None:
    toml = PRICED.replace('description = "two proposers and a judge"', "max_tokens = 1")
    with locked(toml, budget=0.004) as (served, secret, _):
        small = {**ASK, "max_tokens": 1}
        first = served.post("/v1/chat/completions", small, bearer(secret))
        second = served.post("/v1/chat/completions", small, bearer(secret))
    assert first.status == 200
    assert first.json["moa"]["cost"] == pytest.approx(0.005)
    assert (second.status, second.json["error"]["code"]) == (429, "insufficient_quota")
    assert 0 < int(second.headers["retry-after"]) <= 86_400


def test_what_a_key_has_spent_outlives_the_server() -> None:
    secret, key = create_key("anna", budget=1.0)
    write_keys(Path("keys.jsonl"), [key])
    Keys(Path("keys.jsonl")).spend(key, 0.75)
    assert Keys(Path("keys.jsonl")).left(key) == 0.25
    assert secret not in Path("keys.jsonl.spent").read_text("utf-8")


def test_a_run_belongs_to_the_key_that_began_it() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one, two])
    with serving(SAYS, KEYED) as (served, _):
        run = served.post("/api/runs", {"prompt": "Which?"}, bearer(first)).json["run_id"]
        for path in (f"/api/runs/{run}", f"/api/runs/{run}/events"):
            assert served.get(path, bearer(first)).status == 200
            assert served.get(path, bearer(second)).status == 404
        assert served.ask("DELETE", f"/api/runs/{run}", None, bearer(second)).status == 404


def test_a_key_is_stored_as_its_hash_in_a_private_file() -> None:
    Path("moa.toml").write_text('[server]\nkeys_file = "keys/clients.jsonl"\n')
    secret, file = add_key(Path("moa.toml"), "anna", ["moa:local"], 5.0)
    assert file == Path("keys/clients.jsonl")
    assert secret not in file.read_text("utf-8") and secret.split("-", 2)[2] not in file.read_text("utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    [key] = read_keys(file)
    assert (key.name, key.mixtures, key.budget) == ("anna", ("moa:local",), 5.0)
    assert list_keys(Path("moa.toml")) == [(key.id, "anna", "moa:local", "5", "0.0000", key.created)]


def test_wrong_keys_are_not_made() -> None:
    add_key(None, "anna")
    for name, mixtures, budget in (("anna", None, None), ("a b", None, None), ("c", ["nope"], None), ("d", None, -1.0)):
        with pytest.raises(ConfigError):
            add_key(None, name, mixtures, budget)
    with pytest.raises(ConfigError, match="did you mean 'anna'"):
        remove_key(None, "ana")


def test_a_key_that_is_removed_or_added_counts_at_once() -> None:
    first, one = create_key("anna")
    second, two = create_key("bert")
    write_keys(Path("keys.jsonl"), [one])
    with serving(SAYS, KEYED) as (served, _):
        assert served.get("/v1/models", bearer(first)).status == 200
        write_keys(Path("keys.jsonl"), [two])
        assert [served.get("/v1/models", bearer(key)).status for key in (first, second)] == [401, 200]
        Path("keys.jsonl").unlink()
        assert [served.get("/v1/models", bearer(key)).status for key in (first, second)] == [401, 401]


def test_a_first_key_locks_a_server_that_had_none() -> None:
    with serving() as (served, _):
        assert served.get("/v1/models").status == 200
        secret, _file = add_key(None, "anna")
        assert [served.get("/v1/models").status, served.get("/v1/models", bearer(secret)).status] == [401, 200]


def begun(settings: str) -> Service:
    """The service of a configuration with these settings of its server, without a socket."""
    return Service(
        Builder(Config.model_validate({"default": "local:smollm2", "server": tomllib.loads(settings)}), Path())
    )


async def test_work_beside_the_event_loop_is_done_for_its_caller() -> None:
    _, key = create_key("anna")
    service = begun("")
    caller.set(key)
    assert await service.in_thread(lambda: service.client) == key.id


def test_where_a_provider_is_no_error_says_to_a_client() -> None:
    nowhere = "http://127.0.0.1:9/v1"
    toml = TOML.replace("{url}", nowhere)

    def all_replies(served: Served, headers: dict[str, str]) -> str:
        whole = served.post("/v1/chat/completions", ASK, headers)
        stream = served.post("/v1/chat/completions", {**ASK, "stream": True}, headers)
        run = served.post("/api/runs", {"prompt": "Which?"}, headers).json["run_id"]
        result = [served.get(f"/api/runs/{run}{part}", headers) for part in ("/events", "", "/export", "/messages")]
        assert {one.status for one in result} == {200}
        return b"".join(one.body for one in (whole, stream, *result)).decode()

    secret, key = create_key("anna")
    write_keys(Path("keys.jsonl"), [key])
    with Served(f'{toml}\n[server]\nkeys_file = "keys.jsonl"\n') as served:
        result = all_replies(served, bearer(secret))
    assert "cannot reach [address] (Connection refused)" in result and "127.0.0.1" not in result
    with Served(toml) as served:
        assert f"cannot reach {nowhere} (Connection refused)" in all_replies(served, {})


def test_off_this_machine_it_does_not_begin_without_keys() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(ConfigError, match="moa keys add"):
            begun(f'host = "{host}"')
    for settings in (
        'host = "0.0.0.0"\nallow_unauthenticated = true',
        'host = "127.0.0.2"',
        'host = "::1"',
        'host = "localhost"',
    ):
        assert begun(settings).keys.required is False


def test_keys_that_are_named_but_not_there_stop_it_from_beginning() -> None:
    for settings in ('keys_env = "NOT_SET"', 'keys_file = "none.jsonl"'):
        with pytest.raises(ConfigError, match=r"server\.keys_"):
            begun(settings)
    Path("broken.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="line 1: not a key"):
        Keys.of(ServerTable(keys_file="broken.jsonl"), Path())


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("LOCALHOST:1", True),
        ("app.localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.9", True),
        ("moa.lan:80", True),
        ("MOA.lan.", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("evil.example:8000", False),
        ("moa.lan@evil.example", False),
        ("evil.example/localhost", False),
        ("evil.example#localhost", False),
        ("evil.example?localhost", False),
        ("localhost\\evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_the_server_is_called_by_its_own_names_only(host: str, known: bool) -> None:
    assert known_host(host, ("moa.lan",)) == known


def test_a_name_that_is_not_its_own_is_refused() -> None:
    with serving() as (served, upstream):
        for host in ("evil.example", "localhost.evil.example", ""):
            assert served.post("/v1/chat/completions", ASK, {"Host": host}).status == 403
        two = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        none = b"GET /v1/models HTTP/1.0\r\n\r\n"
        assert [raw(served, head)[9:12] for head in (two, none)] == [b"403", b"403"]
    assert upstream.calls == []


def test_a_page_of_another_origin_is_refused_and_an_own_or_a_named_one_is_served() -> None:
    toml = f'{TOML}\n[server]\nallowed_origins = ["https://app.example"]\n'
    with serving(SAYS, toml) as (served, _):
        status = {
            origin: served.post("/v1/chat/completions", ASK, {"Origin": origin}).status
            for origin in (
                "https://app.example",
                f"http://127.0.0.1:{served.port}",
                "https://evil.example",
                "http://app.example",
                "https://app.example.evil.example",
                "http://127.0.0.1:1",
                "null",
                "",
            )
        }
        named = served.get("/v1/models", {"Origin": "https://app.example"})
        plain = served.get("/v1/models")
    assert [origin for origin, one in status.items() if one == 200] == list(status)[:2]
    assert set(list(status.values())[2:]) == {403}
    assert named.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in plain.headers


def test_a_browser_that_asks_first_is_answered_only_for_a_named_origin() -> None:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with locked(f'{KEYED}allowed_origins = ["https://app.example"]\n') as (served, _, _):
        allowed = served.ask("OPTIONS", "/v1/chat/completions", None, {**headers, "Origin": "https://app.example"})
        other = served.ask("OPTIONS", "/v1/chat/completions", None, {**headers, "Origin": "https://evil.example"})
    assert (allowed.status, allowed.headers["access-control-allow-headers"]) == (204, "authorization")
    assert (other.status, "access-control-allow-origin" in other.headers) == (403, False)


def test_a_body_that_is_too_large_is_refused_however_it_comes() -> None:
    toml = f"{TOML}\n[server]\nmax_body_bytes = 2048\n"
    fitting = {**ASK, "user": "x" * 1000}
    with serving(SAYS, toml) as (served, upstream):
        assert served.post("/v1/chat/completions", fitting).status == 200
        calls = len(upstream.calls)
        assert served.post("/v1/chat/completions", {**ASK, "user": "x" * 3000}).status == 413
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        with suppress(BrokenPipeError):
            connection.request("POST", "/v1/chat/completions", iter([b"x" * 1500] * 3), encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"
        assert raw(served, head)[9:12] in (b"413", b"400")
    assert len(upstream.calls) == calls


def test_a_body_that_is_nested_too_deep_is_refused() -> None:
    deep = b'{"model":"moa:duo","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    mixed = b'{"a":[' * 40 + b"1" + b"]}" * 40
    with serving() as (served, _):
        assert [served.post("/v1/chat/completions", body).status for body in (deep, mixed)] == [400, 400]


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
        (b"[" + b"[]," * 1000 + b"[]]", False),
        (b'["' + b"[" * 100 + b'"]', False),
        (b'["\\"' + b"[" * 100 + b'"]', False),
        (b'["\\\\"' + b"," + b"[" * 64 + b"]" * 64 + b"]", True),
        (b'"' * 3 + b"[" * 65, True),
        (b"", False),
    ],
)
def test_only_brackets_outside_of_words_nest(body: bytes, deep: bool) -> None:
    assert too_deep(body) == deep


def test_no_log_and_no_error_holds_a_key_or_a_question(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "moa.server")
    with locked() as (served, secret, _):
        replies = [
            served.post("/v1/chat/completions", ASK, bearer(secret)),
            served.post("/v1/chat/completions", ASK, bearer("wrong" + secret)),
            served.get(f"/v1/models/{secret}", bearer(secret)),
            served.get(f"/{secret}?key={secret}", bearer(secret)),
            served.post("/v1/chat/completions", {**ASK, "model": "nope"}, bearer(secret)),
            served.get("/metrics", bearer(secret)),
        ]
    result = caplog.text + "".join(str(reply.headers) for reply in replies)
    assert "run=" in result and "key=anna" in result and "model=moa:duo" in result
    assert secret not in result and "Which colour" not in result
    assert not any(secret.encode() in reply.body for reply in replies[:2] + replies[4:])


def test_requests_are_counted_by_route_and_status() -> None:
    with serving() as (served, _):
        served.post("/v1/chat/completions", ASK)
        served.post("/v1/chat/completions", {**ASK, "model": "nope"})
        result = served.get("/metrics").body.decode().splitlines()
    assert 'moa_requests_total{route="/v1/chat/completions",status="200"} 1.0' in result
    assert 'moa_requests_total{route="/v1/chat/completions",status="404"} 1.0' in result


@pytest.mark.parametrize("known", [{}, {"$id": "urn:moa:mine"}])
def test_nothing_that_a_schema_refers_to_is_fetched(known: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, serving({**SAYS, "judge": "{}"}) as (served, _):
        elsewhere.setblocking(False)
        schema = {**known, "$ref": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/secret"}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        body = {"model": "duo", "messages": [{"role": "user", "content": "Which?"}], "response_format": form}
        reply = served.post("/v1/chat/completions", body)
        with pytest.raises(BlockingIOError):  # nobody has come
            elsewhere.accept()
    assert (reply.status, "nothing is fetched" in reply.json["error"]["message"]) == (400, True)
