"""Messages of HTTP/1.x: heads, framing and bodies."""

import pytest

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


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404\r\nA: b"],
)
def test_a_whole_first_line_begins_a_message(data: bytes) -> None:
    """Requests and responses are known by their first line."""
    assert begins_message(data)
    assert all(may_begin_message(data[:size]) for size in range(1, len(data) + 1))


@pytest.mark.parametrize(
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
    """TLS, mail and broken first lines are turned down at once."""
    assert not may_begin_message(data)


def test_fields_are_folded_joined_and_lowered() -> None:
    """Old line folding and repeated fields are understood, names have no case."""
    head = parse_head(b"GET /a HTTP/1.1\r\nHost: x.example\r\nX: 1\r\n  2\r\nno colon\r\nx: 3")

    assert head.fields == {"host": "x.example", "x": "1 2, 3"}
    assert head.request().uri == "/a"
    assert not head.is_response


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        (b"Content-Length: 5", Framing(length_bytes=5)),
        (b"Content-Length: 5, 5", Framing(length_bytes=5)),
        (b"Content-Length: 5\r\nTransfer-Encoding: gzip, Chunked", Framing(is_chunked=True)),
        (b"Transfer-Encoding: gzip", Framing()),
        (b"A: b", Framing()),
    ],
)
def test_a_response_says_how_its_body_ends(fields: bytes, framing: Framing) -> None:
    """Transfer-Encoding comes before Content-Length, and without both the connection ends it."""
    assert response_framing(parse_head(b"HTTP/1.1 200 OK\r\n" + fields), "GET") == framing


@pytest.mark.parametrize("length", [b"-1", b"5, 6", b"", b"0x10", b"9" * 30, "\u0663".encode()])
def test_a_length_that_is_none_is_a_fault(length: bytes) -> None:
    """Nonsense and contradictions are named, and the body lasts until the connection closes."""
    framing = response_framing(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: " + length), "GET")

    assert framing.length_bytes is None
    assert "is not a number" in framing.fault


@pytest.mark.parametrize(
    ("status", "method"), [(b"200", "HEAD"), (b"100", "GET"), (b"204", None), (b"304", "GET")]
)
def test_some_responses_never_have_a_body(status: bytes, method: str | None) -> None:
    """HEAD, 1xx, 204 and 304 have none, whatever Content-Length says."""
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
    """Chunk framing and trailer are taken off, and what follows is handed back."""
    whole = fed(ChunkedBody(), CHUNKED + tail)
    by_byte = fed(ChunkedBody(), *(CHUNKED[at : at + 1] for at in range(len(CHUNKED))))

    assert whole == (b"abcdefghijklmnopqrstuvwxyz012345", tail)
    assert by_byte == (b"abcdefghijklmnopqrstuvwxyz012345", b"")


@pytest.mark.parametrize(
    "data", [b"xyz\r\n", b"-1\r\n", b"4\r\nabcdXX\r\n", b"1" * 5000, b"f" * 16 + b"\r\n"]
)
def test_broken_chunk_framing_is_an_error(data: bytes) -> None:
    """A size that is none, or a line without end, cannot be stepped over."""
    with pytest.raises(FramingError):
        fed(ChunkedBody(), data)


def test_a_known_length_takes_exactly_that() -> None:
    """The bytes behind the end belong to the next message."""
    body = LengthBody(5)

    assert fed(body, b"abc") == (b"abc", None)
    assert body.unfinished() == "ended 2 bytes before its Content-Length of 5"
    assert fed(body, b"defg") == (b"de", b"fg")
    assert body.unfinished() == ""


def test_a_gap_counts_towards_a_known_length() -> None:
    """The framing survives a gap inside the body, not one that reaches beyond it."""
    assert LengthBody(5).skip(5)
    assert not LengthBody(5).skip(6)
    assert CloseBody().skip(10**9)


def test_chunks_survive_a_gap_only_inside_one_of_them() -> None:
    """Where a size may be missing, the rest cannot be read."""
    body = ChunkedBody()
    fed(body, b"5\r\nab")

    assert body.skip(3)
    assert fed(body, b"\r\n0\r\n\r\n") == (b"", b"")
    assert not ChunkedBody().skip(1)


def test_the_framing_chooses_the_body() -> None:
    """Chunks, then a length, then the connection's end."""
    assert isinstance(body_of(Framing(is_chunked=True)), ChunkedBody)
    assert isinstance(body_of(Framing(length_bytes=1)), LengthBody)
    assert isinstance(body_of(Framing()), CloseBody)
