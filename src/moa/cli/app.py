"""The command `moa`.

Each command imports what it needs when it runs, so that help and completion are fast.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Annotated

import typer

from ..errors import MoaError
from .commands.ask import ask
from .commands.chat import chat
from .commands.config import config
from .commands.doctor import doctor
from .commands.eval import evaluation
from .commands.keys import keys
from .commands.models import mixtures, models
from .commands.runs import runs
from .commands.select import select
from .commands.serve import serve
from .commands.tune import tune
from .shared import help_without_command, print_error

app = typer.Typer(
    name="moa",
    help="Several language models that answer as one.",
    rich_markup_mode=None,  # panels would cost a quarter of a second, more than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config, name="config")
app.add_typer(keys, name="keys")
app.add_typer(runs, name="runs")
app.add_typer(evaluation, name="eval")
for command in (select, tune, ask, chat, mixtures, models, doctor, serve):
    app.command()(command)

INTERRUPTED = 130
BROKEN_PIPE = 141
"""Exit codes of a process that SIGINT or SIGPIPE ended."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a disk that accepts no more data."""


def main() -> None:
    """Run the command line. An error is one line on standard error, and the exit code shows its kind."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code: int | str | None
    unwritable = False
    try:
        code = app(prog_name="moa", standalone_mode=False)
        sys.stdout.flush()
    except MoaError as error:
        code = print_error(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "moa"
        problem = _renamed(error) or error.format_message().rstrip(".")
        code = print_error(f"{problem}; see: {path} --help", 2)
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        code = print_error(f"standard output cannot be written: {error.strerror}; free some space", 1)
        unwritable = True
    except SystemExit as leaving:  # typer turns a broken pipe into this
        code = BROKEN_PIPE if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    if code == INTERRUPTED:
        print_error("interrupted")
    if code == BROKEN_PIPE or unwritable:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
    sys.exit(code)


def _renamed(error: typer.TyperException) -> str | None:
    """Return the message for an unknown option or command that was renamed."""
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


def _open_closed_streams() -> None:
    """Replace streams that were closed before the start (`moa ask ... >&-`) by the null device."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        null = open(os.devnull, "r+")  # noqa: PTH123, SIM115
        sys.stdin, sys.stdout, sys.stderr = (stream or null for stream in (sys.stdin, sys.stdout, sys.stderr))


@app.callback(invoke_without_command=True)
def moa(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"moa {installed('mixture-of-agents')}")
        raise typer.Exit
    help_without_command(context)
