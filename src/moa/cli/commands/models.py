"""`moa mixtures` and `moa models`: what can be asked."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ...errors import ConfigError
from ..shared import ConfigFile, complete_mixtures, complete_providers, print_table


def mixtures(
    name: Annotated[
        str | None, typer.Argument(help="The mixture to draw.", autocompletion=complete_mixtures, show_default=False)
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the mixtures, or draw one of them.

    The diagram shows the layers, their settings, the calls per question, and the maximum cost of a question.
    """
    from ...config.load import load
    from ...estimates.worst_case import bound

    loaded, _ = load(config)
    if name is None:
        rows = [
            (f"moa:{key}", str(len(one.proposer_layers) + 1), str(bound(loaded, f"moa:{key}").calls), one.description)
            for key, one in loaded.mixtures.items()
        ]
        print_table(("mixture", "layers", "calls", "description"), rows)
        return
    provider, mixture = loaded.resolve(name)
    if provider != "moa":
        raise ConfigError(f"{name} is a single model, not a mixture; mixtures: {', '.join(loaded.mixtures)}")
    from rich.console import Console

    from ..terminal.mixture_diagram import diagram

    Console(highlight=False).print(diagram(loaded, mixture))


def models(
    provider: Annotated[
        str | None,
        typer.Argument(
            help="List the models that this provider offers.", autocompletion=complete_providers, show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the providers, or the models of one provider.

    The list shows the address of each provider and whether its API key is set. Keys are never shown.
    """
    from ...config.load import load
    from ...config.messages import did_you_mean

    loaded, _ = load(config)
    if provider is None:
        rows = [("local:smollm2", "in this process", "none needed"), ("gguf:PATH", "in this process", "none needed")]
        for name, table in loaded.providers.items():
            rows.append((f"{name}:MODEL", table.base_url, _key_state(table.api_key_env)))
        print_table(("model", "address", "key"), rows)
        return
    provider = provider.removesuffix(":")
    if provider == "local":
        typer.echo("local:smollm2")
        return
    if provider not in loaded.providers:
        raise ConfigError(f"no provider {provider!r}{did_you_mean(provider, loaded.providers)}")
    import asyncio

    from ...models.openai.list_models import list_models
    from ..terminal.escape import printable

    table = loaded.providers[provider]
    for model in asyncio.run(list_models(provider, table.base_url, table.api_key_env, table.headers)):
        typer.echo(printable(f"{provider}:{model}"))


def _key_state(variable: str | None) -> str:
    if variable is None:
        return "none needed"
    return f"{variable} is {'set' if os.environ.get(variable, '').strip() else 'missing'}"
