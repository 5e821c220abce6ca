"""The web page as the server sends it: to browsers only, with a strict content security policy."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from helpers.server import SAYS, TOML, serving
from moa.server import static as page
from moa.server.auth.keyfile import create_key, write_keys

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page as a build leaves it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>moa</title>")
    (tmp_path / "assets" / "index-abc.js").write_text("console.log('moa')")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


def client(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=[*page.routes(folder)]), base_url="http://localhost")


def test_a_browser_gets_the_page_and_a_client_of_ollama_what_it_looks_for() -> None:
    with serving() as (served, _):
        shown, result = served.get("/", HTML), served.get("/")
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<!doctype html>" in shown.body
    assert result.body == b"Ollama is running"


def test_the_page_needs_no_key_and_what_it_asks_for_does() -> None:
    _, key = create_key("anna")
    write_keys(Path("keys.jsonl"), [key])
    with serving(SAYS, TOML + '[server]\nkeys_file = "keys.jsonl"\n') as (served, _):
        assert served.get("/", HTML).status == 200
        assert [served.get(path, HTML).status for path in ("/v1/models", "/api/runs", "/api/mixtures")] == [401] * 3


def test_nothing_but_the_server_itself_may_give_the_page_scripts_styles_or_data(built: Path) -> None:
    for path in ("/", "/ui/assets/index-abc.js", "/ui/assets/none.js"):
        reply = client(built).get(path, headers=HTML)
        policy = dict(one.split(" ", 1) for one in reply.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        for kind in ("script-src", "style-src", "connect-src", "img-src"):
            assert policy[kind] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_hashed_files_are_cached_and_the_start_page_is_revalidated(built: Path) -> None:
    looked = client(built)
    part = looked.get("/ui/assets/index-abc.js")
    start = looked.get("/", headers=HTML)
    assert part.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert part.headers["content-encoding"] == "gzip" and part.text == "console.log('moa')"
    assert start.headers["cache-control"] == "no-cache"
    again = looked.get("/", headers={**HTML, "If-None-Match": start.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    (built / "index.html").write_text("<!doctype html><title>another</title>")
    assert "another" in looked.get("/", headers=HTML).text


@pytest.mark.parametrize("name", ["..%2fsecret.txt", "../secret.txt", "%2e%2e/secret.txt", "", ".", "index-abc.js%00"])
def test_only_the_parts_of_the_page_are_given(built: Path, name: str) -> None:
    assert client(built).get(f"/ui/assets/{name}").status_code == 404


def test_an_unbuilt_page_says_how_to_build_it(tmp_path: Path) -> None:
    reply = client(tmp_path).get("/", headers=HTML)
    assert reply.status_code == 200
    assert "npm --prefix web ci &amp;&amp; npm --prefix web run build" in reply.text


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
def test_all_that_is_loaded_is_less_than_200_kb() -> None:
    parts = [*(page.BUILT / "assets").iterdir(), page.BUILT / "index.html"]
    assert sum(len(gzip.compress(part.read_bytes(), 9)) for part in parts) < 200_000


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
def test_the_page_that_was_built_names_no_other_place() -> None:
    start = (page.BUILT / "index.html").read_text("utf-8")
    assert re.findall(r'(?:src|href)="([^"]+)"', start)
    assert all(link.startswith("/ui/") for link in re.findall(r'(?:src|href)="([^"]+)"', start))
    styles = "".join(part.read_text("utf-8") for part in (page.BUILT / "assets").glob("*.css"))
    assert "@import" not in styles and "url(" not in styles and "@font-face" not in styles
