"""A page of a report: one HTML file without scripts, readable without network, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page. `body` is HTML."""

    title: str
    body: str


def page(title: str, verdict: str, tone: str, sections: Sequence[Section]) -> str:
    """The page: what it comes to first, `tone` saying whether that is "good", "bad", "open" or "plain"."""
    style = files("moa.evals.report").joinpath("page.css").read_text("utf-8")
    parts = "".join(
        f"<section><h2>{escape(section.title)}</h2>{section.body}</section>" for section in sections if section.body
    )
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    said = f'<p class="verdict {tone}">{escape(verdict)}</p>'
    body = f"<main><h1>{escape(title)}</h1>{said}{parts}</main>"
    return f"<!doctype html><html lang=en>{head}<style>{style}</style>{body}</html>\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of plain texts; `numbers` are the columns that hold figures."""

    def cell(kind: str, place: int, text: str) -> str:
        return f"<{kind}{' class=n' if place in numbers else ''}>{escape(text)}</{kind}>"

    head = "".join(cell("th", place, text) for place, text in enumerate(header))
    body = "".join(f"<tr>{''.join(cell('td', place, text) for place, text in enumerate(row))}</tr>" for row in rows)
    return f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def items(texts: Sequence[str]) -> str:
    """A list of plain texts, or nothing."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def folded(summary: str, body: str) -> str:
    """HTML that is shown when its summary is opened."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def quoted(text: str) -> str:
    """Somebody's words, as they are."""
    return f"<pre>{escape(text)}</pre>"
