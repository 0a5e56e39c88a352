"""The three ways a body is delimited."""

import pytest

from pcapdj.summary.body import Body, ChunkedBody, CloseBody, FramingError, LengthBody, body_of
from pcapdj.summary.message_head import Framing

CHUNKED = b"4\r\nabcd\r\n1c;name=value\r\nefghijklmnopqrstuvwxyz012345\r\n0\r\nTrailer: x\r\n\r\n"


def fed(body: Body, *pieces: bytes) -> tuple[bytes, bytes | None]:
    """Return the content and the rest after feeding these pieces."""
    content, rest = b"", None
    for piece in pieces:
        parts, rest = body.feed(piece)
        content += b"".join(parts)
    return content, rest


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
