"""`moa ask`: one question, one answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigError, RequestError
from ..shared import (
    ConfigFile,
    MaxTokens,
    ModelName,
    Proposals,
    Seed,
    System,
    Temperature,
    Yes,
    can_confirm,
    confirm,
    create_view,
    event_sink,
    ready_model,
)

if TYPE_CHECKING:
    from ...model import Model
    from ...types import Request


def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - or a pipe reads standard input.", show_default=False)
    ] = None,
    model: ModelName = None,
    config: ConfigFile = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    proposals: Proposals = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer is complete.")] = False,
    as_events: Annotated[bool, typer.Option("--jsonl", help="Print events as JSON lines, as they happen.")] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Estimate tokens, cost and time from past runs, and ask before continuing."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Ask one question and print the answer.

    --estimate prints an estimate of tokens, cost and time from past runs and asks before continuing. Without a terminal
    it only prints the estimate, unless --yes is given.
    """
    import asyncio

    from ...types import Message, Request
    from ..terminal.view import watch

    if as_json + as_events + proposals > 1:
        raise ConfigError(
            "--json, --jsonl and --proposals exclude one another; both JSON formats contain the proposals"
        )
    messages = [Message("system", system)] if system else []
    messages.append(Message("user", _question(prompt)))
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    ready = ready_model(model, config)
    if estimate:
        ready = _estimated(ready, request, config, yes, as_json or as_events)
    with event_sink(config) as emit:
        asyncio.run(watch(ready, request, create_view(proposals, as_json, as_events), emit))


def _estimated(model: Model, request: Request, config: Path | None, confirmed: bool, as_json: bool) -> Model:
    """Print an estimate, ask whether to continue, and return the model with the estimate attached."""
    from ...api import get_builder
    from ...estimates.likely import WithEstimate, quote
    from ...estimates.worst_case import bound
    from ...store.settings import chosen
    from ..terminal.estimate import estimate_lines

    loaded = get_builder(config).config
    store = chosen(loaded.store)
    likely = quote(model, request, store.figures() if store.path.exists() else [])
    lines = list(estimate_lines(likely, bound(loaded, model.name, request.size, request.max_tokens)))
    if not (confirmed or can_confirm()):
        import json

        typer.echo(json.dumps(likely.as_json(), ensure_ascii=False, indent=2) if as_json else "\n".join(lines))
        raise typer.Exit
    for line in lines:
        typer.echo(line, err=True)
    if not confirmed and not confirm("Continue?"):
        raise typer.Exit(1)
    return WithEstimate(model, likely) if likely.known else model


def _question(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise RequestError('no question; write one: moa ask "Why is the sky blue?"')
    if prompt is not None and prompt != "-":
        return prompt
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input is not UTF-8: byte {data[error.start]:#04x} at {error.start}") from None
