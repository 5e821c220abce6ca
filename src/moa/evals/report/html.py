"""HTML of a report: one file without scripts or network access, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from . import svg


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page. `body` is HTML."""

    title: str
    body: str


def page(title: str, verdict: str, tone: str, sections: Sequence[Section]) -> str:
    """Return a page that starts with a verdict; `tone` is "good", "bad", "open" or "plain". Empty sections are
    omitted."""
    style = svg.style() + files("moa.evals.report").joinpath("page.css").read_text("utf-8")
    parts = "".join(
        f"<section><h2>{escape(section.title)}</h2>{section.body}</section>" for section in sections if section.body
    )
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    sentence = f'<p class="verdict {tone}">{escape(verdict)}</p>'
    body = f"<main><h1>{escape(title)}</h1>{sentence}{parts}</main>"
    return f"<!doctype html><html lang=en>{head}<style>{style}</style>{body}</html>\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table of plain texts. `numbers` are the indexes of numeric columns."""

    def cell(kind: str, column: int, text: str) -> str:
        return f"<{kind}{' class=n' if column in numbers else ''}>{escape(text)}</{kind}>"

    head = "".join(cell("th", column, text) for column, text in enumerate(header))
    body = "".join(f"<tr>{''.join(cell('td', column, text) for column, text in enumerate(row))}</tr>" for row in rows)
    return f"<div class=wide tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def bullets(texts: Sequence[str]) -> str:
    """Return a list of plain texts, or "" for none."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def details(summary: str, body: str) -> str:
    """Return HTML that is hidden until its summary is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def preformatted(text: str) -> str:
    """Return a text with its line breaks."""
    return f"<pre>{escape(text)}</pre>"
