"""What a run really sent and received, read from its events: the conversation of each call, the stages of each
mixture, and where the words of one stand in the prompts of the next.

Nothing here looks at the configuration; the doctor compares the two.
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
"""Who spoke, and the words."""


@dataclass(frozen=True)
class Proposal:
    """A proposal as it was received."""

    model: str
    text: str


@dataclass
class Reader:
    """A proposer of a later layer, or a model of the aggregator: its calls, several where it read a few at a time."""

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
    """What read the same proposals: one layer (`number` from 1), or the aggregator (`None`) of one mixture."""

    mixture: str
    number: int | None
    readers: list[Reader]
    given: list[Proposal]


class Evidence:
    """The calls of a run, and who was shown what."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """How each call is spoken of, by its span: `a (layer 1)`, `b (layer 2 of moa:small)`, `judge (aggregator)`."""
        return dict(_labelled(self.trace.root, "", "")) if self.trace.root else {}

    @property
    def calls(self) -> list[Node]:
        """Every call to one model."""
        return self.trace.calls

    def label(self, call: Node) -> str:
        return self.labels[call.start.span]

    @cached_property
    def stages(self) -> list[Stage]:
        """Every layer and every aggregator that has proposals to read, of every mixture at any depth."""
        return [stage for node in (self.trace.root.walk() if self.trace.root else ()) for stage in self._of(node)]

    @cached_property
    def proposals(self) -> list[Proposal]:
        """Every proposal of the run."""
        nodes = self.trace.root.walk() if self.trace.root else ()
        return [one for node in nodes for layer in layers(node) for one in given_by(layer)]

    def elsewhere(self, stage: Stage) -> list[str]:
        """The proposals that the stage has not been given to read."""
        left = Counter(one.text for one in self.proposals) - Counter(one.text for one in stage.given)
        return list(left.elements())

    def _of(self, mixture: Node) -> Iterator[Stage]:
        given: list[Proposal] = []
        for layer in layers(mixture):
            if given:
                yield Stage(mixture.start.model, layer.number, self._readers(layer.calls), given)
            given = given_by(layer)
        after = [child for child in _plain(mixture) if child.start.role not in ("layer", "proposer", "prewarm")]
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
    """The calls to single models that a call was made of; itself, if it is one."""
    return [node for node in call.walk() if node.is_call]


def conversation(call: Node) -> list[Turn]:
    """Return the conversation as it was sent."""
    return [(message["role"], message_text(message)) for message in messages_sent(call)]


@dataclass
class Shown:
    """How often each proposal stood in what a reader was sent, in which order, and which stood there only in part."""

    missing: list[Proposal] = field(default_factory=list)
    partial: list[Proposal] = field(default_factory=list)
    repeated: list[Proposal] = field(default_factory=list)
    order: list[int] = field(default_factory=list)


def shown(reader: Reader, given: Sequence[Proposal], asked: Sequence[str], elsewhere: Sequence[str] = ()) -> Shown:
    """What the reader was shown of the proposals, over all its calls that were answered.

    `asked` are the texts of the conversation, which stand in every prompt; texts from `elsewhere` may stand there too.
    """
    told = Shown()
    wanted = [_words(one.text) for one in given]
    besides = [_words(text) for text in asked]
    found: dict[str, int] = dict.fromkeys(wanted, 0)
    extra = [_words(text) for text in elsewhere]
    allowed = {
        text: wanted.count(text) + besides.count(text) * len(reader.answered) + extra.count(text) for text in found
    }
    best: list[str] = []
    for call in reader.answered:
        texts = [_words("\n".join(words for _, words in conversation(leaf))) for leaf in leaves(call)]
        places = [_places(text, (*wanted, *besides, *best)) for text in texts]
        for text in found:
            found[text] += min((len(place[text]) for place in places), default=0)
            allowed[text] += best.count(text)
        told.order += _order(wanted, places[0]) if places else []
        best.append(_words(call.end.text or "") if call.end else "")
    for one, text in zip(given, wanted, strict=True):
        if not text:
            continue  # without a word there is nothing to look for
        needed = wanted.count(text) + besides.count(text)
        if found[text] < needed:
            (told.partial if _begins(text, reader) else told.missing).append(one)
        elif found[text] > allowed[text] and len(text.split()) >= 5:  # fewer words may stand there by chance
            told.repeated.append(one)
    return told


def _labelled(node: Node, mixture: str, place: str) -> Iterator[tuple[str, str]]:
    start = node.start
    inside = f" of {mixture}" if mixture else ""
    if start.role == "proposer" and start.layer is not None:
        place = f" (layer {start.layer}{inside})"
    elif start.role in ("aggregator", "judge"):
        place = f" ({start.role}{inside})"
    yield start.span, f"{start.model}{place}"
    if layers(node) and start.parent is not None:
        mixture = start.model
    for child in node.children:
        yield from _labelled(child, mixture, place)


def _plain(node: Node) -> Iterator[Node]:
    """The calls below a node, out of the sections that only hold them."""
    for child in node.children:
        yield from _plain(child) if child.start.role == "section" else (child,)


def _words(text: str) -> str:
    """The words alone: a prompt may quote, indent or number a text, and break up its control tokens."""
    return " ".join(re.findall(r"\w+", re.sub(r"\\[nrt\"]", " ", text)))


def _places(told: str, texts: Sequence[str]) -> dict[str, list[int]]:
    """Where each text stands. One that stands inside a longer one does not count."""
    places: dict[str, list[int]] = {}
    for text in sorted(set(texts), key=len, reverse=True):
        pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
        places[text] = [match.start() for match in pattern.finditer(told)] if text else []
        if text:
            told = pattern.sub(lambda match: "\0" * len(match[0]), told)
    return places


def _order(wanted: Sequence[str], places: Mapping[str, list[int]]) -> list[int]:
    """The numbers of the proposals in the order they stand, of those that stand there exactly once."""
    single = [(places[text][0], n) for n, text in enumerate(wanted) if wanted.count(text) == len(places[text]) == 1]
    return [number for _, number in sorted(single)]


def _begins(text: str, reader: Reader) -> bool:
    """Whether at least the beginning of a text stands in what the reader was sent."""
    start = text[: max(20, len(text) // 4)]
    sent = (_words("\n".join(w for _, w in conversation(leaf))) for call in reader.answered for leaf in leaves(call))
    return len(start) < len(text) and any(start in told for told in sent)
