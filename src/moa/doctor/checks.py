"""The checks of the doctor. Each is a function that reads the evidence of a run and yields its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from .. import notes
from ..errors import MoaError
from ..mixture.adaptive_timeout import AdaptiveTimeout
from ..mixture.mixture import Mixture
from ..model import Model, WrapperModel, info
from ..model import leaves as single_models
from ..trace.tree import AnyNote, Node, Trace
from ..trace.views import layers
from ..types import Message, Request, Response, estimate_tokens
from .evidence import Evidence, Reader, Stage, conversation, leaves, presence

Outcome = Literal["ok", "warn", "fail"]

ROOM = 1024
"""Tokens of a long answer, unless `max_tokens` is set."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: its subject, the finding and the fix."""

    outcome: Outcome
    what: str
    seen: str = ""
    fix: str = ""

    @property
    def lines(self) -> list[str]:
        seen = f" ({self.seen})" if self.outcome == "ok" else f": {self.seen}"
        line = f"{self.outcome:<4} {self.what}{seen if self.seen else ''}"
        return [line, f"     {self.fix}"] if self.fix else [line]


ok, warn, fail = partial(Check, "ok"), partial(Check, "warn"), partial(Check, "fail")


@dataclass
class Case:
    """A canary, the model that it was sent to, and the result."""

    model: Model
    request: Request
    trace: Trace
    streamed: str = ""  # the answer as it was streamed
    response: Response | None = None
    error: MoaError | None = None

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence(self.trace)

    @property
    def calls(self) -> list[Node]:
        """All calls to a single model."""
        return self.evidence.calls

    @property
    def answered(self) -> list[Node]:
        return [call for call in self.calls if call.end and call.error is None]

    def notes(self, kind: type[AnyNote]) -> Iterator[tuple[Node, AnyNote]]:
        for node in self.trace.root.walk() if self.trace.root else ():
            yield from ((node, note) for note in node.notes_of(kind))


def _answer(case: Case) -> Iterator[Check]:
    """There is an answer, it is the aggregator's, and the streamed text is the same."""
    if case.response is None:
        yield fail(f"{case.model.name} did not answer", str(case.error).partition("\n")[0])
        return
    text = " ".join(case.response.text.split())
    yield ok(f"{case.model.name} answers", f"{case.trace.time:.2f} s: {text[:60]}{'…' * (len(text) > 60)}")
    if case.streamed and case.streamed != case.response.text:
        yield fail("the streamed text is not the answer", f"{case.streamed[:60]!r}")
    stage = next((s for s in case.evidence.stages if s.number is None and s.mixture == case.model.name), None)
    if stage is not None and case.trace.root and case.trace.root.start.model == stage.mixture:
        yield _origin(case.response, stage)


def _origin(response: Response, stage: Stage) -> Check:
    """Return where the answer comes from."""
    failures = [call.error for reader in stage.readers for call in reader.calls if call.error]
    if failures and not any(reader.answered for reader in stage.readers):
        return fail("the aggregator did not answer", failures[-1])
    if response.fallback:
        return warn("the aggregation is flawed", response.fallback)
    answer = response.text
    texts = [call.text for reader in stage.readers for call in reader.answered]
    final = [call.text for reader in stage.readers for call in reader.answered if call.start.answer]
    if answer in (final[-1:] or texts):
        return ok("the answer is the aggregator's")
    chosen = [proposal.model for proposal in stage.given if proposal.text == answer]
    if chosen and not final:
        return ok("the answer is one of the proposals, unchanged", f"of {chosen[0]}")
    if texts:
        return fail("the answer is not the text of the aggregator's model", f"it wrote {(final or texts)[-1][:60]!r}")
    return warn("no model aggregated", "the answer is made of the proposals by other means")


def _called(case: Case) -> Iterator[Check]:
    """Every proposer of every layer that began was called and answered."""
    called, uncalled = _counted(case.model, case.trace.root) if case.trace.root else ([], [])
    for label in uncalled:
        yield fail("a proposer was not called", label)
    for node, note in case.notes(notes.ProposalLost):
        yield fail(f"{note.model} (layer {node.start.layer}) was lost", note.error)
    if called and not uncalled:
        yield ok("every proposer was called", f"{len(called)} of {len(called)}")


def _counted(model: Model, node: Node) -> tuple[list[str], list[str]]:
    """Return the proposers that were called, and those that were not, at any depth."""
    while isinstance(model, WrapperModel):
        model = model.inner
    if not isinstance(model, Mixture):
        return [], []
    called: list[str] = []
    uncalled: list[str] = []
    inner: list[tuple[Model, Node]] = []
    began = {layer.number: layer for layer in layers(node)}
    for number, layer in enumerate(model.layers, 1):
        if number not in began:
            continue  # an earlier layer failed, which is reported
        calls = {_index(call): call for call in began[number].calls}
        for index, proposer in enumerate(layer.proposers):
            (called if index in calls else uncalled).append(f"{proposer.name} (layer {number} of {model.name})")
            if index in calls:
                inner.append((proposer, calls[index]))
    for reader in model.aggregator.models:
        inner += [(reader, child) for child in node.children if child.start.model == reader.name][-1:]
    for part, call in inner:
        below = _counted(part, call)
        called += below[0]
        uncalled += below[1]
    return called, uncalled


def _index(call: Node) -> int | str:
    """Return the index of a proposer in its layer, or its span where it has none."""
    return call.start.span if call.start.index is None else call.start.index


def _side_by_side(case: Case) -> Iterator[Check]:
    """The proposers of a layer run concurrently."""
    widths: list[int] = []
    alone = False
    for node in case.trace.root.walk() if case.trace.root else ():
        for layer in layers(node):
            firsts = {_index(call): call for call in reversed(layer.calls)}.values()
            ended = min((call.end.time for call in firsts if call.end), default=0.0)
            late = [call for call in firsts if call.start.time >= ended]
            if late and ended - min(call.start.time for call in firsts) >= 0.02:  # shorter times are not conclusive
                alone = True
                outcome: Outcome = "fail" if len(late) == len(firsts) - 1 else "warn"
                yield Check(
                    outcome,
                    f"the proposers of layer {layer.number} do not all run concurrently",
                    f"{late[-1].start.model} began after another had ended",
                )
            widths.append(len(firsts))
    waits = [note.seconds for _, note in case.notes(notes.Dequeued)]
    if waits:
        seen = f"{len(waits)} calls were queued, up to {max(waits):.2f} s"
        yield warn("a concurrency limit delays proposers", seen, "raise max_concurrency if possible")
    elif widths and not alone and max(widths) > 1:
        yield ok("the proposers of a layer run concurrently", f"up to {max(widths)} at once")


def _mixing(case: Case) -> Iterator[Check]:
    """Every reader of the next stage is sent every proposal: whole, once, and in the same order for all."""
    asked = [message.text for message in case.request.messages]
    for stage in case.evidence.stages:
        inside = "" if case.trace.root and stage.mixture == case.trace.root.start.model else f" of {stage.mixture}"
        who = f"the aggregator{inside}" if stage.number is None else f"layer {stage.number}{inside}"
        if not stage.readers:
            continue  # no model was called, see _origin
        found = [
            (reader, presence(reader, stage.given, asked, case.evidence.elsewhere(stage)))
            for reader in stage.readers
            if reader.answered
        ]
        problems = 0
        for reader, seen in found:
            name = f"the aggregator{inside}" if stage.number is None else reader.label
            early = stage.number is None and _another_read_all(reader, stage, asked)
            for proposal in seen.missing:
                problems += 1
                if early:
                    yield warn(f"{name} was not shown the proposal of {proposal.model} itself", reader.label)
                else:
                    yield fail(f"{name} was not shown the proposal of {proposal.model}", f"asked: {reader.label}")
            for proposal in seen.partial:
                problems += 1
                yield fail(f"{name} was shown only a part of the proposal of {proposal.model}", reader.label)
            for proposal in seen.repeated:
                problems += 1
                yield fail(f"{name} was shown the proposal of {proposal.model} more than once", reader.label)
        orders = {tuple(seen.order) for _, seen in found if not (seen.missing or seen.partial)}
        if len(orders) > 1 and stage.number is not None:
            problems += 1
            yield fail(f"the proposers of {who} were shown the proposals in different orders")
        if found and not problems:
            order = next(iter(orders), ())
            way = "once, in order" if list(order) == sorted(order) else "once, in another order"
            to = f", to each of {len(found)}" if stage.number is not None and len(found) > 1 else ""
            yield ok(f"{who} was shown every proposal", f"{len(stage.given)} of {len(stage.given)}{to}, {way}")


def _another_read_all(reader: Reader, stage: Stage, asked: Sequence[str]) -> bool:
    """Return whether another model of the aggregator was sent everything, as a judge that reports to the writer is."""
    others = [other for other in stage.readers if other is not reader and other.answered]
    return reader.writes_the_answer and any(not presence(other, stage.given, asked).missing for other in others)


def _conversation(case: Case) -> Iterator[Check]:
    """The caller's system message and history reach every call unchanged."""
    system, *turns = case.request.messages
    proposals = sorted((proposal.text for proposal in case.evidence.proposals), key=len, reverse=True)
    intact = 0
    for call in case.calls:
        problems = list(_differences(conversation(call), system, turns, proposals))
        intact += not problems
        for outcome, problem in problems:
            yield Check(outcome, f"{case.evidence.label(call)} {problem}")
    if case.calls and intact == len(case.calls):
        yield ok("the system message and the history reach every call", f"{intact} of {intact}")


def _differences(
    sent: Sequence[tuple[str, str]], system: Message, turns: Sequence[Message], proposals: Sequence[str]
) -> Iterator[tuple[Outcome, str]]:
    """Yield how a conversation as it was sent differs from the caller's."""
    own = [(role, _without(text, proposals)) for role, text in sent]  # a proposal may quote its request
    if not any(system.text in text for role, text in sent if role in ("system", "developer")):
        if any(system.text in text for _, text in sent):
            yield "warn", "was sent the system message in another role"
        else:
            yield "fail", "was sent without the system message"
    elif (count := sum(text.count(system.text) for _, text in own)) > 1:
        yield "fail", f"was sent the system message {count} times"
    positions: list[int] = []
    for turn in turns:
        found = [n for n, (role, text) in enumerate(sent) if role == turn.role and text.startswith(turn.text)]
        if found:
            positions.append(found[0])
        elif any(turn.text in text for _, text in sent):
            yield "fail", f"was sent the conversation as text, not turn by turn: {turn.role}: {turn.text!r}"
        else:
            yield "fail", f"was sent without a part of the history: {turn.role}: {turn.text!r}"
        if sum(turn.text in text for role, text in own if role not in ("system", "developer")) > 1:
            yield "fail", f"was sent a part of the history more than once: {turn.role}: {turn.text!r}"
    if positions != sorted(positions):
        yield "fail", "was sent the history in another order"


def _without(text: str, proposals: Sequence[str]) -> str:
    for proposal in proposals:
        text = text.replace(proposal, "") if proposal else text
    return text


def _context(case: Case) -> Iterator[Check]:
    """Prompts fit the context windows, with room for a long answer."""
    fix = "choose a model with a larger context window, or fewer proposers"
    tight = False
    for _, note in case.notes(notes.ReferenceDropped):
        tight = True
        yield fail(f"the proposal of {note.model} was left out", note.reason, fix)
    for reader in dict.fromkeys(note.model for _, note in case.notes(notes.ReferencesWindowed)):
        tight = True
        yield fail(
            f"the context window of {reader} is too small",
            "even the canary's proposals do not fit at once, so it reads a few at a time",
            fix,
        )
    windows = {single.name: info(single).context_window for single in single_models(case.model)}
    fullest: dict[str, tuple[int, Node]] = {}
    for call in case.answered:
        fullest[call.start.model] = max(
            fullest.get(call.start.model, (0, call)), (_size(call), call), key=lambda x: x[0]
        )
    for name, (size, call) in fullest.items():
        window = windows.get(name)
        limit = call.start.request.max_tokens if call.start.request else None
        if window is not None and window - size < (limit or ROOM):
            tight = True
            yield warn(
                f"{name} has little room for a long answer",
                f"{size} of {window} tokens are the prompt, and {limit or ROOM} may be needed",
                fix,
            )
    yield from _longest_proposals(case, windows)
    unknown = [name for name in fullest if windows.get(name) is None]
    if unknown:
        yield warn("context windows are unknown", ", ".join(unknown), "set context_window of the provider")
    elif fullest and not tight:
        name, (size, _) = min(fullest.items(), key=lambda item: (windows[item[0]] or 0) - item[1][0])
        yield ok("every prompt fits its context window", f"the tightest: {name}, {size} of {windows[name]}")


def _longest_proposals(case: Case, windows: dict[str, int | None]) -> Iterator[Check]:
    """Proposals of the maximum length fit at once, too."""
    longest = {call.start.model: call.start.request.max_tokens for call in case.answered if call.start.request}
    for stage in case.evidence.stages:
        most = sum(longest.get(proposal.model) or 0 for proposal in stage.given)
        for reader in stage.readers:
            for name in dict.fromkeys(leaf.start.model for call in reader.answered for leaf in leaves(call)):
                window = windows.get(name)
                if window is not None and most > window:
                    seen = f"{len(stage.given)} proposals may have {most} tokens, its window {window}"
                    yield warn(f"{name} may have to read proposals a few at a time", seen)


def _size(call: Node) -> int:
    """Return the tokens of a prompt, as counted by the provider if known."""
    if call.usage and call.usage.input_tokens:
        return call.usage.input_tokens
    return sum(estimate_tokens(text) + 4 for _, text in conversation(call))


def _prices(case: Case) -> Iterator[Check]:
    """The cost of the calls is known."""
    unpriced = dict.fromkeys(c.start.model for c in case.answered if c.usage is None or c.usage.cost is None)
    if unpriced:
        fix = "set price = { input = ..., output = ... } of the provider, in US dollars per million tokens"
        yield warn("prices are unknown, and so is the cost", ", ".join(unpriced), fix)
    elif case.answered:
        total = sum(call.usage.cost or 0 for call in case.answered if call.usage)
        yield ok("prices are known", f"the canary cost ${total:.4f}" if total else "it cost nothing")


def _reach(case: Case) -> Iterator[Check]:
    """Every provider answers. Reports its latency."""
    providers: dict[str, list[Node]] = {}
    for call in case.calls:
        provider, colon, _ = call.start.model.partition(":")
        providers.setdefault(provider if colon else call.start.model, []).append(call)
    for provider, calls in providers.items():
        good = [call for call in calls if call.end and call.error is None]
        if not good:
            yield fail(f"{provider} does not answer", next((c.error for c in calls if c.error), "") or "")
            continue
        took = sorted(call.end.time - call.start.time - _waited(call) for call in good if call.end)
        words = sorted(c.first_word - c.start.time - _waited(c) for c in good if c.first_word is not None)
        first = f", first token after {words[0]:.2f} s" if words else ""
        count = f"{len(good)} of {len(calls)} calls" if len(calls) > 1 else "1 call"
        span = f"{took[0]:.2f} to {took[-1]:.2f} s" if len(took) > 1 else f"{took[0]:.2f} s"
        yield Check("ok" if len(good) == len(calls) else "warn", f"{provider} answers", f"{count}, {span}{first}")


def _waited(call: Node) -> float:
    return sum((note.seconds for note in call.notes_of(notes.Dequeued)), 0.0)


def _timeouts(case: Case) -> Iterator[Check]:
    """Reports the adaptive timeouts."""
    if not isinstance(case.model, Mixture):
        return
    for number, layer in enumerate(case.model.layers, 1):
        if isinstance(layer.timeout, AdaptiveTimeout):
            learned = layer.timeout.learned(dict.fromkeys(model.name for model in layer.proposers))
            timeouts = (f"{model} {seconds:.1f} s from {count} answers" for model, (count, seconds) in learned.items())
            yield ok(f"the timeouts of layer {number} are adaptive", ", ".join(timeouts))


def _remarks(case: Case) -> Iterator[Check]:
    """Reports truncated answers, retries, fallbacks and dropped options."""
    for call in case.answered:
        if call.end and call.end.finish_reason == "length":
            fix = "raise its max_tokens, or limit its reasoning"
            yield warn(f"{case.evidence.label(call)} was cut off by max_tokens", "", fix)
    for node, retry in case.notes(notes.Retry):
        yield warn(f"{case.evidence.label(node)} was retried", retry.error)
    for node, fallback in case.notes(notes.Fallback):
        if fallback.model is None:
            yield warn("the fallback of the aggregator answered", fallback.error)
        elif not layers(node):  # else a proposal is the answer, see _origin
            yield warn(f"a fallback answered for {fallback.model}", fallback.error)
    for node, dropped in case.notes(notes.OptionsDropped):
        options = ", ".join(dropped.options)
        yield warn(f"{case.evidence.label(node)} does not support every option", f"not sent: {options}")


CHECKS = (
    _answer,
    _called,
    _side_by_side,
    _mixing,
    _conversation,
    _context,
    _prices,
    _reach,
    _timeouts,
    _remarks,
)
