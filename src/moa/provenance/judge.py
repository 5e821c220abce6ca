"""A model as judge of where the sentences of an answer come from: it knows what words mean, costs a call, may err."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadReply
from ..model import Model
from ..prompts.prompt import TRACE, Prompt
from ..sinks import EventSink
from ..span import CallSpec, Span, generate
from ..text.sentences import sentences
from ..types import Message, Request, Response
from .attribution import MOST, Proposal, Provenance, Relation, as_judged


@dataclass(frozen=True)
class _Judge:
    """A model that has another one judge, so that the call is seen and priced as a judge's."""

    model: Model

    @property
    def name(self) -> str:
        return f"provenance by {self.model.name}"

    async def generate(self, request: Request, span: Span) -> Response:
        return await span.call(self.model, request, CallSpec("judge"))


async def judged(
    answer: str, proposals: Sequence[Proposal], judge: Model, emit: EventSink | None = None, seed: int | None = None
) -> Provenance:
    """The provenance of an answer as a model judges it, in one call: a run of its own, whose events `emit` gets.

    Passages and strengths are still those of the words. Raises `BadReply` where the judge does not say something of
    every sentence in the form it was asked for, and what the call raises.
    """
    cut = [answer[one.start : one.end] for one in sentences(answer, MOST)]
    if not cut or not proposals:
        return as_judged(answer, proposals, [{}] * len(cut))
    numbered = "\n\n".join(f"{number}: {text}" for number, text in enumerate(cut, 1))
    request = Request((Message("user", numbered),), seed=seed)
    asked = Prompt(TRACE)(request, [Response(one.model, one.text) for one in proposals])
    reply = await generate(_Judge(judge), asked, emit)
    return as_judged(answer, proposals, _verdicts(reply, len(cut), len(proposals)))


def _verdicts(reply: Response, count: int, proposals: int) -> list[dict[int, Relation]]:
    """What a judge said of each sentence."""
    verdicts: dict[int, dict[int, Relation]] = {}
    for line in reply.text.splitlines():
        if told := re.fullmatch(r"[\s*`-]*(\d+)[:.)][\s*]*((?:[+-]\d+[\s,;*]*)+|none\.?)[\s*`]*", line, re.IGNORECASE):
            found = re.findall(r"([+-])(\d+)", told[2])
            verdicts[int(told[1])] = {
                int(number) - 1: "supports" if sign == "+" else "contradicts" for sign, number in found
            }
    named = {place for verdict in verdicts.values() for place in verdict}
    if sorted(verdicts) != list(range(1, count + 1)) or not named <= set(range(proposals)):
        raise BadReply(
            f"{reply.model} was to judge {count} sentences by {proposals} proposals, a line each; it said "
            f"{reply.text[:80]!r}; ask another judge",
            model=reply.model,
        )
    return [verdicts[number] for number in range(1, count + 1)]
