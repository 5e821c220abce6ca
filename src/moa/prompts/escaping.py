"""Escaping of references, so that text of one model cannot pose as anything else in the prompt of another.

A reference is data from a model that may have been given any instruction. It stands between delimiters with a key that
it does not contain, and the control tokens of chat templates are broken up in it. So it cannot end its own block, pose
as another reference, or speak in another role. Nothing else in it is changed, and nothing is cut.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

from ..types import Request, Response

_CONTROL = re.compile(
    r"<[|｜][^<>\n]{0,64}[|｜]>|\[\|[^\[\]\n]{0,64}\|\]|<</?SYS>>|</?s>|<(?:start|end)_of_(?:turn|image)>"
    r"|<(?:bos|eos|pad|unk|sop|eop|eoh|eoa|mask)>|<(?:BOS|EOS)_TOKEN>|<(?:extra_id|reserved|SPECIAL)_\d+>|<seed:\w+>"
    r"|</?(?:tool_call|tool_response|think)>|<(?:beginning|end)_of_sentence>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_CONTENT|TOOL_RESULTS|ARGS|CALL_ID|THINK|gMASK)\]"
)

_REFERENCE = re.compile(
    r'<answer-(?P<key>[0-9a-f]{6,64}) number="(?P<number>\d{1,9})"[^<>\n]*>\n.*?\n</answer-(?P=key)>', re.DOTALL
)

_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Invisible characters that may be dropped on the way: zero width, direction, variation selectors, tags."""

_ALIKE = str.maketrans("аɑαᴀьᏏсϲᴄԁᏧеєᴇғϝ", "aaaabbcccddeeeff")
"""Letters of other alphabets that look like letters of a key."""


def delimited(key: str, number: int, text: str, attributes: str = "") -> str:
    """Return an escaped text between delimiters that carry the key."""
    return f'<answer-{key} number="{number}"{attributes}>\n{text}\n</answer-{key}>'


def position(prompt: str, reference: Response) -> int:
    """Return where a reference starts in a prompt that shows it, or -1."""
    return prompt.find(f">\n{escaped(reference.text)}\n</answer-")


def split_references(text: str) -> Iterator[tuple[int | None, str]]:
    """Yield a message in pieces: each reference with its delimiters and its number, and the text around them."""
    end = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > end:
            yield None, text[end : match.start()]
        yield int(match["number"]), match[0]
        end = match.end()
    if end < len(text):
        yield None, text[end:]


def escaped(text: str) -> str:
    """Return the text with a space in every control token.

    This includes tokens written with compatible letters or with invisible ones in between: the reader of the prompt may
    normalize them.
    """
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _INVISIBLE.search(text)):
        return _CONTROL.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    plain, positions = [], []
    for index, letter in enumerate(text):
        if not _INVISIBLE.match(letter):
            same = unicodedata.normalize("NFKC", letter)
            plain.append(same)
            positions += [index] * len(same)
    cuts = {positions[match.start()] for match in _CONTROL.finditer("".join(plain))}
    cuts |= {match.start() for match in _CONTROL.finditer(text)}
    return "".join(f"{letter} " if index in cuts else letter for index, letter in enumerate(text))


def _folded(text: str) -> str:
    """Return the text as the most lenient reader may normalize it: no invisible letters, no case, no look-alikes."""
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold().translate(_ALIKE)


def unused_key(request: Request, texts: Sequence[str]) -> str:
    """Return a short key that is in none of the texts. It depends on the conversation, so that prompts stay cached."""
    seed = "\0".join(f"{message.role}\0{message.text}" for message in request.messages)
    searched = [text.lower() if text.isascii() else f"{text.lower()}\n{_folded(text)}" for text in texts]
    for attempt in range(len(texts) + 2**16):
        key = hashlib.sha256(f"{attempt}\0{seed}".encode(errors="surrogatepass")).hexdigest()[:6]
        if not any(key in text for text in searched):
            return key
    return hashlib.sha256("\0".join((seed, *texts)).encode(errors="surrogatepass")).hexdigest()
