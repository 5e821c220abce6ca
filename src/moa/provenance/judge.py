"""Provenance judged by a model. It understands paraphrases, but costs a call and may be wrong."""

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
from .attribution import MAX_SENTENCES, Proposal, Provenance, Relation, as_judged


@dataclass(frozen=True)
class _Judge:
    """A model that calls another one in the role of a judge."""

    model: Model

    @property
    def name(self) -> str:
        return f"provenance by {self.model.name}"

    async def generate(self, request: Request, span: Span) -> Response:
        return await span.call(self.model, request, CallSpec("judge"))


async def judged(
    answer: str, proposals: Sequence[Proposal], judge: Model, emit: EventSink | None = None, seed: int | None = None
) -> Provenance:
    """Return the provenance of an answer as a model judges it. The call is a run of its own, with its events in `emit`.

    Passages and strengths are still those of the words. Raises `BadReply` if the reply does not have a line for each
    sentence, and the errors of the call.
    """
    texts = [answer[sentence.start : sentence.end] for sentence in sentences(answer, MAX_SENTENCES)]
    if not texts or not proposals:
        return as_judged(answer, proposals, [{}] * len(texts))
    numbered = "\n\n".join(f"{number}: {text}" for number, text in enumerate(texts, 1))
    request = Request((Message("user", numbered),), seed=seed)
    references = [Response(proposal.model, proposal.text) for proposal in proposals]
    reply = await generate(_Judge(judge), Prompt(TRACE)(request, references), emit)
    return as_judged(answer, proposals, _verdicts(reply, len(texts), len(proposals)))


def _verdicts(reply: Response, count: int, proposals: int) -> list[dict[int, Relation]]:
    """Parse the verdict on each sentence from the judge's reply."""
    verdicts: dict[int, dict[int, Relation]] = {}
    for line in reply.text.splitlines():
        if match := re.fullmatch(r"[\s*`-]*(\d+)[:.)][\s*]*((?:[+-]\d+[\s,;*]*)+|none\.?)[\s*`]*", line, re.IGNORECASE):
            signed = re.findall(r"([+-])(\d+)", match[2])
            verdicts[int(match[1])] = {
                int(number) - 1: "supports" if sign == "+" else "contradicts" for sign, number in signed
            }
    named = {index for verdict in verdicts.values() for index in verdict}
    if sorted(verdicts) != list(range(1, count + 1)) or not named <= set(range(proposals)):
        raise BadReply(
            f"{reply.model}: the reply must have one line for each of {count} sentences, got {reply.text[:80]!r}; "
            "choose another judge",
            model=reply.model,
        )
    return [verdicts[number] for number in range(1, count + 1)]
