"""The five words between dispatcher and launcher: what they mean and how they are written. Rules only.

A unix socket of type SOCK_SEQPACKET; one JSON object per message, descriptors beside it as SCM_RIGHTS. One
request at a time, each answered once; the launcher never speaks unasked, except to turn away a second client.

    dispatcher                                             launcher
    {"word":"OPEN"}                                   ->
                     <-  {"ok":true,"stream":ID}                      + write end
    {"word":"PUT","stream":ID,"key":K,"note":{..}}    -> + descriptor
                     <-  {"ok":true}
    {"word":"DROP","stream":ID,"key":K}               ->
                     <-  {"ok":true}
    {"word":"GET"}                                    ->
                     <-  {"ok":true,"stream":ID|null,
                          "entries":[{"key":K,"note":{..}}, ..]}      + write end, one descriptor per entry
    {"word":"END","stream":ID}                        ->
                     <-  {"ok":true}

What cannot be done is {"ok":false,"error":".."}; after a message that is none of these the launcher closes.
OPEN's answer comes when the analyzer has opened the pipe; nothing else may be asked before it. `K` is one of
`KEYS`, so that a keeper never holds more than three entries, and no message more than four descriptors. File
names in notes are text (`runtime.names.to_text`).

One message of the launcher's socket, with its descriptors: sent, received, never half of it.

Descriptors are received with the close-on-exec flag, so that no analyzer can inherit one. What comes cut (too
long, or with too many descriptors) is thrown away whole, the descriptors closed.
"""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pcapdj.runtime.errors import PcapdjError

MESSAGE_LIMIT_BYTES = 64 * 1024  # a name of 4095 bytes that is no UTF-8 takes 24 KiB as JSON
KEYS = ("header", "file", "batch")
RECORD_KEYS = frozenset({"file", "batch"})  # what is put under these has records; a header has none
DESCRIPTOR_LIMIT = 1 + len(KEYS)  # the write end and every entry
NO_SUCH_STREAM = "no such stream"
BUSY = "busy"
_STREAM_ID_LIMIT = 64


class BadMessage(PcapdjError):
    """A message that is none of the protocol's: the connection is closed on it."""


class Word(StrEnum):
    """What a dispatcher can ask for."""

    OPEN = "OPEN"
    PUT = "PUT"
    DROP = "DROP"
    GET = "GET"
    END = "END"


@dataclass(frozen=True, slots=True)
class Request:
    """What the dispatcher asks; `stream`, `key` and `note` are empty where the word has none."""

    word: Word
    stream: str = ""
    key: str = ""
    note: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the launcher answers.

    Args:
        error: empty if it was done.
        stream: the open stream; None if there is none or the word does not tell.
        entries: key and note of what the keeper holds, in the order of the descriptors after the write end.
        pid: who has the place, where the error is `BUSY`.
    """

    error: str = ""
    stream: str | None = None
    entries: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    pid: int | None = None


def encode_request(request: Request) -> bytes:
    """Return the message of a request.

    Raises:
        BadMessage: the note is too long for one message.
    """
    fields = {"word": request.word.value, "stream": request.stream, "key": request.key, "note": request.note}
    return _encode({name: value for name, value in fields.items() if value or name == "word"})


def decode_request(message: bytes, descriptors: int) -> Request:
    """Return the request that a message and its number of descriptors make.

    Raises:
        BadMessage: it is no request, or comes with the wrong number of descriptors.
    """
    fields = _decode(message)
    word = _word(fields.get("word"))
    expected = 1 if word is Word.PUT else 0
    if descriptors != expected:
        raise BadMessage(f"{word} comes with {descriptors} descriptors instead of {expected}")
    return Request(word, _stream(word, fields), _key(word, fields), _note(fields))


def encode_reply(reply: Reply) -> bytes:
    """Return the message of a reply.

    Raises:
        BadMessage: the notes are too long for one message.
    """
    if reply.error:
        told = {"ok": False, "error": reply.error}
        return _encode(told if reply.pid is None else told | {"pid": reply.pid})
    entries = [{"key": key, "note": note} for key, note in reply.entries]
    return _encode({"ok": True, "stream": reply.stream, "entries": entries})


def decode_reply(message: bytes) -> Reply:
    """Return the reply that a message holds.

    Raises:
        BadMessage: it is no reply.
    """
    fields = _decode(message)
    if fields.get("ok") is not True:
        pid = fields.get("pid")
        return Reply(error=str(fields.get("error") or "refused"), pid=pid if isinstance(pid, int) else None)
    stream = fields.get("stream")
    if not isinstance(stream, str | None):
        raise BadMessage("the stream's id is no text")
    return Reply(stream=stream, entries=_entries(fields.get("entries", [])))


def _encode(fields: Mapping[str, object]) -> bytes:
    message = json.dumps(fields, separators=(",", ":")).encode("ascii")
    if len(message) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(f"a message of {len(message)} bytes is above the {MESSAGE_LIMIT_BYTES} allowed")
    return message


def _decode(message: bytes) -> dict[str, Any]:
    if len(message) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(f"a message is above the {MESSAGE_LIMIT_BYTES} bytes allowed")
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as exc:
        raise BadMessage("a message is no JSON") from exc
    if not isinstance(fields, dict):
        raise BadMessage("a message is no JSON object")
    return fields


def _word(value: object) -> Word:
    try:
        return Word(str(value))
    except ValueError as exc:
        raise BadMessage("a message has none of the five words") from exc


def _stream(word: Word, fields: Mapping[str, object]) -> str:
    if word in (Word.OPEN, Word.GET):
        return ""
    stream = fields.get("stream")
    if not isinstance(stream, str) or not 0 < len(stream) <= _STREAM_ID_LIMIT:
        raise BadMessage(f"{word} names no stream")
    return stream


def _key(word: Word, fields: Mapping[str, object]) -> str:
    if word not in (Word.PUT, Word.DROP):
        return ""
    key = fields.get("key")
    if key not in KEYS:
        raise BadMessage(f"{word} has none of the keys {', '.join(KEYS)}")
    return str(key)


def _note(fields: Mapping[str, object]) -> Mapping[str, Any]:
    note = fields.get("note") or {}
    if not isinstance(note, dict):
        raise BadMessage("a note is no JSON object")
    return note


def _entries(value: object) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    if not isinstance(value, list) or len(value) > len(KEYS):
        raise BadMessage("the entries are no list")
    if not all(isinstance(entry, dict) and entry.get("key") in KEYS for entry in value):
        raise BadMessage("an entry has none of the keys")
    return tuple((entry["key"], _note(entry)) for entry in value)


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of one message, and the descriptors that came with it; the receiver closes them."""

    content: bytes
    descriptors: tuple[int, ...]

    def discard(self) -> None:
        """Close what came with it."""
        close_all(self.descriptors)


def send(connection: socket.socket, content: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message; the descriptors stay open here too.

    Raises:
        OSError: the other end is gone, or does not read.
    """
    socket.send_fds(connection, [content], list(descriptors), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)


def receive(connection: socket.socket) -> Message | None:
    """Return the next message; None if the other end closed.

    Raises:
        BadMessage: it was cut, since it had too many bytes or descriptors.
        BlockingIOError: there is none yet.
        OSError: the connection broke.
    """
    try:
        content, descriptors, flags, _ = _received(connection)
    except ConnectionResetError:  # told once, before what was sent last: the other end closed unread requests
        content, descriptors, flags, _ = _received(connection)
    message = Message(content, tuple(descriptors))
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        message.discard()
        raise BadMessage("a message has too many bytes or descriptors")
    if not content:  # the end of the connection; an empty message is none of the protocol's either
        message.discard()
        return None
    return message


def _received(connection: socket.socket) -> tuple[bytes, list[int], int, object]:
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    return socket.recv_fds(connection, MESSAGE_LIMIT_BYTES, DESCRIPTOR_LIMIT, flags)


def close_all(descriptors: Sequence[int]) -> None:
    """Close the descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)
