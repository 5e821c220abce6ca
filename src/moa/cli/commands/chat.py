"""`moa chat`: an interactive conversation."""

from __future__ import annotations

import sys

import typer

from ..shared import (
    ConfigFile,
    MaxTokens,
    ModelName,
    Seed,
    System,
    Temperature,
    create_view,
    event_sink,
    ready_model,
)


def chat(
    model: ModelName = None,
    config: ConfigFile = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
) -> None:
    """Start an interactive chat.

    /help lists its commands: change the mixture, show the proposals, save the conversation.
    """
    from ..terminal.chat import Chat, read_piped_line, read_typed_line

    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with event_sink(config) as emit:
        conversation = Chat(
            lambda name: ready_model(name, config),
            create_view,
            read_typed_line if interactive else read_piped_line,
            model=model,
            system=system,
            options={"temperature": temperature, "max_tokens": max_tokens, "seed": seed},
            emit=emit,
        )
        code = conversation.run()
    if not interactive:
        raise typer.Exit(code)
