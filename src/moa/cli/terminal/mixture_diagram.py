"""A diagram of a mixture: its layers from the question to the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...config.load import Config
from ...config.schema import AdaptiveTimeoutTable, AggregatorTable, MixtureTable, Sampling
from ...estimates.worst_case import ASSUMED, bound
from .footer import cost


def diagram(config: Config, name: str) -> RenderableType:
    """Return the layers of a mixture with their settings, and the maximum cost of a question."""
    table = config.mixtures[name]
    parts: list[RenderableType] = [Text.assemble((f"moa:{name}", "bold"), f"  {table.description}"), "  question"]
    layers = table.proposer_layers
    for number, members in enumerate(layers, 1):
        count = sum(member.samples for member in members)
        title = f"layer {number} · {count} proposer{'s' * (count != 1)}"
        rows = [_row(config, member.model, member, member.samples) for member in members]
        parts += [_ARROW, _box(title, rows, ", ".join(_waiting(table)))]
    number = len(layers) + 1
    parts += [_ARROW, _box(f"layer {number} · aggregator", _aggregator(config, table.aggregator), _reading(table))]
    return Group(*parts, _ARROW, "  answer", "", *_figures(config, name))


WIDTH = 78
"""Maximum width of a box."""

_ARROW = Text("  │\n  ▼", "dim")


def _box(title: str, rows: Sequence[tuple[str, str]], subtitle: str) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=min(40, max(cell_len(name) for name, _ in rows)), overflow="fold")
    for name, settings in rows:
        table.add_row(Text(name), Text(settings, "dim"))
    caption = f"[dim]{escape(subtitle)}[/]"
    box = Panel(
        table, title=escape(title), title_align="left", subtitle=caption, subtitle_align="right", border_style="dim"
    )
    return Constrain(box, WIDTH)


def _row(config: Config, name: str, sampling: Sampling, samples: int = 1) -> tuple[str, str]:
    inner = f" ({bound(config, name).calls} calls)" if config.resolve(name)[0] == "moa" else ""
    times = f" ×{samples}" if samples > 1 else ""
    return f"{name}{times}{inner}", ", ".join(_settings(sampling))


def _settings(sampling: Sampling) -> Iterator[str]:
    skipped = {"model", "samples", "kind", "fallback", "extra"}
    for key in sorted(sampling.model_fields_set - skipped, key=list(type(sampling).model_fields).index):
        value = getattr(sampling, key)
        if key in ("system", "prompt"):
            yield f"{key} {_short(value)}"
        elif value not in (None, ()):
            yield f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
    yield from (f"{key} {value}" for key, value in sampling.extra.items())


def _aggregator(config: Config, table: AggregatorTable) -> list[tuple[str, str]]:
    if table.model is None:
        return [("vote", "the answer most proposals give")]
    rows = [_row(config, table.model, table)]
    if table.kind == "pick":
        rows.append(("", "picks one proposal"))
    return rows + [(f"else {name}", "when the one before fails") for name in table.fallback]


def _waiting(table: MixtureTable) -> Iterator[str]:
    """Yield the settings that decide how long a layer waits."""
    yield f"quorum {table.quorum}"
    if isinstance(table.timeout, AdaptiveTimeoutTable):
        yield f"timeout learned from past latencies, at most {table.timeout.max:g} s"
    elif table.timeout is not None:
        yield f"timeout {table.timeout:g} s"
    if table.grace is not None:
        yield f"grace {table.grace:g} s"


def _reading(table: MixtureTable) -> str:
    order = {
        None: "as declared, or by arrival where they are prewarmed",
        "declared": "as declared",
        "arrival": "by arrival",
        "shuffled": "shuffled by seed",
    }[table.reference_order]
    place = {"system": "in the system message", "user": "in the last user message"}[table.references_in]
    return f"reads the proposals {order}, {place}{', with names' if table.show_model_names else ''}"


def _figures(config: Config, name: str) -> Iterator[RenderableType]:
    table = config.mixtures[name]
    if shared := list(_settings(Sampling.model_validate(table.model_dump(include=_shared(table))))):
        yield Text(f"unless noted otherwise: {', '.join(shared)}")
    if table.early_exit:
        rest = "the layers after it" if table.early_exit.skip == "layers" else "the layers after it and the aggregator"
        yield Text(
            f"early exit: if the proposals of a layer agree ({table.early_exit.threshold:g}), {rest} are skipped"
        )
    if table.staircase:
        yield Text(
            f"staircase: the aggregator starts with the first {table.staircase} tokens of the proposals, step by step"
        )
    most = bound(config, name)
    layers = len(table.proposer_layers) + 1
    yield Text(f"{layers} layers, {most.calls} call{'s' * (most.calls != 1)} per question")
    if most.cost is None:
        yield Text(f"maximum cost: unknown (without {_listed(most.unknown)})")
    else:
        yield Text(f"maximum cost: {cost(most.cost)}  ({ASSUMED})")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 5 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _shared(table: MixtureTable) -> set[str]:
    return Sampling.model_fields.keys() & table.model_fields_set


def _short(text: str | None) -> str:
    flat = " ".join((text or "").split())
    return repr(flat if len(flat) <= 30 else f"{flat[:29]}…")
