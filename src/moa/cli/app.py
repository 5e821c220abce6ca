"""The command `moa`.

Each command imports what it needs when it runs, so that help and completion are fast.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError, MoaError, RequestError
from .commands.config import settings
from .commands.eval import evaluation
from .commands.keys import keys
from .commands.runs import runs
from .commands.select import select
from .commands.tune import tune
from .shared import (
    ConfigFile,
    MaxTokens,
    ModelName,
    Proposals,
    Seed,
    System,
    Temperature,
    Yes,
    can_confirm,
    complete_mixtures,
    complete_names,
    complete_providers,
    confirm,
    create_view,
    download_weights,
    event_sink,
    help_without_command,
    print_error,
    print_table,
    ready_model,
)

if TYPE_CHECKING:
    from ..model import Model
    from ..types import Request

app = typer.Typer(
    name="moa",
    help="Several language models that answer as one.",
    rich_markup_mode=None,  # panels would cost a quarter of a second, more than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(settings, name="config")
app.add_typer(keys, name="keys")
app.add_typer(runs, name="runs")
app.add_typer(evaluation, name="eval")
app.command()(select)
app.command()(tune)


def main() -> None:
    """Run the command line. An error is one line on standard error, and the exit code says whose fault it was."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code: int | str | None
    full = False
    try:
        code = app(prog_name="moa", standalone_mode=False)
        sys.stdout.flush()
    except MoaError as error:
        code = print_error(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "moa"
        problem = _renamed(error) or error.format_message().rstrip(".")
        code = print_error(f"{problem}; see: {command} --help", 2)
    except BrokenPipeError:
        code = 141  # as if SIGPIPE had ended it
    except OSError as error:
        if error.errno not in UNWRITTEN:
            raise
        code, full = print_error(f"standard output cannot be written: {error.strerror}; free some space", 1), True
    except SystemExit as exit_:  # typer turns a broken pipe into one
        code = 141 if isinstance(exit_.__context__, BrokenPipeError) else exit_.code
    if code == 130:
        print_error("interrupted", 130)
    if code == 141 or full:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
    sys.exit(code)


def _renamed(error: typer.TyperException) -> str | None:
    """Return what to say if an unknown option or command was renamed."""
    from ..config.renamed import COMMANDS, OPTIONS

    context = getattr(error, "ctx", None)
    if context is None:
        return None
    if old := getattr(error, "option_name", None):
        known = {name for option in context.command.params for name in option.opts}
        new = OPTIONS.get(old)
        return f"{old} was renamed to {new}" if new in known else None
    if unknown := re.search(r"No such command '(.*)'", error.format_message()):
        old = f"{context.command_path} {unknown[1]}"
        return f"{old} was renamed to {COMMANDS[old]}" if old in COMMANDS else None
    return None


UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a full or broken disk."""


def _open_closed() -> None:
    """Open the null device in place of streams that were closed before the start (`moa ask ... >&-`)."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        null = open(os.devnull, "r+")  # noqa: PTH123, SIM115
        sys.stdin, sys.stdout, sys.stderr = (stream or null for stream in (sys.stdin, sys.stdout, sys.stderr))


@app.callback(invoke_without_command=True)
def moa(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"moa {installed('mixture-of-agents')}")
        raise typer.Exit
    help_without_command(context)


@app.command()
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as one JSON object at the end.")] = False,
    as_events: Annotated[
        bool, typer.Option("--jsonl", help="Print every event as a line of JSON, as it happens.")
    ] = False,
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

    from ..types import Message, Request
    from .terminal.view import watch

    if as_json + as_events + proposals > 1:
        raise ConfigError("--json, --jsonl and --proposals exclude one another; both JSON forms hold the proposals")
    messages = [Message("system", system)] if system else []
    messages.append(Message("user", _question(prompt)))
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    ready = ready_model(model, config)
    if estimate:
        ready = _with_estimate(ready, request, config, yes, as_json or as_events)
    with event_sink(config) as emit:
        asyncio.run(watch(ready, request, create_view(proposals, as_json, as_events), emit))


def _with_estimate(model: Model, request: Request, config: Path | None, yes: bool, as_json: bool) -> Model:
    """Print the estimate of a request, and return the model with it after a confirmation. Exits without one."""
    from ..api import get_builder
    from ..estimates.likely import WithEstimate, quote
    from ..estimates.worst_case import bound
    from ..store.settings import chosen
    from .terminal.estimate import quoted

    loaded = get_builder(config).config
    store = chosen(loaded.store)
    expected = quote(model, request, store.figures() if store.path.exists() else [])
    lines = quoted(expected, bound(loaded, model.name, request.size, request.max_tokens))
    asks = not yes and can_confirm()
    if not (yes or asks):
        import json

        typer.echo(json.dumps(expected.as_json(), ensure_ascii=False, indent=2) if as_json else "\n".join(lines))
        raise typer.Exit
    for line in lines:
        typer.echo(line, err=True)
    if asks and not confirm("Ask it?"):
        raise typer.Exit(1)
    return WithEstimate(model, expected) if expected.known else model


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


@app.command()
def chat(
    model: ModelName = None,
    config: ConfigFile = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
) -> None:
    """Chat with a mixture.

    /help lists the commands inside: switch the mixture, show the proposals, save the conversation.
    """
    from .terminal.chat import Chat, piped, typed

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with event_sink(config) as emit:
        conversation = Chat(
            lambda name: ready_model(name, config),
            create_view,
            typed if interactive else piped,
            model=model,
            system=system,
            options={"temperature": temperature, "max_tokens": max_tokens, "seed": seed},
            emit=emit,
        )
        code = conversation.run()
    if not interactive:
        raise typer.Exit(code)


@app.command()
def mixtures(
    name: Annotated[
        str | None, typer.Argument(help="The mixture to draw.", autocompletion=complete_mixtures, show_default=False)
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the mixtures, or draw one.

    The drawing shows the layers, their settings, the calls per question, and the worst-case cost.
    """
    from ..config.load import load
    from ..estimates.worst_case import bound

    loaded, _ = load(config)
    if name is None:
        rows = [
            (
                f"moa:{key}",
                str(len(mixture.proposer_layers) + 1),
                str(bound(loaded, f"moa:{key}").calls),
                mixture.description,
            )
            for key, mixture in loaded.mixtures.items()
        ]
        print_table(("mixture", "layers", "calls", "description"), rows)
        return
    provider, mixture_name = loaded.resolve(name)
    if provider != "moa":
        raise ConfigError(f"{name} is a single model; mixtures are: {', '.join(loaded.mixtures)}")
    from rich.console import Console

    from .terminal.mixture_diagram import drawing

    Console(highlight=False).print(drawing(loaded, mixture_name))


@app.command()
def models(
    provider: Annotated[
        str | None,
        typer.Argument(help="List the models of this provider.", autocompletion=complete_providers, show_default=False),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the providers, or the models of one.

    The list shows the URL of each provider and whether its API key is set, but never a key.
    """
    from ..config.load import load
    from ..config.messages import did_you_mean

    loaded, _ = load(config)
    if provider is None:
        rows = [("local:smollm2", "in this process", "none needed"), ("gguf:PATH", "in this process", "none needed")]
        for name, table in loaded.providers.items():
            rows.append((f"{name}:MODEL", table.base_url, _key(table.api_key_env)))
        print_table(("model", "where", "key"), rows)
        return
    provider = provider.removesuffix(":")
    if provider == "local":
        typer.echo("local:smollm2")
        return
    if provider not in loaded.providers:
        raise ConfigError(f"no provider {provider!r}{did_you_mean(provider, loaded.providers)}")
    import asyncio

    from ..models.openai.list_models import list_models
    from .terminal.escape import printable

    table = loaded.providers[provider]
    for model in asyncio.run(list_models(provider, table.base_url, table.api_key_env, table.headers)):
        typer.echo(printable(f"{provider}:{model}"))


def _key(variable: str | None) -> str:
    if variable is None:
        return "none needed"
    return f"{variable} is {'set' if os.environ.get(variable, '').strip() else 'missing'}"


@app.command()
def doctor(
    mixture: Annotated[
        str | None, typer.Argument(help="A mixture, or any model.", autocompletion=complete_names, show_default=False)
    ] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Check that a mixture works.

    Sends a short question through it and reports what was really sent and received: the calls, the proposals that each
    model was shown, context windows, costs, and models that cannot be reached.
    """
    import asyncio
    import json

    from ..api import get_builder
    from ..doctor import examine
    from .terminal.escape import printable

    builder = get_builder(config)
    name = mixture or builder.config.default
    model = builder.model(name)
    download_weights(builder.config, name)
    typer.echo(f"sending a question through {model.name} ...", err=True)
    report = asyncio.run(examine(model))
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo("\n".join(printable(line) for line in report.lines))
    raise typer.Exit(report.exit_code)


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    allow_unauthenticated: Annotated[
        bool | None,
        typer.Option(
            "--allow-unauthenticated",
            help="Accept requests from other machines without a key (dangerous).",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Format of the log, which has a line per request.", show_default=False),
    ] = None,
) -> None:
    """Serve every mixture as a model for OpenAI, Anthropic and Ollama clients, and the web page."""
    try:
        from ..server.serve import run
    except ModuleNotFoundError as error:
        raise ConfigError(f'moa serve needs {error.name}: pip install "mixture-of-agents[server]"') from None
    if code := run(config, host, port, allow_unauthenticated=allow_unauthenticated, log_format=log_format):
        raise typer.Exit(code)
