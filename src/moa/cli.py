"""The command `moa`.

Each command imports what it needs when it runs, so that help and completion come at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ConfigError, MoaError, RequestError

if TYPE_CHECKING:
    from .watching import View

app = typer.Typer(
    name="moa",
    help="Several language models that answer as one.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line. What went wrong is one line on standard error, and the exit code says whose part it was."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = app(prog_name="moa", standalone_mode=False) or 0
        sys.stdout.flush()
    except MoaError as error:
        code = _told(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _told(error.format_message(), 2)
    except BrokenPipeError:
        code = 141  # as if SIGPIPE had ended it
    if code == 130:
        _told("interrupted", 130)
    if code == 141:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
    sys.exit(code)


def _told(message: str, code: int) -> int:
    print(f"moa: {message}", file=sys.stderr)  # noqa: T201
    return code


def _names(incomplete: str) -> list[str]:
    """Completion: mixtures, and the beginnings of models' names."""
    from .config import load

    try:
        config, _ = load()
    except MoaError:
        return []
    names = [*(f"moa:{name}" for name in config.mixtures), "local:smollm2", *(f"{name}:" for name in config.providers)]
    return [name for name in names if name.startswith(incomplete)]


ModelName = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="A mixture or a model: moa:NAME or PROVIDER:MODEL.",
        autocompletion=_names,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="A moa.toml to use instead of the one found.")
]
System = Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="Instruction to every model.")]
Temperature = Annotated[float | None, typer.Option(help="Of the aggregator, from 0 to 2.")]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens the answer may have.")]
Seed = Annotated[int | None, typer.Option(help="The same seed, the same samples, where a model can.")]


@app.callback(invoke_without_command=True)
def moa(version: Annotated[bool, typer.Option("--version", help="Say the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"moa {installed('mixture-of-agents')}")
        raise typer.Exit


@app.command()
def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - or nothing reads standard input.", show_default=False)
    ] = None,
    model: ModelName = None,
    config: ConfigFile = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    proposals: Annotated[bool, typer.Option("--proposals", help="Show every proposal before the answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer is there.")] = False,
    as_events: Annotated[
        bool, typer.Option("--jsonl", help="Print every event, one JSON a line, as it happens.")
    ] = False,
) -> None:
    """Ask one question and print the answer."""
    import asyncio

    from .api import get_model
    from .types import Message, Request
    from .watching import watch

    if as_json + as_events + proposals > 1:
        raise ConfigError("--json, --jsonl and --proposals exclude one another; both JSON forms hold the proposals")
    messages = [Message("system", system)] if system else []
    messages.append(Message("user", _question(prompt)))
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    asyncio.run(watch(get_model(model, config), request, _view(proposals, as_json, as_events)))


def _question(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise RequestError('say what to ask: moa ask "Why is the sky blue?"')
    if prompt is not None and prompt != "-":
        return prompt
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input is not UTF-8: byte {data[error.start]:#04x} at {error.start}") from None


def _view(proposals: bool, as_json: bool, as_events: bool) -> View:
    from . import plain

    if as_events:
        return plain.Lines()
    if as_json:
        return plain.Whole()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from .live import Screen

        return Screen(Console(), proposals)
    return plain.Plain(proposals)
