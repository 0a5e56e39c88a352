"""Messages of HTTP/1.x: heads, framing and bodies."""

import pytest
from support.rows import each_row

from pcapdj.summary.http_message import (
    NO_BODY,
    Body,
    ChunkedBody,
    CloseBody,
    Framing,
    FramingError,
    LengthBody,
    begins_message,
    body_of,
    may_begin_message,
    parse_head,
    request_framing,
    response_framing,
    switches_protocol,
)

CHUNKED = b"4\r\nabcd\r\n1c;name=value\r\nefghijklmnopqrstuvwxyz012345\r\n0\r\nTrailer: x\r\n\r\n"


def fed(body: Body, *pieces: bytes) -> tuple[bytes, bytes | None]:
    """Return the content and the rest after feeding these pieces."""
    content, rest = b"", None
    for piece in pieces:
        parts, rest = body.feed(piece)
        content += b"".join(parts)
    return content, rest


@each_row(
    "data",
    [b"GET / HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404\r\nA: b"],
)
def test_a_complete_first_line_begins_a_message(data: bytes) -> None:
    """Of requests and of responses."""
    assert begins_message(data)
    assert all(may_begin_message(data[:size]) for size in range(1, len(data) + 1))


@each_row(
    "data",
    [
        b"",
        b"\x16\x03\x01",
        b"220 mail\r\n",
        b"EHLO x\r\n",
        b"GET / HTTP/2\r\n",
        b"HTTP/1.1 2x0 OK\r\n",
        b"get / HTTP/1.1\r\n",
    ],
)
def test_other_protocols_begin_no_message(data: bytes) -> None:
    """TLS, mail and invalid first lines are rejected at once."""
    assert not may_begin_message(data)


def test_fields_are_unfolded_joined_and_lower_case() -> None:
    """Also of old line folding and repeated fields."""
    head = parse_head(
        b"GET /a HTTP/1.1\r\n hOst : x.example\r\nContent-Type: 1\r\n  2\r\nno colon\r\ncontent-type: 3: 4"
        b"\r\nX-Host: no\r\nHost-X: no\r\nno host: no\r\nContent-Encoding:"
    )

    assert head.fields == {"host": "x.example", "content-type": "1 2, 3: 4", "content-encoding": ""}
    assert head.request().uri == "/a"
    assert not head.is_response


@each_row(
    ("fields", "framing"),
    [
        (b"Content-Length: 5", Framing(length_bytes=5)),
        (b"Content-Length: 5, 5", Framing(length_bytes=5)),
        (b"Content-Length: 5\r\nTransfer-Encoding: gzip, Chunked", Framing(is_chunked=True)),
        (b"Transfer-Encoding: gzip", Framing()),
        (b"A: b", Framing()),
    ],
)
def test_the_fields_of_a_response_declare_how_its_body_ends(fields: bytes, framing: Framing) -> None:
    """Transfer-Encoding before Content-Length; without both it ends with the connection."""
    assert response_framing(parse_head(b"HTTP/1.1 200 OK\r\n" + fields), "GET") == framing


@each_row("length", [b"-1", b"5, 6", b"", b"0x10", b"9" * 30, "\u0663".encode()])
def test_an_invalid_length_is_a_fault(length: bytes) -> None:
    """It is named, and the body ends with the connection."""
    framing = response_framing(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: " + length), "GET")

    assert framing.length_bytes is None
    assert "is not a number" in framing.fault


@each_row(("status", "method"), [(b"200", "HEAD"), (b"100", "GET"), (b"204", None), (b"304", "GET")])
def test_some_responses_never_have_a_body(status: bytes, method: str | None) -> None:
    """HEAD, 1xx, 204 and 304 have none, whatever Content-Length is."""
    head = parse_head(b"HTTP/1.1 " + status + b" X\r\nContent-Length: 5")

    assert response_framing(head, method) == NO_BODY


def test_a_request_without_a_length_has_no_body() -> None:
    """A request cannot be ended by closing the connection."""
    assert request_framing(parse_head(b"GET / HTTP/1.1")) == NO_BODY
    assert request_framing(parse_head(b"POST / HTTP/1.1\r\nContent-Length: 3")) == Framing(length_bytes=3)


def test_tunnels_and_upgrades_end_the_conversation() -> None:
    """After CONNECT or 101 the bytes are another protocol's."""
    ok, switching = parse_head(b"HTTP/1.1 200 OK"), parse_head(b"HTTP/1.1 101 Switching")

    assert switches_protocol(ok, "CONNECT")
    assert switches_protocol(switching, "GET")
    assert not switches_protocol(ok, "GET")


@pytest.mark.parametrize("tail", [b"", b"HTTP/1.1 200 OK"])
def test_chunks_are_the_same_whole_or_byte_by_byte(tail: bytes) -> None:
    """Without chunk framing and trailer; the bytes after the body are returned."""
    whole = fed(ChunkedBody(), CHUNKED + tail)
    by_byte = fed(ChunkedBody(), *(CHUNKED[at : at + 1] for at in range(len(CHUNKED))))

    assert whole == (b"abcdefghijklmnopqrstuvwxyz012345", tail)
    assert by_byte == (b"abcdefghijklmnopqrstuvwxyz012345", b"")


@each_row("data", [b"xyz\r\n", b"-1\r\n", b"4\r\nabcdXX\r\n", b"1" * 5000, b"f" * 16 + b"\r\n"])
def test_broken_chunk_framing_is_an_error(data: bytes) -> None:
    """A size that is not a number, or a line that is too long."""
    with pytest.raises(FramingError):
        fed(ChunkedBody(), data)


def test_a_body_of_known_length_has_exactly_that_length() -> None:
    """The bytes after it belong to the next message."""
    body = LengthBody(5)

    assert fed(body, b"abc") == (b"abc", None)
    assert body.unfinished() == "ended 2 bytes before its Content-Length of 5"
    assert fed(body, b"defg") == (b"de", b"fg")
    assert body.unfinished() == ""


def test_a_gap_counts_towards_a_known_length() -> None:
    """The framing survives a gap inside the body, not a longer one."""
    assert LengthBody(5).skip(5)
    assert not LengthBody(5).skip(6)
    assert CloseBody().skip(10**9)


def test_chunks_survive_a_gap_only_inside_one_of_them() -> None:
    """After a gap that may contain a size the framing is lost."""
    body = ChunkedBody()
    fed(body, b"5\r\nab")

    assert body.skip(3)
    assert fed(body, b"\r\n0\r\n\r\n") == (b"", b"")
    assert not ChunkedBody().skip(1)


def test_the_framing_decides_the_kind_of_body() -> None:
    """Chunks, a length, or the end of the connection."""
    assert isinstance(body_of(Framing(is_chunked=True)), ChunkedBody)
    assert isinstance(body_of(Framing(length_bytes=1)), LengthBody)
    assert isinstance(body_of(Framing()), CloseBody)
