"""Server-sent events out of bytes, to the letter of the standard (WHATWG HTML, section 9.2.6), and no more than that.

Works on bytes, so that a UTF-8 character split between two packets is whole again before it is decoded.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class Decoder:
    """Feed it packets as they come; it gives the `data` of every event they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._start = True

    def feed(self, packet: bytes) -> list[bytes]:
        """The data of each event that ends in this packet."""
        text = self._rest + packet
        if self._start and len(text) >= 3:
            self._start = False
            text = text.removeprefix(b"\xef\xbb\xbf")
        complete: list[bytes] = []
        position = 0
        for end in _LINE_END.finditer(text):
            if end[0] == b"\r" and end.end() == len(text):
                break  # its line feed may be the next byte
            self._line(text[position : end.start()], complete)
            position = end.end()
        self._rest = text[position:]
        return complete

    def close(self) -> list[bytes]:
        """What a stream still holds when it ends without the last blank line."""
        complete: list[bytes] = []
        self._line(self._rest.rstrip(b"\r"), complete)
        self._line(b"", complete)
        self._rest = b""
        return complete

    def _line(self, line: bytes, complete: list[bytes]) -> None:
        if not line:
            if self._data:
                complete.append(b"\n".join(self._data))
                self._data = []
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
