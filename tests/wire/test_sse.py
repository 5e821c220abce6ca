"""Server-sent events, split into packets in any way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from moa.wire.sse import Decoder

BODY = 'data: {"text": "Grün 日本 🎈"}\n\ndata: second\n\n'.encode()
EVENTS = ['{"text": "Grün 日本 🎈"}'.encode(), b"second"]


def decoded(*packets: bytes) -> list[bytes]:
    decoder = Decoder()
    return [data for packet in packets for data in decoder.feed(packet)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_events_survive_a_split_at_every_byte_also_inside_a_character(line_end: bytes, start: bytes) -> None:
    stream = start + BODY.replace(b"\n", line_end)
    for place in range(len(stream) + 1):
        assert decoded(stream[:place], stream[place:]) == EVENTS, place


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_events_survive_packets_of_a_few_bytes(line_end: bytes, size: int) -> None:
    stream = b"\xef\xbb\xbf" + BODY.replace(b"\n", line_end)
    places = [*range(0, len(stream), size), len(stream)]
    assert decoded(*(stream[start:end] for start, end in pairwise(places))) == EVENTS


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_an_event_is_given_with_the_packet_that_ends_it_not_with_the_next(line_end: bytes) -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: now" + line_end * 2) == [b"now"]
    assert decoder.feed(b"data: then" + line_end * 2) == [b"then"]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data:x\n\n", [b"x"]),
        (b"data:  x\n\n", [b" x"]),
        (b"data: x\ndata: y\n\n", [b"x\ny"]),
        (b"data\n\n", [b""]),
        (b"data:\n\n", [b""]),
        (b": keep-alive\n\ndata: x\n\n", [b"x"]),
        (b"data: x\n: in between\ndata: y\n\n", [b"x\ny"]),
        (b"event: message\nid: 7\nretry: 10\ndata: x\n\n", [b"x"]),
        (b"id: 7\n\ndata: x\n\n", [b"x"]),
        (b"database: no\ndata: x\n\n", [b"x"]),
        (b"\n\n\ndata: x\n\n\n\n", [b"x"]),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"data: x", []),
        (b"data: x\n", []),
        (b"", []),
    ],
)
def test_fields_comments_and_blank_lines_mean_what_the_standard_says(stream: bytes, data: list[bytes]) -> None:
    assert decoded(stream) == data


def test_a_byte_order_mark_is_only_one_at_the_very_start() -> None:
    assert decoded(b"\n\xef\xbb\xbfdata: x\n\n") == []


def test_a_line_of_a_megabyte_in_small_packets_is_whole() -> None:
    text = b"x" * 1_000_000
    stream = b"data: " + text + b"\n\n"
    assert decoded(*(stream[place : place + 1400] for place in range(0, len(stream), 1400))) == [text]
