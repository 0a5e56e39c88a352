"""The reading of HTTP heads."""

import pytest

from pcapdj.summary.message_head import (
    NO_BODY,
    Framing,
    begins_message,
    may_begin_message,
    parse_head,
    request_framing,
    response_framing,
    switches_protocol,
)


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
    assert "is no length" in framing.fault


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
