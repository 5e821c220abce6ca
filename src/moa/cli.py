"""The command `moa`.

Each command imports what it needs when it runs, so that help and completion come at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ConfigError, MoaError, RequestError

if TYPE_CHECKING:
    from .config import Config
    from .model import Model
    from .terminal.watching import View

app = typer.Typer(
    name="moa",
    help="Several language models that answer as one.",
    rich_markup_mode=None,  # panels would cost a quarter of a second, more than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        code = _told(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "moa"
        code = _told(f"{error.format_message().rstrip('.')}; see: {command} --help", 2)
    except BrokenPipeError:
        code = 141  # as if SIGPIPE had ended it
    except OSError as error:
        if error.errno not in UNWRITTEN:
            raise
        code, full = _told(f"standard output cannot be written ({error.strerror}); make room where it goes", 1), True
    except SystemExit as leaving:  # which is what typer makes of the same
        code = 141 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    if code == 130:
        _told("interrupted", 130)
    if code == 141 or full:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
    sys.exit(code)


UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk says that takes no more."""


def _open_closed() -> None:
    """Give the streams that were closed before the start (`moa ask ... >&-`) a place to go: nowhere."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        nowhere = open(os.devnull, "r+")  # noqa: PTH123, SIM115
        sys.stdin, sys.stdout, sys.stderr = (one or nowhere for one in (sys.stdin, sys.stdout, sys.stderr))


def _told(message: str, code: int) -> int:
    from .terminal.controls import printable

    print(f"moa: {printable(message)}", file=sys.stderr)  # noqa: T201
    return code


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
    from .config import load

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
ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="A moa.toml to use instead of the one found.")
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
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


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
) -> None:
    """Ask one question and print the answer."""
    import asyncio

    from .terminal.watching import watch
    from .types import Message, Request

    if as_json + as_events + proposals > 1:
        raise ConfigError("--json, --jsonl and --proposals exclude one another; both JSON forms hold the proposals")
    messages = [Message("system", system)] if system else []
    messages.append(Message("user", _question(prompt)))
    request = Request(messages, temperature=temperature, max_tokens=max_tokens, seed=seed)
    asyncio.run(watch(_ready(model, config), request, _view(proposals, as_json, as_events)))


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


def _view(proposals: bool = False, as_json: bool = False, as_events: bool = False) -> View:
    from .terminal import plain

    if as_events:
        return plain.Lines()
    if as_json:
        return plain.Whole()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from .terminal.live import Screen

        return Screen(Console(), proposals)
    return plain.Plain(proposals)


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
    talk = Chat(
        lambda name: _ready(name, config),
        _view,
        typed if person else piped,
        model=model,
        system=system,
        options={"temperature": temperature, "max_tokens": max_tokens, "seed": seed},
    )
    code = talk.run()
    if not person:
        raise typer.Exit(code)


def _ready(name: str | None, config: Path | None) -> Model:
    """The model of a name, with its weights there if it is the embedded one."""
    from .api import get_builder
    from .fetching import ensure
    from .model import check

    builder = get_builder(config)
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
    from .config import load
    from .estimate import bound

    loaded, _ = load(config)
    if name is None:
        rows = [
            (
                f"moa:{key}",
                str(len(table.proposer_layers) + 1),
                str(bound(loaded, f"moa:{key}").calls),
                table.description,
            )
            for key, table in loaded.mixtures.items()
        ]
        _table(("mixture", "layers", "calls", "description"), rows)
        return
    provider, mixture = loaded.resolve(name)
    if provider != "moa":
        raise ConfigError(f"{name} is one model, not a mixture; mixtures are: {', '.join(loaded.mixtures)}")
    from rich.console import Console

    from .terminal.drawing import drawing

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
    from .config import did_you_mean, load

    loaded, _ = load(config)
    if provider is None:
        rows = [("local:smollm2", "in this process", "none needed"), ("gguf:PATH", "in this process", "none needed")]
        for name, table in loaded.providers.items():
            rows.append((f"{name}:MODEL", table.base_url, _key(table.api_key_env)))
        _table(("model", "where", "key"), rows)
        return
    provider = provider.removesuffix(":")
    if provider == "local":
        typer.echo("local:smollm2")
        return
    if provider not in loaded.providers:
        raise ConfigError(f"no provider {provider!r}{did_you_mean(provider, loaded.providers)}")
    import asyncio

    from .models.listing import offered
    from .terminal.controls import printable

    table = loaded.providers[provider]
    for model in asyncio.run(offered(provider, table.base_url, table.api_key_env, table.headers)):
        typer.echo(printable(f"{provider}:{model}"))


def _key(variable: str | None) -> str:
    if variable is None:
        return "none needed"
    return f"{variable} is {'set' if os.environ.get(variable, '').strip() else 'missing'}"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal; elsewhere a line a row, with tabs, for other programs."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in header:
        table.add_column(column, justify="right" if column in ("layers", "calls") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, "red" if cell.endswith(" is missing") else "") for cell in row))
    Console().print(table)


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

    from .api import get_builder
    from .doctor import examine
    from .fetching import ensure
    from .terminal.controls import printable

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


settings = typer.Typer(help="Check moa.toml, or begin one.", rich_markup_mode=None)
settings.callback(invoke_without_command=True)(_help_without_command)
app.add_typer(settings, name="config")


@settings.command("check")
def check_config(config: ConfigFile = None) -> None:
    """Say what is wrong with moa.toml."""
    from .api import get_builder
    from .config import load

    loaded, path = load(config)
    builder = get_builder(config)
    for name in loaded.mixtures:
        builder.model(f"moa:{name}")  # which reads the prompt files too
    found = f"{path} is valid" if path else "no moa.toml was found, so this is what is shipped"
    typer.echo(f"{found}: {len(loaded.mixtures)} mixtures, {len(loaded.providers)} providers, default {loaded.default}")


@settings.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of moa.toml, for editors."""
    import json

    from .config import schema

    typer.echo(json.dumps(schema(), indent=2))


@settings.command("init")
def init_config(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("moa.toml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a moa.toml with comments to begin from."""
    from importlib.resources import files

    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(files("moa").joinpath("starter.toml").read_text("utf-8"))
    except FileExistsError:
        raise ConfigError(f"{file} is there already; --force writes over it") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {file}; draw its mixture with: moa mixtures panel", err=True)


@settings.command("path")
def print_path() -> None:
    """Print which moa.toml is in use."""
    from .config import find
    from .folders import config_folder

    path = find()
    if path is None:
        raise ConfigError(f"no moa.toml in $MOA_CONFIG, ./ or {config_folder()}; write one with: moa config init")
    typer.echo(path.absolute())


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Where to listen; 0.0.0.0 is every network.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = None,
    unlocked: Annotated[
        bool | None, typer.Option("--open", help="Answer off this machine without keys.", show_default=False)
    ] = None,
) -> None:
    """Serve every mixture as a model that any client can choose."""
    try:
        from .server.serving import run
    except ModuleNotFoundError as error:
        raise ConfigError(f'moa serve needs {error.name}: pip install "mixture-of-agents[server]"') from None
    if code := run(config, host, port, unlocked=unlocked):
        raise typer.Exit(code)


keys = typer.Typer(help="Keys of the clients of moa serve.", rich_markup_mode=None)
keys.callback(invoke_without_command=True)(_help_without_command)
app.add_typer(keys, name="keys")


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who it is for.", show_default=False)],
    mixtures: Annotated[str | None, typer.Option(metavar="A,B", help="All that it may use; else everything.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="DOLLARS", help="All that it may spend a day.")] = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and print it, once; only its hash is kept."""
    from .server.keys import add

    names = None if mixtures is None else [one.strip() for one in mixtures.split(",") if one.strip()]
    secret, file = add(config, name, names, budget)
    typer.echo(secret)
    typer.echo(f"kept in {file}, as a hash: it cannot be shown again", err=True)


@keys.command("list")
def list_keys(config: ConfigFile = None) -> None:
    """List the keys."""
    from .server.keys import listed

    header = ("id", "name", "mixtures", "dollars a day", "spent today", "created")
    _table(header, listed(config))


@keys.command("remove")
def remove_key(
    name: Annotated[str, typer.Argument(help="The name or the id of a key.", show_default=False)],
    config: ConfigFile = None,
) -> None:
    """Shut a key out, also of a server that is running."""
    from .server.keys import remove

    typer.echo(f"removed {remove(config, name)}", err=True)
