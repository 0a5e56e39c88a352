"""The conversation of one HTTP connection."""

import hashlib
import sys
from collections.abc import Sequence

import pytest

from pcapdj.summary.http1 import NOT_READ, REQUESTS_LIMIT, Conversation, ResponseBody
from pcapdj.summary.http_message import HEAD_LIMIT_BYTES, ChunkedBody
from pcapdj.summary.http_work import BODY_BYTES, HEAD_BYTES, LINE_BYTES, SEGMENT_BYTES, WorkFund

GET = b"GET /one HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


def bodies_of(
    requests: Sequence[bytes], responses: Sequence[bytes], *, end: str | None = None
) -> list[ResponseBody]:
    """Return the bodies that ended after these pieces; `end` closes the server's direction."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)
    for piece in requests:
        conversation.data(0, piece, 1)
    for time_ns, piece in enumerate(responses, start=2):
        conversation.data(1, piece, time_ns)
    if end is not None:
        conversation.end(1, end)
    return finished


def test_a_response_is_the_same_whole_or_byte_by_byte() -> None:
    """The cuts between segments change only the time of the last packet."""
    response = OK + b"abc"

    (whole,) = bodies_of([GET], [response])
    (by_byte,) = bodies_of(
        [GET[at : at + 1] for at in range(len(GET))],
        [response[at : at + 1] for at in range(len(response))],
    )

    assert whole.digest.hexdigest() == by_byte.digest.hexdigest() == hashlib.sha256(b"abc").hexdigest()
    assert whole.request == by_byte.request
    assert (whole.size_bytes, whole.reason, by_byte.reason) == (3, "", "")


def test_pipelined_requests_are_paired_with_their_responses_in_order() -> None:
    """With several messages in one segment; the response to HEAD has no body."""
    requests = (
        GET + b"HEAD /two HTTP/1.1\r\n\r\n" + b"POST /3 HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET " + GET
    )

    finished = bodies_of([requests], [OK + b"abc" + OK + OK + b"def" + OK + b"ghi"])

    assert [(each.request.method, each.request.uri) for each in finished if each.request] == [
        ("GET", "/one"),
        ("POST", "/3"),
        ("GET", "/one"),
    ]


def test_an_interim_response_answers_no_request() -> None:
    """After 100 Continue the request still waits for its response."""
    (body,) = bodies_of([GET], [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"abc"])

    assert body.request is not None


def test_a_response_without_its_request_is_reported_without_it() -> None:
    """The capture began too late for the request."""
    (body,) = bodies_of([], [OK + b"abc"])

    assert (body.request, body.reason) == (None, "")


@pytest.mark.parametrize(("end", "reason"), [("", ""), ("connection reset", "connection reset")])
def test_a_body_without_length_ends_with_the_connection(end: str, reason: str) -> None:
    """It is complete after a FIN, and incomplete otherwise."""
    (body,) = bodies_of([GET], [b"HTTP/1.0 200 OK\r\n\r\nab", b"cd"], end=end)

    assert (body.size_bytes, body.reason) == (4, reason)


def test_the_reason_of_an_incomplete_body_has_the_missing_bytes() -> None:
    """And why no more bytes follow."""
    (body,) = bodies_of([GET], [OK + b"a"], end="end of stream")

    assert body.reason == "end of stream; ended 2 bytes before its Content-Length of 3"


def test_a_gap_in_a_body_of_known_length_affects_only_that_object() -> None:
    """The next message on the connection is complete."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)
    conversation.data(0, GET + GET, 1)
    conversation.data(1, OK, 2)

    conversation.gap(1, 3)
    conversation.data(1, OK + b"abc", 3)

    assert [each.reason for each in finished] == ["3 bytes are missing in the capture", ""]
    assert finished[1].request is not None


def test_after_a_gap_beyond_the_body_bytes_are_ignored_until_a_message_begins() -> None:
    """Pairing with requests ends."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)
    conversation.data(0, GET + GET, 1)
    conversation.data(1, OK + b"a", 2)

    conversation.gap(1, 100)
    conversation.data(1, b"rest of something", 3)
    conversation.data(1, OK + b"abc", 4)

    assert [each.reason for each in finished] == ["100 bytes are missing in the capture", ""]
    assert finished[1].request is None


def test_broken_chunks_end_the_object_with_the_reason() -> None:
    """The end of the body is unknown."""
    (body,) = bodies_of(
        [GET], [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n"]
    )

    assert (body.size_bytes, body.reason) == (3, "a chunk's size is not a number")


def test_of_an_incomplete_line_of_chunk_framing_little_is_kept() -> None:
    """Thousands of connections may have one; a long extension or trailer is read all the same."""
    lines = [
        b"3;" + b"x" * 4000 + b"\r\n",
        b"abc\r\n",
        b"0\r\n",
        b"Digest: " + b"y" * 4000 + b"\r\n",
        b"\r\n",
    ]
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(lines)
    pieces = [message[at : at + 100] for at in range(0, len(message), 100)]

    assert [(each.size_bytes, each.reason) for each in bodies_of([GET], pieces)] == [(3, "")]

    body = ChunkedBody()
    body.feed(b"3;" + b"x" * 4000)
    assert sum(sys.getsizeof(getattr(body, name)) for name in body.__slots__) < 500


def test_a_contradictory_length_makes_the_object_incomplete() -> None:
    """The bytes are reported, with the fault of their framing."""
    (body,) = bodies_of([GET], [b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"], end="")

    assert body.reason == "Content-Length '1, 2' is not a number"


def test_an_empty_body_is_no_object() -> None:
    """As that of a redirect."""
    assert bodies_of([GET], [b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"], end="") == []


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (GET, b"HTTP/1.1 101 Switching\r\n\r\n"),
    ],
)
def test_bytes_of_another_protocol_are_ignored(request_line: bytes, answer: bytes) -> None:
    """Inside a tunnel even bytes that look like HTTP."""
    assert bodies_of([request_line], [answer, OK + b"abc"], end="") == []


@pytest.mark.parametrize("size", [HEAD_LIMIT_BYTES + 1, 10 * HEAD_LIMIT_BYTES])
def test_a_head_without_end_is_not_kept(size: int) -> None:
    """The held bytes stay within the limit."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)

    for _ in range(0, size, 1000):
        conversation.data(0, b"GET / HTTP/1.1\r\n" + b"a" * 984, 1)

    assert conversation.held_bytes <= HEAD_LIMIT_BYTES


def test_unanswered_requests_beyond_the_limit_are_not_kept() -> None:
    """Pairing ends, and the queue of requests is freed."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)

    conversation.data(0, GET * REQUESTS_LIMIT, 1)
    assert conversation.held_bytes > 0

    conversation.data(0, GET, 1)
    assert conversation.held_bytes == 0


def test_release_frees_everything_but_unfinished_bodies() -> None:
    """They continue after it."""
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)
    conversation.data(0, GET + b"GET /unfinished", 1)
    conversation.data(1, OK + b"a", 2)

    conversation.release()
    conversation.data(1, b"bc", 3)

    assert conversation.held_bytes == 0
    assert [each.reason for each in finished] == [""]


SMALL = b"HTTP/1.1 200\nContent-Length:1\n\nA"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY_PRICE = HEAD_BYTES + BODY_BYTES


def fund_for(price_bytes: int, *segments: bytes) -> WorkFund:
    """Return a fund with what these segments of one connection do not pay of this price."""
    return WorkFund(price_bytes - sum(map(len, segments)) - SEGMENT_BYTES * (len(segments) - 1))


@pytest.mark.parametrize(
    ("messages", "price_bytes"),
    [
        (SMALL * 40, BODY_PRICE * 40),
        (b"HTTP/1.1 204\n\n" * 40, HEAD_BYTES * 40),
        (b"GET / HTTP/1.1\n\n" * 40, HEAD_BYTES * 40),
        (CHUNKED + b"1\nA\n" * 40, BODY_PRICE + LINE_BYTES * 80),
        (CHUNKED + b"\n" * 200, BODY_PRICE + LINE_BYTES * 200),
        (CHUNKED + b"0\n" + b"a\n" * 100, BODY_PRICE + LINE_BYTES * 101),
        ((CHUNKED + b"1\nA\n" * 40 + b"no size\n"), BODY_PRICE + LINE_BYTES * 81),
    ],
    ids=["responses", "empty responses", "requests", "chunks", "blank lines", "trailer", "broken chunks"],
)
def test_a_connection_is_read_as_far_as_its_work_is_paid(messages: bytes, price_bytes: int) -> None:
    """Each kind of step costs: with one byte less in the fund the connection is not read to its end."""
    for missing_bytes in (0, 1):
        fund = fund_for(price_bytes - missing_bytes, messages)
        conversation = Conversation(lambda _: None, fund)

        conversation.data(1, messages, 1)

        assert fund.unread_connections == missing_bytes


def test_before_the_limit_a_connection_is_read_as_without_one() -> None:
    """The bodies are the same; those behind the limit are missing, and neither direction is read."""
    answers = SMALL * 10
    unlimited, limited = list[ResponseBody](), list[ResponseBody]()
    for found, fund in ((unlimited, WorkFund()), (limited, fund_for(BODY_PRICE * 6, answers))):
        conversation = Conversation(found.append, fund)
        conversation.data(1, answers, 1)
        conversation.data(0, GET * 50, 2)
        conversation.data(1, OK + b"abc" * 200, 3)
        conversation.end(1, "")

    sums = [(each.digest.hexdigest(), each.reason) for each in limited]
    assert sums == [(each.digest.hexdigest(), each.reason) for each in unlimited[:6]]
    assert len(unlimited) == 11
    assert conversation.held_bytes == 0


def test_an_open_body_ends_at_the_limit_with_the_reason() -> None:
    """It has the bytes until then; what follows changes nothing."""
    chunks = CHUNKED + b"1\nA\n" * 1000
    fund, found = fund_for(BODY_PRICE, CHUNKED), list[ResponseBody]()
    conversation = Conversation(found.append, fund)

    conversation.data(1, chunks, 1)
    conversation.data(1, b"1\nA\n0\n\n", 2)
    conversation.end(1, "")

    assert [(each.size_bytes, each.reason) for each in found] == [(1000, NOT_READ)]
    assert fund.unread_connections == 1
