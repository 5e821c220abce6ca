"""Calls a model with references: with all at once if they fit its context window, otherwise with a few at a time.

A few at a time is the sliding window of Self-MoA-Seq (Li et al. 2025, arXiv 2502.00674): the best answer so far and
the next few references make the next best answer. A reference is never cut. One that fits no window is dropped, and the
trace shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import notes
from ..errors import ContextOverflow
from ..model import Model, info, unwrap_defaults
from ..prompts.prompt import Prompt
from ..span import CallSpec, Span
from ..types import Request, Response


@dataclass(frozen=True)
class PendingPrompt:
    """A prompt without its references: they are still being written."""

    model: Model
    prompt: Prompt
    request: Request


async def ask_with_references(
    model: Model,
    prompt: Prompt,
    request: Request,
    references: Sequence[Response],
    span: Span,
    spec: CallSpec,
) -> Response:
    """Return the model's answer to the request with references. The response carries those it has read.

    Raises `ContextOverflow` if the request alone, or with any single reference, is too long.
    """
    room = _room(model, request)
    if room is not None and _size(model, request) > room:
        raise ContextOverflow(
            f"{model.name}: the prompt is about {_size(model, request)} tokens, but the context window has "
            f"{info(model).context_window}, including the answer; shorten it or use a model with a larger window",
            model=model.name,
            window=info(model).context_window,
        )
    if not references:
        return await span.call(model, request, spec)

    used: list[Response] = []
    best: tuple[Response, ...] = ()
    rest = list(references)
    most = len(rest)
    while rest:
        taken = min(most, _fitting(model, prompt, request, best, rest, room))
        final = taken == len(rest)
        if not final:
            read_before = len(references) - len(rest)
            span.note(notes.ReferencesWindowed(model.name, taken, len(references), read_before))
        if not taken:
            _drop(rest.pop(0), model, span)
            continue
        with_references = prompt(request, (*best, *rest[:taken]))
        try:
            answer = await span.call(
                model,
                with_references,
                spec if final else replace(spec, is_answer=False, listener=None, text_filter=None),
            )
        except ContextOverflow:
            if taken == 1:
                _drop(rest.pop(0), model, span)
            else:  # the upstream counts more tokens than we do: half as many may fit
                most = taken // 2
            continue
        used += rest[:taken]
        rest = rest[taken:]
        best = (replace(answer, references=answer.references or tuple(used)),)
        if final:
            return best[0]
    if not best:
        raise ContextOverflow(
            f"{model.name}: none of the {len(references)} references fits the context window; "
            "use a model with a larger window, or limit the proposers' max_tokens",
            model=model.name,
            window=info(model).context_window,
        )
    if spec.is_answer and span.streaming:
        span.text(best[0].text)  # it was not known to be the last answer while it was written
    return best[0]


def _room(model: Model, request: Request) -> int | None:
    """Return the tokens that a prompt may have: the window without the answer. `None` if the window is unknown."""
    window = info(model).context_window
    if window is None:
        return None
    max_tokens = unwrap_defaults(model, request)[1].max_tokens
    return window - min(max_tokens or window // 8, window // 2)


def _size(model: Model, request: Request) -> int:
    """Return about how many tokens the model is sent, including its own instruction."""
    return unwrap_defaults(model, request)[1].size


def _fitting(
    model: Model,
    prompt: Prompt,
    request: Request,
    best: tuple[Response, ...],
    rest: Sequence[Response],
    room: int | None,
) -> int:
    """Return how many of the remaining references fit together with the best answer so far."""
    if room is None:
        return len(rest)
    count = len(rest)
    while count and _size(model, prompt(request, (*best, *rest[:count]))) > room:
        count -= 1
    return count


def _drop(reference: Response, model: Model, span: Span) -> None:
    span.note(notes.ReferenceDropped(reference.model, f"too long for the context window of {model.name}"))
