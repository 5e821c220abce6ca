"""Stores long texts once, named by their hash, however many messages or proposals contain them.

In stored JSON, `{"#": "<hash>"}` stands for a text, and `{"#": 12}` for one of 12 characters that was not stored. Keys
of the caller that begin with # get one more of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

SHORT = 64
"""Texts of fewer characters stand where they are."""

UNKEPT = "."
"""What stands for each character of a text that was not kept."""

_NAMES = frozenset(
    {"type", "run", "span", "parent", "role", "model", "kind", "finish_reason", "of", "skipped", "left_out"}
)
"""Where a string is not content but a name."""


@dataclass
class Texts:
    """The texts of one run on their way into the store by hash; `new` has those that are not written yet.

    A text that contains another one, such as a prompt with its references, is stored as the pieces around it.
    """

    new: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, str]:
        """The texts by their hashes."""
        return {name: text for text, name in self._known.items()}

    def folded(self, value: Any) -> Any:
        """Return the JSON value with each long text in it named by its hash."""
        if isinstance(value, str):
            return value if len(value) < SHORT else {"#": self._named(value)}
        if isinstance(value, list):
            return [self.folded(one) for one in value]
        if isinstance(value, dict):
            return {_escaped(key): self.folded(one) for key, one in value.items()}
        return value

    def _named(self, text: str) -> str:
        name = self._known.get(text)
        if name is None:
            name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            split = _split(text, sorted(self._known.items(), key=lambda known: -len(known[0])))
            joined = len(split) > 1
            self._known[text] = name
            self.new[name] = (json.dumps(split, ensure_ascii=False) if joined else text), joined
        return name


def _split(text: str, known: list[tuple[str, str]]) -> list[Any]:
    for place, (inner, name) in enumerate(known):
        before, found, after = text.partition(inner)
        if found:
            left = _split(before, known[place + 1 :]) if before else []
            return [*left, {"#": name}, *(_split(after, known[place:]) if after else [])]
    return [text]


def unfolded(value: Any, texts: Mapping[str, str]) -> Any:
    """Return the JSON value with the texts of these hashes put back."""
    if isinstance(value, list):
        return [unfolded(one, texts) for one in value]
    if isinstance(value, dict):
        if "#" in value:
            named = value["#"]
            return texts[named] if isinstance(named, str) else UNKEPT * named
        return {key[1:] if key.startswith("#") else key: unfolded(one, texts) for key, one in value.items()}
    return value


def pieces(body: str) -> list[str]:
    """Return the hashes of the texts that a joined one is made of."""
    return [piece["#"] for piece in json.loads(body) if isinstance(piece, dict)]


def stored_texts(db: sqlite3.Connection, number: int) -> dict[str, tuple[str, bool]]:
    """Return all texts of a run as they are stored."""
    found = db.execute(
        "SELECT hex(hash), body, joined FROM uses JOIN texts ON texts.number = uses.text WHERE run = ?", (number,)
    )
    return {name.lower(): (body, bool(joined)) for name, body, joined in found}


def whole(stored: Mapping[str, tuple[str, bool]]) -> dict[str, str]:
    """Return the texts by hash, with joined ones put together."""
    texts: dict[str, str] = {}

    def text(name: str) -> str:
        if name not in texts:
            body, joined = stored[name]
            texts[name] = (
                "".join(piece if isinstance(piece, str) else text(piece["#"]) for piece in json.loads(body))
                if joined
                else body
            )
        return texts[name]

    for name in stored:
        text(name)
    return texts


def shape(value: Any, key: str = "") -> Any:
    """Return the JSON value with the length in place of every string that is content."""
    if isinstance(value, str):
        return value if key in _NAMES else {"#": len(value)}
    if isinstance(value, list):
        return [shape(one, key) for one in value]
    if isinstance(value, dict):
        return {_escaped(name): shape(one, name) for name, one in value.items()}
    return value


def _escaped(key: str) -> str:
    return f"#{key}" if key.startswith("#") else key
