"""The parts of aiohttp that are used though they are private, or that a new version may change."""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from packaging.requirements import Requirement
from packaging.version import Version

from helpers.upstream import Upstream
from moa import Message, Request, generate
from moa.models.openai.model import OpenAI

ADVICE = (
    f"aiohttp {version('aiohttp')} differs from the versions that moa.models.openai was written for: look at "
    "pool.py (preconnect, socket_factory) and pacing.py (resume_reading), then raise the cap in pyproject.toml"
)


def test_the_installed_aiohttp_is_within_the_cap() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    line = next(line for line in project.splitlines() if line.strip().startswith('"aiohttp'))
    assert Version(version("aiohttp")) in Requirement(line.split('"')[1]).specifier, ADVICE


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (aiohttp.TCPConnector.__init__, {"socket_factory", "limit", "ttl_dns_cache", "keepalive_timeout"}),
        (aiohttp.ClientRequest.__init__, {"method", "url", "session", "loop"}),
        (aiohttp.BaseConnector.connect, {"req", "traces", "timeout"}),
        (ResponseHandler.resume_reading, {"resume_parser"}),
    ],
    ids=lambda given: getattr(given, "__qualname__", ""),
)
def test_what_is_called_takes_what_it_is_given(function: object, parameters: set[str]) -> None:
    assert parameters <= set(inspect.signature(function).parameters), ADVICE  # type: ignore[arg-type]


async def test_a_stream_can_be_kept_from_being_resumed_for_each_chunk() -> None:
    """A connection knows whether it is paused, and takes another `resume_reading`."""
    protocol = ResponseHandler(asyncio.get_running_loop())
    assert hasattr(protocol, "__dict__"), ADVICE
    assert getattr(protocol, "_reading_paused", None) is False, ADVICE


async def test_a_stream_is_whole_whatever_aiohttp_does_inside() -> None:
    with Upstream({"m": "one two three four"}) as upstream:
        answer = await generate(OpenAI("m", upstream.url), Request((Message("user", "Count."),)), words="all")
    assert answer.text == "one two three four", ADVICE
