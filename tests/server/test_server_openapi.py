"""/openapi.json describes every route, and replies fit it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from helpers.server import serving
from helpers.upstream import Body, Reply
from moa import Store
from moa.server import app, openapi
from moa.server.ops import health, prometheus


def test_every_route_is_described_and_every_description_has_a_route() -> None:
    with serving() as (served, _):
        paths = served.get("/openapi.json").json["paths"]
        service = served.service
    counted = prometheus.Metrics(service)
    routes = [*prometheus.routes(counted), *health.routes(service), *openapi.routes(())]
    routes += [route for protocol in app.PROTOCOLS for route in protocol.routes(service)]
    there = {(route.path.replace(":path", ""), m) for route in routes for m in route.methods or () if m != "HEAD"}
    assert {(path, method.upper()) for path, methods in paths.items() for method in methods} == there


def test_the_description_names_the_fields_of_a_chat_completion() -> None:
    with serving() as (served, _):
        result = served.get("/openapi.json").json
    body = result["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = result["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert schema["required"] == ["model", "messages"]
    assert "reasoning_effort" in schema["properties"]
    assert result["openapi"] == "3.1.0"


def test_replies_fit_their_schemas() -> None:
    prompt = {"prompt": "Which colour?"}
    ask = {"model": "moa:duo", "max_tokens": 50, "messages": [{"role": "user", "content": "Which colour?"}]}
    with serving(store=Store()) as (served, _):
        api = served.get("/openapi.json").json
        run, other = (served.post("/api/runs", prompt).json["run_id"] for _ in range(2))
        for one in (run, other):
            served.get(f"/api/runs/{one}/events")
        calls: list[tuple[str, str, dict[str, str], Any]] = [
            ("get", path, {"id": run, "other": other, "name": "duo"}, None)
            for path, methods in api["paths"].items()
            if "get" in methods and path != "/v1/models/{id}"
        ]
        calls += [
            ("get", "/v1/models/{id}", {"id": "moa:duo"}, None),
            ("post", "/v1/chat/completions", {}, ask),
            ("post", "/v1/completions", {}, {"model": "moa:duo", **prompt}),
            ("post", "/v1/responses", {}, {"model": "moa:duo", "input": "Which colour?"}),
            ("post", "/v1/messages", {}, ask),
            ("post", "/v1/messages/count_tokens", {}, ask),
            ("post", "/api/chat", {}, {**ask, "stream": False}),
            ("post", "/api/generate", {}, {"model": "duo", "stream": False, **prompt}),
            ("post", "/api/show", {}, {"model": "duo"}),
            ("post", "/api/estimate", {}, prompt),
            ("post", "/api/runs/{id}/rerun/plan", {"id": run}, {}),
            ("post", "/api/mixtures/check", {}, {"table": {"proposers": ["up:a"], "aggregator": "up:judge"}}),
            ("get", "/api/runs/{id}", {"id": "none"}, None),
            ("post", "/v1/messages", {}, {}),
            ("post", "/api/chat", {}, {}),
        ]
        for method, path, parts, body in calls:
            reply = served.ask(method.upper(), path.format(**parts), body)
            responses = api["paths"][path][method]["responses"]
            content = responses.get(str(reply.status), responses["default"])["content"]
            if "application/json" in content and "json" in reply.headers["content-type"]:
                schema = {**content["application/json"]["schema"], "components": api["components"]}
                jsonschema.validate(reply.json, schema)
            assert reply.headers["content-type"].partition(";")[0] in content, path


def anything(body: Body) -> Reply:
    return Reply("{}")


def asked_with(described: Any) -> set[str]:
    """The names of the schemas that are bodies of requests."""
    operations = [one for methods in described["paths"].values() for one in methods.values() if "requestBody" in one]
    schemas = [one["requestBody"]["content"]["application/json"]["schema"] for one in operations]
    return {schema["$ref"].rpartition("/")[2] for schema in schemas}


@pytest.mark.clients
def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance,unsupported_method"
    )
    with serving(anything) as (served, _):
        described = served.get("/openapi.json").json
        for name in asked_with(described):
            fields = described["components"]["schemas"][name].get("properties", {})
            if "model" in fields:  # else nearly every request asks for a model that is not there
                fields["model"] = {"enum": ["moa:duo", "up:a"]}
        (tmp_path / "openapi.json").write_text(json.dumps(described), "utf-8")
        result = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")),
                "run",
                "openapi.json",
                f"--url={served.url}",
                "--phases=examples,coverage,fuzzing",
                "--max-examples=25",
                "--seed=7",
                "--request-timeout=20",
                f"--checks={checks}",
                "--no-color",
            ],
            capture_output=True,
            text=True,
            timeout=540,
            cwd=tmp_path,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
