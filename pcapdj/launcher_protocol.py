"""The protocol between dispatcher and launcher: five requests, their replies, and how both are transferred.

A unix socket of type SOCK_SEQPACKET; one JSON object per message, descriptors beside it as SCM_RIGHTS. The
dispatcher sends one request at a time and the launcher replies to each once. The launcher sends nothing on
its own, except that it turns away a second client.

    dispatcher                                             launcher
    {"word":"OPEN","version":V}                       ->
                     <-  {"ok":true,"stream":ID,"pauses":true}        + write end
    {"word":"PUT","stream":ID,"key":K,"note":{..}}    -> + descriptor
                     <-  {"ok":true}
    {"word":"DROP","stream":ID,"key":K}               ->
                     <-  {"ok":true}
    {"word":"GET","version":V}                        ->
                     <-  {"ok":true,"stream":ID|null,"pauses":true,
                          "entries":[{"key":K,"note":{..}}, ..]}      + write end, one descriptor per entry
    {"word":"END","stream":ID}                        ->
                     <-  {"ok":true}

A request that fails is answered {"ok":false,"error":".."}. OPEN, GET and all replies have the protocol's
version V; a dispatcher of another version is refused, and the stream ended in order. After a message that is
not one of the five requests the launcher closes the connection. It replies to OPEN when the analyzer has
opened the pipe; until then no other request is allowed. `K` is one of `KEYS`, so a stream has five entries at
most, and a message six descriptors. File names in notes are text (`runtime.safe_text.to_text`).

Descriptors are received with the close-on-exec flag, so that no analyzer can inherit one. A message that the
kernel truncated (too long, or with too many descriptors) is discarded whole, and its descriptors are closed.

Both also read the beginning of a record of the note, from which the launcher finds the batch that is being
sent (`feed.note` has the rest), and the file about a stream that ended in order (`EndedStream`).

    record  0       4      6      8        16      48      52       56
            | CRC32 | size | kinds | number | token | batch | length | ..
            CRC32 of the `size` bytes behind it; token: of the queue entry, filled up with zeros
"""

import base64
import json
import os
import socket
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pcapdj.runtime.descriptors import receive_descriptors, send_descriptors
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.foreign_json import MOST_BYTES, decode_object
from pcapdj.runtime.numbers import counted

MESSAGE_LIMIT_BYTES = 64 * 1024  # a name of 4095 bytes that is not UTF-8 takes 24 KiB as JSON
PROTOCOL_VERSION = 4  # 3 did not count packets; 2 had memory files as batches; 1 had no version, no note
HEADER_KEY = "header"
NOTE_KEY = "note"
BATCH_KEYS = ("batch-0", "batch-1")
RECORDS_KEY = "file"  # stored before the first record of a capture file is sent
KEYS = (HEADER_KEY, RECORDS_KEY, NOTE_KEY, *BATCH_KEYS)
DESCRIPTOR_LIMIT = 1 + len(KEYS)  # the write end and every entry
NO_SUCH_STREAM = "no such stream"
BUSY = "busy"
OTHER_VERSION = "other version"
NOTE_BYTES = 4096  # the page that the note is in
RECORD_BYTES = 2048  # each of its two records
NOTE_HEAD = struct.Struct("<IHHQ32sII")
CHECKSUM_BYTES = 4
_STREAM_ID_LIMIT = 64


class BadMessage(PcapdjError):
    """A message that breaks the protocol: the receiver closes the connection."""


class RequestType(StrEnum):
    """What a dispatcher can request; the field "word" of a message."""

    OPEN = "OPEN"
    PUT = "PUT"
    DROP = "DROP"
    GET = "GET"
    END = "END"


_FIRST_REQUESTS = (RequestType.OPEN, RequestType.GET)


@dataclass(frozen=True, slots=True)
class LauncherRequest:
    """One request; `stream`, `key` and `note` are empty where the type has none.

    `version` is the sender's; only OPEN and GET transfer it.
    """

    type: RequestType
    stream: str = ""
    key: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class LauncherReply:
    """The launcher's reply to one request.

    Args:
        error: why the request failed; empty if it succeeded.
        stream: the id of the open stream; None if there is none, or if the request does not ask for it.
        entries: key and note of each stored descriptor, in the order of the descriptors after the write end.
        pid: of the connected dispatcher, where the error is `BUSY`.
        pauses: whether the stream pauses after its header, since its analyzer may be one that loses what
            follows at once; also where a reply does not have the field.
        version: of the launcher's protocol.
    """

    error: str = ""
    stream: str | None = None
    entries: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    pid: int | None = None
    pauses: bool = True
    version: int = PROTOCOL_VERSION


def encode_request(request: LauncherRequest) -> bytes:
    """Return the request as a message.

    Raises:
        BadMessage: the note is too long for one message.
    """
    fields: dict[str, object] = {"word": request.type.value, "stream": request.stream}
    fields |= {"key": request.key, "note": request.note}
    if request.type in _FIRST_REQUESTS:
        fields["version"] = request.version
    return _encode({name: value for name, value in fields.items() if value or name == "word"})


def decode_request(message: bytes, descriptors: int) -> LauncherRequest:
    """Return the request in a message that came with so many descriptors.

    Raises:
        BadMessage: it is not a request, or comes with the wrong number of descriptors.
    """
    fields = _decode(message)
    request_type = _type_in(fields)
    expected = 1 if request_type is RequestType.PUT else 0
    if descriptors != expected:
        found = counted(descriptors, "descriptor")
        raise BadMessage(f"{request_type} comes with {found} instead of {expected}")
    stream, key = _stream_in(fields, request_type), _key_in(fields, request_type)
    version = _version_in(fields) if request_type in _FIRST_REQUESTS else PROTOCOL_VERSION
    return LauncherRequest(request_type, stream, key, _note_in(fields), version)


def encode_reply(reply: LauncherReply) -> bytes:
    """Return the reply as a message.

    Raises:
        BadMessage: the notes are too long for one message.
    """
    if reply.error:
        failed = {"ok": False, "error": reply.error, "version": reply.version}
        return _encode(failed if reply.pid is None else failed | {"pid": reply.pid})
    entries = [{"key": key, "note": note} for key, note in reply.entries]
    fields = {"ok": True, "stream": reply.stream, "entries": entries, "version": reply.version}
    return _encode(fields if reply.stream is None else fields | {"pauses": reply.pauses})


def decode_reply(message: bytes) -> LauncherReply:
    """Return the reply in a message.

    Raises:
        BadMessage: it is not a reply.
    """
    fields = _decode(message)
    if fields.get("ok") is not True:
        pid = fields.get("pid")
        error = str(fields.get("error") or "refused")
        pid = pid if isinstance(pid, int) else None
        return LauncherReply(error=error, pid=pid, version=_version_in(fields))
    stream = fields.get("stream")
    if not isinstance(stream, str | None):
        raise BadMessage("the stream's id is not a string")
    entries, pauses = _entries_in(fields), fields.get("pauses") is not False
    return LauncherReply(stream=stream, entries=entries, pauses=pauses, version=_version_in(fields))


def _encode(fields: Mapping[str, object]) -> bytes:
    message = json.dumps(fields, separators=(",", ":")).encode("ascii")
    if len(message) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(f"a message of {len(message)} bytes is above the {MESSAGE_LIMIT_BYTES} allowed")
    return message


def _decode(message: bytes) -> dict[str, Any]:
    if len(message) > MESSAGE_LIMIT_BYTES:
        raise BadMessage(f"a message is above the {MESSAGE_LIMIT_BYTES} bytes allowed")
    try:
        return decode_object(message)
    except ValueError as exc:
        raise BadMessage("a message is not a JSON object") from exc


def _type_in(fields: Mapping[str, object]) -> RequestType:
    try:
        return RequestType(str(fields.get("word")))
    except ValueError as exc:
        raise BadMessage("a message is not one of the five requests") from exc


def _stream_in(fields: Mapping[str, object], request_type: RequestType) -> str:
    if request_type in _FIRST_REQUESTS:
        return ""
    stream = fields.get("stream")
    if not isinstance(stream, str) or not 0 < len(stream) <= _STREAM_ID_LIMIT:
        raise BadMessage(f"{request_type} names no stream")
    return stream


def _key_in(fields: Mapping[str, object], request_type: RequestType) -> str:
    if request_type not in (RequestType.PUT, RequestType.DROP):
        return ""
    key = fields.get("key")
    if key not in KEYS:
        raise BadMessage(f"{request_type} names none of the keys {', '.join(KEYS)}")
    return str(key)


def _version_in(fields: Mapping[str, object]) -> int:
    version = fields.get("version", 1)
    return version if isinstance(version, int) else 0


def _note_in(fields: Mapping[str, object]) -> Mapping[str, Any]:
    note = fields.get("note") or {}
    if not isinstance(note, dict):
        raise BadMessage("a note is not a JSON object")
    return note


def _entries_in(fields: Mapping[str, object]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    entries = fields.get("entries", [])
    if not isinstance(entries, list) or len(entries) > len(KEYS):
        raise BadMessage(f"the entries are not a list of at most {len(KEYS)}")
    if not all(isinstance(entry, dict) and entry.get("key") in KEYS for entry in entries):
        raise BadMessage(f"an entry has none of the keys {', '.join(KEYS)}")
    return tuple((entry["key"], _note_in(entry)) for entry in entries)


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of one message, and the descriptors that came with it; the receiver closes them."""

    content: bytes
    descriptors: tuple[int, ...]

    def discard(self) -> None:
        """Close its descriptors."""
        close_descriptors(self.descriptors)


def send_message(connection: socket.socket, content: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message; the sender's descriptors stay open.

    Raises:
        OSError: the other end is gone, or does not read.
    """
    send_descriptors(connection, content, descriptors)


def receive_message(connection: socket.socket) -> Message | None:
    """Return the next message; None if the other end closed the connection.

    Raises:
        BadMessage: the kernel truncated it, since it had too many bytes or descriptors.
        BlockingIOError: there is none yet.
        OSError: the connection broke.
    """
    try:
        received = receive_descriptors(connection, MESSAGE_LIMIT_BYTES, DESCRIPTOR_LIMIT)
    except ConnectionResetError:  # comes once, before the last messages: the other end left requests unread
        received = receive_descriptors(connection, MESSAGE_LIMIT_BYTES, DESCRIPTOR_LIMIT)
    message = Message(received.content, tuple(received.descriptors))
    if received.is_cut:
        message.discard()
        raise BadMessage("a message has too many bytes or descriptors")
    if not message.content:  # the end of the connection; the protocol has no empty message
        message.discard()
        return None
    return message


def close_descriptors(descriptors: Sequence[int]) -> None:
    """Close the descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def version_sentence(*, dispatcher: int, launcher: int) -> str:
    """Return what is wrong, and what to restart."""
    older = "dispatcher" if dispatcher < launcher else "launcher (the consumer)"
    return f"The dispatcher has protocol version {dispatcher}, the launcher {launcher}: restart the {older}."


class NotedBatch(NamedTuple):
    """What both sides read of a record of the note: the batch that is being sent, or was sent last.

    Args:
        number: 1 for a stream's first batch.
        token: of the queue entry whose packets are in it.
        batch: 0 or 1.
        length_bytes: of its records.
        record: all of it; the rest is the dispatcher's.
    """

    number: int
    token: str
    batch: int
    length_bytes: int
    record: bytes


def noted_batch(page: bytes) -> NotedBatch | None:
    """Return the note's valid record with the higher number; None if there is none."""
    records = (checked_record(page[start : start + RECORD_BYTES]) for start in (0, RECORD_BYTES))
    return max((each for each in records if each), default=None)


def checked_record(data: bytes) -> NotedBatch | None:
    """Return the record that the data begins with; None if its checksum is wrong."""
    if len(data) < NOTE_HEAD.size:
        return None
    checksum, size_bytes, _, number, token, batch, length_bytes = NOTE_HEAD.unpack_from(data)
    record = data[: CHECKSUM_BYTES + size_bytes]
    is_whole = NOTE_HEAD.size <= len(record) == CHECKSUM_BYTES + size_bytes
    if not number or not is_whole or zlib.crc32(record[CHECKSUM_BYTES:]) != checksum:
        return None
    text = token.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return NotedBatch(number, text, batch, length_bytes, record)


@dataclass(frozen=True, slots=True)
class EndedStream:
    """A stream that ended in order in the middle of a file: its analyzer read and kept all of it.

    Args:
        stream: its id.
        token: of the queue entry whose file is continued in the next stream.
        record: the note's record as base64: the place in the file, and the packets before it.
        header: the note stored with the stream's header: its format.
        file: the note stored with the file.
    """

    stream: str
    token: str
    record: str
    header: Mapping[str, Any]
    file: Mapping[str, Any]

    @property
    def record_bytes(self) -> bytes:
        """The record of the note."""
        return base64.b64decode(self.record)


def ended_stream_path(socket_path: Path) -> Path:
    """Return where the launcher of this socket writes the stream that ended in order."""
    return socket_path.with_name(f"{socket_path.name}.ended")


def read_ended_stream(socket_path: Path) -> EndedStream | None:
    """Return the stream that the launcher of this socket ended last in order, in the middle of a file."""
    try:
        descriptor = os.open(ended_stream_path(socket_path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            is_ours = os.fstat(descriptor).st_uid in (os.geteuid(), 0)  # the socket may be in /tmp
            content = file.read(MOST_BYTES) or b""  # None: a named pipe that is open elsewhere
    except OSError:  # usually there is none
        return None
    return decode_ended_stream(content) if is_ours else None


def encode_ended_stream(ended: EndedStream) -> bytes:
    """Return the content of the file."""
    return json.dumps(asdict(ended)).encode("ascii")


def decode_ended_stream(content: bytes) -> EndedStream | None:
    """Return what the file's content describes; None if it is not valid."""
    try:
        ended = EndedStream(**decode_object(content))
        is_valid = checked_record(ended.record_bytes) is not None
    except (ValueError, TypeError, AttributeError):
        return None
    return ended if is_valid and isinstance(ended.file, dict) and isinstance(ended.header, dict) else None
