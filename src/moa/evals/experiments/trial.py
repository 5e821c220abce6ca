"""Candidates evaluated: built, asked, and what came of them in one figure each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from ...api import get_builder
from ...errors import ConfigError
from ..manifest import single
from ..runner import Progress
from ..sample import Metric, Scored
from ..session import Session
from ..stats.bootstrap import Estimate
from ..tasks.jsonl import Part
from .candidate import Candidate
from .tune import Measured


def members(config: Path | None, names: Sequence[str]) -> list[str]:
    """The single models that are named, or that the mixtures named are made of; of the default one where none is."""
    builder = get_builder(config)
    asked = names or [builder.config.default]
    return list(dict.fromkeys(leaf for name in asked for leaf in single(builder.config, name)))


async def tried(
    session: Session, tell: Callable[[Progress], None], candidates: Sequence[Candidate], prompts: int | None = None
) -> dict[Candidate, Measured]:
    """What came of asking the candidates all prompts, or the first so many that the session's seed draws.

    The first model of the session is asked too: a judge that compares needs somebody to compare with. Raises
    `ConfigError` where the session may spend no more, or nothing was answered.
    """
    begun = (
        session if prompts is None else replace(session, benchmark=Part(session.benchmark, prompts, session.asked.seed))
    )
    base = Candidate(((session.asked.models[0], 1),))
    models = {one.name: one.model(session.builder) for one in dict.fromkeys((base, *candidates))}
    results = await begun.run(models, tell)
    if not results.complete:
        raise ConfigError(
            f"stopped before spending more than {session.asked.spend} US dollars; "
            "the same command with a higher --max-cost goes on where it was"
        )
    return {one: _measured(one, results.figures[one.name][0], results.scored[one.name]) for one in candidates}


def _measured(candidate: Candidate, figure: Metric, scored: Sequence[Scored]) -> Measured:
    answered = [one.answer for one in scored if one.answer.error is None]
    if figure.value is None or not answered:
        error = next((one.answer.error or one.error for one in scored if one.answer.error or one.error), "no score")
        raise ConfigError(f"{candidate.name}: {error}")
    low, high = (figure.value if bound is None else bound for bound in (figure.low, figure.high))
    costs = [one.bill.usage.cost for one in answered]
    known = [cost for cost in costs if cost is not None]
    return Measured(
        len(scored),
        Estimate(figure.value, low, high),
        fmean(known) if len(known) == len(costs) else None,
        fmean(one.bill.seconds for one in answered),
    )
