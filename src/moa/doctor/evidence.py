"""What a run really sent and received, from its events: the conversation of each call, the stages of each mixture,
and which proposals each prompt contains.

Nothing here reads the configuration; the checks compare the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..trace.tree import Node, Trace
from ..trace.views import LayerView, layers, message_text, messages_sent, proposer

Turn = tuple[str, str]
"""A role and a text."""


@dataclass(frozen=True)
class Proposal:
    """A proposal as it was received."""

    model: str
    text: str


@dataclass
class Reader:
    """A proposer of a later layer, or a model of the aggregator. It has several calls if it read a few proposals at a
    time."""

    label: str
    calls: list[Node] = field(default_factory=list)

    @property
    def answered(self) -> list[Node]:
        return [call for call in self.calls if call.end and call.error is None]

    @property
    def writes_the_answer(self) -> bool:
        return any(call.start.answer for call in self.answered)


@dataclass
class Stage:
    """The readers of the same proposals: a layer (`number` from 1) or the aggregator (`None`) of a mixture."""

    mixture: str
    number: int | None
    readers: list[Reader]
    given: list[Proposal]


class Evidence:
    """The calls of a run, and the proposals that each of them was sent."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The label of each call by its span: `a (layer 1)`, `b (layer 2 of moa:small)`, `judge (aggregator)`."""
        return dict(_labels(self.trace.root, "", "")) if self.trace.root else {}

    @property
    def calls(self) -> list[Node]:
        """All calls to a single model."""
        return self.trace.calls

    def label(self, call: Node) -> str:
        return self.labels[call.start.span]

    @cached_property
    def stages(self) -> list[Stage]:
        """All layers and aggregators that have proposals to read, of mixtures at any depth."""
        return [stage for node in (self.trace.root.walk() if self.trace.root else ()) for stage in self._of(node)]

    @cached_property
    def proposals(self) -> list[Proposal]:
        """All proposals of the run."""
        nodes = self.trace.root.walk() if self.trace.root else ()
        return [proposal for node in nodes for layer in layers(node) for proposal in given_by(layer)]

    def elsewhere(self, stage: Stage) -> list[str]:
        """Return the texts of the proposals that the stage was not given."""
        texts = Counter(proposal.text for proposal in self.proposals)
        return list((texts - Counter(proposal.text for proposal in stage.given)).elements())

    def _of(self, mixture: Node) -> Iterator[Stage]:
        given: list[Proposal] = []
        for layer in layers(mixture):
            if given:
                yield Stage(mixture.start.model, layer.number, self._readers(layer.calls), given)
            given = given_by(layer)
        after = [
            child for child in _without_sections(mixture) if child.start.role not in ("layer", "proposer", "prewarm")
        ]
        if given and (after or (mixture.end and mixture.error is None)):
            yield Stage(mixture.start.model, None, self._readers(after), given)

    def _readers(self, calls: Sequence[Node]) -> list[Reader]:
        readers: dict[object, Reader] = {}
        for call in calls:
            readers.setdefault(proposer(call), Reader(self.label(call))).calls.append(call)
        return list(readers.values())


def given_by(layer: LayerView) -> list[Proposal]:
    """Return the proposals that a layer handed on."""
    return [Proposal(call.start.model, call.text) for call in layer.answered]


def leaves(call: Node) -> list[Node]:
    """Return the calls to single models that a call consists of; the call itself, if it is one."""
    return [node for node in call.walk() if node.is_call]


def conversation(call: Node) -> list[Turn]:
    """Return the conversation as it was sent."""
    return [(message["role"], message_text(message)) for message in messages_sent(call)]


@dataclass
class Presence:
    """Which proposals a reader was not sent, or only in part, or more than once, and the order of the others."""

    missing: list[Proposal] = field(default_factory=list)
    partial: list[Proposal] = field(default_factory=list)
    repeated: list[Proposal] = field(default_factory=list)
    order: list[int] = field(default_factory=list)


def presence(
    reader: Reader, given: Sequence[Proposal], asked: Sequence[str], elsewhere: Sequence[str] = ()
) -> Presence:
    """Return how the proposals occur in the answered calls of a reader.

    `asked` are the texts of the conversation, which every prompt contains. Texts from `elsewhere` may occur, too.
    """
    result = Presence()
    expected = [_words(proposal.text) for proposal in given]
    conversed = [_words(text) for text in asked]
    found: dict[str, int] = dict.fromkeys(expected, 0)
    extra = [_words(text) for text in elsewhere]
    allowed = {
        text: expected.count(text) + conversed.count(text) * len(reader.answered) + extra.count(text) for text in found
    }
    best: list[str] = []
    for call in reader.answered:
        texts = [_words("\n".join(words for _, words in conversation(leaf))) for leaf in leaves(call)]
        positions = [_positions(text, (*expected, *conversed, *best)) for text in texts]
        for text in found:
            found[text] += min((len(occurrences[text]) for occurrences in positions), default=0)
            allowed[text] += best.count(text)
        result.order += _order(expected, positions[0]) if positions else []
        best.append(_words(call.end.text or "") if call.end else "")
    for proposal, text in zip(given, expected, strict=True):
        if not text:
            continue  # without a word there is nothing to look for
        needed = expected.count(text) + conversed.count(text)
        if found[text] < needed:
            (result.partial if _has_beginning(text, reader) else result.missing).append(proposal)
        elif found[text] > allowed[text] and len(text.split()) >= 5:  # fewer words may occur by chance
            result.repeated.append(proposal)
    return result


def _labels(node: Node, mixture: str, position: str) -> Iterator[tuple[str, str]]:
    start = node.start
    inside = f" of {mixture}" if mixture else ""
    if start.role == "proposer" and start.layer is not None:
        position = f" (layer {start.layer}{inside})"
    elif start.role in ("aggregator", "judge"):
        position = f" ({start.role}{inside})"
    yield start.span, f"{start.model}{position}"
    if layers(node) and start.parent is not None:
        mixture = start.model
    for child in node.children:
        yield from _labels(child, mixture, position)


def _without_sections(node: Node) -> Iterator[Node]:
    """Yield the children of a node, with sections replaced by the children in them."""
    for child in node.children:
        yield from _without_sections(child) if child.start.role == "section" else (child,)


def _words(text: str) -> str:
    """Return the words of a text only: a prompt may quote, indent or number it, and break up its control tokens."""
    return " ".join(re.findall(r"\w+", re.sub(r"\\[nrt\"]", " ", text)))


def _positions(prompt: str, texts: Sequence[str]) -> dict[str, list[int]]:
    """Return where each text occurs. An occurrence inside a longer one does not count."""
    positions: dict[str, list[int]] = {}
    for text in sorted(set(texts), key=len, reverse=True):
        pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
        positions[text] = [match.start() for match in pattern.finditer(prompt)] if text else []
        if text:
            prompt = pattern.sub(lambda match: "\0" * len(match[0]), prompt)
    return positions


def _order(texts: Sequence[str], positions: Mapping[str, list[int]]) -> list[int]:
    """Return the indexes of the texts that occur exactly once, in order of occurrence."""
    single = [(positions[text][0], n) for n, text in enumerate(texts) if texts.count(text) == len(positions[text]) == 1]
    return [index for _, index in sorted(single)]


def _has_beginning(text: str, reader: Reader) -> bool:
    """Return whether a prompt of the reader contains the beginning of a text."""
    start = text[: max(20, len(text) // 4)]
    prompts = (_words("\n".join(w for _, w in conversation(leaf))) for call in reader.answered for leaf in leaves(call))
    return len(start) < len(text) and any(start in prompt for prompt in prompts)
