"""The provenance of an answer: its proposals by number, then its sentences with their sources."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from ...provenance.attribution import AttributedSentence, Provenance
from .escape import printable

LEGEND = "similarity of the wording in percent; own = not in any proposal   ≠ contradicted by the proposal"


def sources(answer: str, found: Provenance) -> Iterator[Text | Table]:
    """Yield the proposals with their shares of the answer, and each sentence with what supports or contradicts it."""
    payload = found.as_json()
    width = len(str(len(found.proposals)))
    for number, one in enumerate(payload["proposals"], 1):
        yield Text(f"{number:{width}}  {one['share']:4.0%}  {printable(one['model'])}")
    yield Text(f"{'':{width}}  {payload['own']:4.0%}  the aggregator's own", "yellow")
    yield Text(LEGEND, "dim")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column("from", no_wrap=True, style="dim")
    table.add_column("sentence")
    for sentence in found.sentences:
        table.add_row(_supporters(sentence), _highlighted(answer, sentence))
    yield table


def _supporters(sentence: AttributedSentence) -> Text:
    if sentence.own:
        return Text("own", "yellow")
    supporting = [source for source in sentence.sources if source.relation == "supports"]
    return Text(", ".join(f"{source.proposal + 1} {source.strength:.0%}" for source in supporting))


def _highlighted(answer: str, sentence: AttributedSentence) -> Text:
    words = answer[sentence.start : sentence.end]
    shown = Text(printable(words if sentence.kind == "code" else " ".join(words.split())))
    for source in sentence.sources:
        if source.relation == "contradicts":
            shown.append(f"\n≠ {source.proposal + 1}: {printable(source.why or 'contradicts')}", "red")
    return shown
