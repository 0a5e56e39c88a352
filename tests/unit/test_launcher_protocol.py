"""The launcher's protocol: each message is decoded as it was encoded, garbage is refused."""

import json

import pytest
from support.rows import each_row

from pcapdj.launcher_protocol import (
    BUSY,
    KEYS,
    MESSAGE_LIMIT_BYTES,
    BadMessage,
    LauncherReply,
    LauncherRequest,
    RequestType,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from pcapdj.runtime.safe_text import to_name, to_text

REQUESTS = [
    (LauncherRequest(RequestType.OPEN), 0),
    (LauncherRequest(RequestType.GET), 0),
    (LauncherRequest(RequestType.PUT, "5ca1ab1e", "file", {"name": "/in/1.pcap", "offset": 7}), 1),
    (LauncherRequest(RequestType.DROP, "5ca1ab1e", "batch-0"), 0),
    (LauncherRequest(RequestType.END, "5ca1ab1e"), 0),
]


@each_row(("request_", "descriptors"), REQUESTS)
def test_a_request_is_decoded_as_it_was_encoded(request_: LauncherRequest, descriptors: int) -> None:
    """All five requests, with all their fields."""
    assert decode_request(encode_request(request_), descriptors) == request_


@each_row(
    "reply",
    [
        LauncherReply(),
        LauncherReply(stream="5ca1ab1e", entries=(("header", {}), ("file", {"name": "x"}))),
        LauncherReply(stream="5ca1ab1e", pauses=False),
        LauncherReply(error="no such stream"),
        LauncherReply(error=BUSY, pid=4711),
    ],
)
def test_a_reply_is_decoded_as_it_was_encoded(reply: LauncherReply) -> None:
    """Each kind of reply, with all its fields."""
    assert decode_reply(encode_reply(reply)) == reply


def test_a_stream_pauses_if_its_launcher_does_not_know_the_field() -> None:
    """It is of an earlier version; its analyzer may be any."""
    assert decode_reply(b'{"ok":true,"stream":"5ca1ab1e","entries":[]}').pauses


def test_the_longest_name_of_any_bytes_fits_into_a_note() -> None:
    """A name of 4095 bytes that is no UTF-8 comes back byte for byte."""
    name = b"\xff" * 4095

    message = encode_request(LauncherRequest(RequestType.PUT, "5ca1ab1e", "file", {"name": to_text(name)}))

    assert len(message) <= MESSAGE_LIMIT_BYTES
    note = decode_request(message, 1).note
    assert to_name(note["name"]) == name


def test_a_note_that_is_too_long_is_not_sent() -> None:
    """The sender gets the error, not the launcher."""
    with pytest.raises(BadMessage, match="above"):
        encode_request(
            LauncherRequest(RequestType.PUT, "5ca1ab1e", "file", {"name": "x" * MESSAGE_LIMIT_BYTES})
        )


@each_row(
    "message",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b"[" * 60_000,
        b'{"word":"RUN"}',
        b'{"word":["OPEN"]}',
        b'{"word":"END"}',
        b'{"word":"END","stream":7}',
        b'{"word":"END","stream":"' + b"x" * 65 + b'"}',
        b'{"word":"DROP","stream":"a","key":"../file"}',
        b'{"word":"DROP","stream":"a","key":["file"]}',
        b'{"word":"GET","note":[1]}',
        b'{"word":"GET","x":"' + b"y" * MESSAGE_LIMIT_BYTES + b'"}',
    ],
)
def test_garbage_instead_of_a_request_is_refused(message: bytes) -> None:
    """Garbage of any kind is one error, on which the connection is closed."""
    with pytest.raises(BadMessage):
        decode_request(message, 0)


@pytest.mark.parametrize("descriptors", [0, 2, 4])
def test_put_comes_with_exactly_one_descriptor(descriptors: int) -> None:
    """A missing one and a second one are mistakes of the sender."""
    message = encode_request(LauncherRequest(RequestType.PUT, "5ca1ab1e", "file"))

    with pytest.raises(BadMessage, match="descriptors instead of 1"):
        decode_request(message, descriptors)


def test_only_put_comes_with_a_descriptor() -> None:
    """A descriptor beside another request is never stored."""
    with pytest.raises(BadMessage, match="1 descriptor instead of 0"):
        decode_request(encode_request(LauncherRequest(RequestType.GET)), 1)


@each_row(
    "message",
    [
        b"3",
        b'{"ok":true,"stream":3}',
        b'{"ok":true,"entries":{}}',
        b'{"ok":true,"entries":[3]}',
        json.dumps({"ok": True, "entries": [{"key": "file"}] * (len(KEYS) + 1)}).encode(),
        b'{"ok":true,"entries":[{"key":"other"}]}',
    ],
)
def test_garbage_instead_of_a_reply_is_refused(message: bytes) -> None:
    """The dispatcher trusts no reply that it cannot decode."""
    with pytest.raises(BadMessage):
        decode_reply(message)


def test_a_reply_that_is_not_ok_is_an_error_whatever_else_is_in_it() -> None:
    """Also without a reason."""
    assert decode_reply(b'{"stream":"5ca1ab1e"}').error == "refused"
