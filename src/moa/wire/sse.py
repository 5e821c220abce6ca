"""Decodes server-sent events from bytes, as the standard has it (WHATWG HTML, section 9.2.6), and no more than that.

It works on bytes, so a UTF-8 character split between two packets is whole before it is decoded.
"""

from __future__ import annotations

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Decoder:
    """A decoder that is fed packets and returns the `data` of every event they complete.

    An event without its blank line at the end of the stream is dropped, as the standard demands.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._first = True
        self._after_return = False

    def feed(self, packet: bytes) -> list[bytes]:
        """Return the data of each event that ends in this packet."""
        if self._after_return and packet.startswith(b"\n"):
            self._after_return, packet = False, packet[1:]  # the second half of a split line end
        if not packet:
            return []
        self._after_return = packet.endswith(b"\r")
        lines = (self._rest + packet).splitlines()
        self._rest = b"" if packet.endswith((b"\n", b"\r")) else lines.pop()
        if self._first and lines:
            self._first, lines[0] = False, lines[0].removeprefix(_BYTE_ORDER_MARK)
        complete: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    complete.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data: "):
                data.append(line[6:])
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
        return complete
