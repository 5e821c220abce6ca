"""The command `moa`.

Each command imports what it needs when it runs, so that help and completion come at once.
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
from .shared import ConfigFile, help_without_command, kept, remembering_builder, table, told, view

if TYPE_CHECKING:
    from ..config.load import Config
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
    """Run the command line. What went wrong is one line on standard error, and the exit code says whose part it was."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code: int | str | None
    full = False
    try:
        code = app(prog_name="moa", standalone_mode=False)
        sys.stdout.flush()
    except MoaError as error:
        code = told(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "moa"
        problem = _renamed(error) or error.format_message().rstrip(".")
        code = told(f"{problem}; see: {command} --help", 2)
    except BrokenPipeError:
        code = 141  # as if SIGPIPE had ended it
    except OSError as error:
        if error.errno not in UNWRITTEN:
            raise
        code, full = told(f"standard output cannot be written ({error.strerror}); make room where it goes", 1), True
    except SystemExit as leaving:  # which is what typer makes of the same
        code = 141 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    if code == 130:
        told("interrupted", 130)
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
"""What a disk says that takes no more."""


def _open_closed() -> None:
    """Give the streams that were closed before the start (`moa ask ... >&-`) a place to go: nowhere."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        nowhere = open(os.devnull, "r+")  # noqa: PTH123, SIM115
        sys.stdin, sys.stdout, sys.stderr = (one or nowhere for one in (sys.stdin, sys.stdout, sys.stderr))


def _names(incomplete: str) -> list[str]:
    """Completion: mixtures, and the beginnings of models' names."""
    providers = [f"{name}:" for name in _providers("")]
    names = [*_mixtures(""), "local:smollm2", *providers]
    return [name for name in names if name.startswith(incomplete)]


def _mixtures(incomplete: str) -> list[str]:
    config = _configured()
    return [name for name in config.mixtures if name.startswith(incomplete)] if config else []


def _providers(incomplete: str) -> list[str]:
    config = _configured()
    return [name for name in config.providers if name.startswith(incomplete)] if config else []


def _configured() -> Config | None:
    """The configuration, where it can be read: there is no place for an error in a completion."""
    from ..config.load import load

    try:
        return load()[0]
    except MoaError:
        return None


ModelName = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="A mixture, or a model as PROVIDER:MODEL.",
        autocompletion=_names,
    ),
]
System = Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="Instruction to every model.")]
Temperature = Annotated[float | None, typer.Option(help="Of the aggregator, from 0 to 2.")]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens the answer may have.")]
Seed = Annotated[int | None, typer.Option(help="The same seed, the same samples, where a model can.")]


@app.callback(invoke_without_command=True)
def moa(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version and leave.")] = False,
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
    proposals: Annotated[bool, typer.Option("--proposals", help="Show every proposal before the answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when the answer is there.")] = False,
    as_events: Annotated[
        bool, typer.Option("--jsonl", help="Print every event, one JSON a line, as it happens.")
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Estimate tokens, cost and time from past runs, and ask before continuing."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
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
    ready = _ready(model, config)
    if estimate:
        ready = _quoted(ready, request, config, yes, as_json or as_events)
    with kept(config) as emit:
        asyncio.run(watch(ready, request, view(proposals, as_json, as_events), emit))


def _quoted(model: Model, request: Request, config: Path | None, agreed: bool, as_json: bool) -> Model:
    """The model, once it was said what asking it is likely to take, and that was agreed to."""
    from ..api import get_builder
    from ..estimates.likely import WithEstimate, quote
    from ..estimates.worst_case import bound
    from ..store.settings import chosen
    from .terminal.estimate import quoted

    loaded = get_builder(config).config
    store = chosen(loaded.store)
    told = quote(model, request, store.figures() if store.path.exists() else [])
    lines = quoted(told, bound(loaded, model.name, request.size, request.max_tokens))
    asks = not agreed and sys.stdin.isatty() and sys.stderr.isatty()
    if not (agreed or asks):
        import json

        typer.echo(json.dumps(told.as_json(), ensure_ascii=False, indent=2) if as_json else "\n".join(lines))
        raise typer.Exit
    for line in lines:
        typer.echo(line, err=True)
    if asks and not typer.confirm("Ask it?", default=True, err=True):
        raise typer.Exit(1)
    return WithEstimate(model, told) if told.known else model


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


@app.command()
def chat(
    model: ModelName = None,
    config: ConfigFile = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
) -> None:
    """Talk, with what was said before in mind.

    /help inside lists what else can be done: another mixture, the proposals, saving.
    """
    from .terminal.chat import Chat, piped, typed

    person = sys.stdin.isatty() and sys.stdout.isatty()
    with kept(config) as emit:
        talk = Chat(
            lambda name: _ready(name, config),
            view,
            typed if person else piped,
            model=model,
            system=system,
            options={"temperature": temperature, "max_tokens": max_tokens, "seed": seed},
            emit=emit,
        )
        code = talk.run()
    if not person:
        raise typer.Exit(code)


def _ready(name: str | None, config: Path | None) -> Model:
    """The model of a name, with its weights there if it is the embedded one."""
    from ..config.download import ensure
    from ..model import check

    builder = remembering_builder(config)
    name = name or builder.config.default
    model = builder.model(name)
    check(model)
    ensure(builder.config, name)
    return model


@app.command()
def mixtures(
    name: Annotated[
        str | None, typer.Argument(help="Draw this one.", autocompletion=_mixtures, show_default=False)
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the mixtures, or draw one of them.

    A drawing shows the layers, their settings, the calls per question, and what a question costs at most.
    """
    from ..config.load import load
    from ..estimates.worst_case import bound

    loaded, _ = load(config)
    if name is None:
        rows = [
            (
                f"moa:{key}",
                str(len(one.proposer_layers) + 1),
                str(bound(loaded, f"moa:{key}").calls),
                one.description,
            )
            for key, one in loaded.mixtures.items()
        ]
        table(("mixture", "layers", "calls", "description"), rows)
        return
    provider, mixture = loaded.resolve(name)
    if provider != "moa":
        raise ConfigError(f"{name} is one model, not a mixture; mixtures are: {', '.join(loaded.mixtures)}")
    from rich.console import Console

    from .terminal.mixture_diagram import drawing

    Console(highlight=False).print(drawing(loaded, mixture))


@app.command()
def models(
    provider: Annotated[
        str | None,
        typer.Argument(help="Ask this provider for its list.", autocompletion=_providers, show_default=False),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the providers, or the models of one.

    The list says where each provider is and whether its key is set; the keys themselves are never shown.
    """
    from ..config.load import load
    from ..config.messages import did_you_mean

    loaded, _ = load(config)
    if provider is None:
        rows = [("local:smollm2", "in this process", "none needed"), ("gguf:PATH", "in this process", "none needed")]
        for name, one in loaded.providers.items():
            rows.append((f"{name}:MODEL", one.base_url, _key(one.api_key_env)))
        table(("model", "where", "key"), rows)
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

    asked = loaded.providers[provider]
    for model in asyncio.run(list_models(provider, asked.base_url, asked.api_key_env, asked.headers)):
        typer.echo(printable(f"{provider}:{model}"))


def _key(variable: str | None) -> str:
    if variable is None:
        return "none needed"
    return f"{variable} is {'set' if os.environ.get(variable, '').strip() else 'missing'}"


@app.command()
def doctor(
    mixture: Annotated[
        str | None, typer.Argument(help="A mixture, or any model.", autocompletion=_names, show_default=False)
    ] = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Prove that a mixture mixes.

    A short question goes through it, and what was really sent and received is reported: who was called, who was shown
    what, what fits, what it costs, who cannot be reached.
    """
    import asyncio
    import json

    from ..api import get_builder
    from ..config.download import ensure
    from ..doctor import examine
    from .terminal.escape import printable

    builder = get_builder(config)
    name = mixture or builder.config.default
    model = builder.model(name)
    ensure(builder.config, name)
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
    host: Annotated[str | None, typer.Option(help="Where to listen; 0.0.0.0 is every network.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = None,
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
    """Serve every mixture as a model that any client can choose."""
    try:
        from ..server.serve import run
    except ModuleNotFoundError as error:
        raise ConfigError(f'moa serve needs {error.name}: pip install "mixture-of-agents[server]"') from None
    if code := run(config, host, port, allow_unauthenticated=allow_unauthenticated, log_format=log_format):
        raise typer.Exit(code)
