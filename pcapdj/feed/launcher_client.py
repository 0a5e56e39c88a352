"""The dispatcher's connection to the launcher: one request, one reply, every wait interruptible.

It opens no pipe and moves no byte of a capture; it hands over descriptors and gets some back. A launcher that
does not reply within two seconds counts as dead: a stream is never continued on a guess. After any error the
connection is closed, so that a late reply cannot be taken for the next one. When the launcher is lost the
stream is lost too, because the analyzer dies with the launcher.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pcapdj.launcher_protocol import (
    BUSY,
    NO_SUCH_STREAM,
    OTHER_VERSION,
    PROTOCOL_VERSION,
    BadMessage,
    LauncherReply,
    LauncherRequest,
    Message,
    RequestType,
    close_descriptors,
    decode_reply,
    encode_request,
    receive_message,
    send_message,
    version_sentence,
)
from pcapdj.runtime.errors import CannotCreate, LauncherGone, ReaderGone, Stopped
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.places import check_socket_path, peer_of
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits

_REPLY_LIMIT_S: Final = 2.0  # the launcher replies in well under a millisecond unless stopped or swapped out
_POLL_S: Final = 0.25  # how often a waiting `open` looks at what it shows
OPENING: Final = "Waiting for the analyzer to open the pipe."
_SLOW_START_S: Final = 1.0  # an analyzer that takes longer is shown as waited for


@dataclass(frozen=True, slots=True)
class Entry:
    """A descriptor that an earlier dispatcher stored; its position is where the bytes in the pipe end."""

    key: str
    note: dict[str, Any]
    fd: int


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose analyzer reads; the descriptors belong to the caller.

    Args:
        stream: its id.
        write_end: the pipe, O_WRONLY | O_NONBLOCK, one open file description with the launcher's own.
        entries: what the last dispatcher was feeding when it left; empty for a new stream.
        pauses: whether the stream pauses after its header.
    """

    stream: str
    write_end: int
    entries: tuple[Entry, ...]
    pauses: bool


class LauncherClient:
    """The connection to one launcher. When it is lost, `LauncherGone` is raised; `connect` tries again.

    Args:
        socket_path: where the launcher listens.
        waits: the first stop signal ends the wait of `open`, the second one every wait.

    Raises:
        CannotCreate: the path is too long for a unix socket.
    """

    def __init__(self, socket_path: Path, waits: Waits) -> None:
        self._path = socket_path.absolute()
        check_socket_path(self._path)
        self._waits = waits
        self._connection: socket.socket | None = None

    def connect(self) -> bool:
        """Connect unless connected; report whether the launcher is there. Never blocks.

        Raises:
            CannotCreate: the socket belongs to another user.
        """
        if self._connection is not None:
            return True
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            connection.connect(str(self._path))
        except OSError:  # no socket, no process behind it, or a full queue: it is not there yet
            connection.close()
            return False
        peer = peer_of(connection)
        if not peer.is_trusted:
            connection.close()
            raise CannotCreate(
                f"The launcher at {quoted(str(self._path))} runs as another user ({peer.uid})."
            )
        self._connection = connection
        return True

    def descriptors(self) -> tuple[socket.socket, ...]:
        """Return what turns readable when the launcher ends; nothing where it is not connected."""
        return () if self._connection is None else (self._connection,)

    def is_alive(self) -> bool:
        """Report whether the launcher still has its end open; never blocks."""
        if self._connection is None:
            return False
        try:
            is_alive = self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            is_alive = False
        if not is_alive:
            self.close()
        return is_alive

    def get(self) -> OpenStream | None:
        """Return the open stream and its entries; None if there is no open stream.

        Raises:
            LauncherGone: it died, does not reply, or serves another dispatcher.
            Stopped: a second stop signal arrived during the wait.
        """
        return self._stream_in(*self._request(LauncherRequest(RequestType.GET)))

    def open(self) -> OpenStream:
        """Return the open stream, or a new one once its analyzer has opened the pipe; may take long.

        Raises:
            Stopped: a stop signal arrived; the connection is closed.
            LauncherGone: as `get`.
        """
        self._send(LauncherRequest(RequestType.OPEN))
        started_s = time.monotonic()
        while (reply := self._next_reply()) is None:
            is_slow = time.monotonic() - started_s > _SLOW_START_S
            sentence = OPENING if is_slow else ""
            try:
                self._waits.wait(_POLL_S, self._connected(), waiting_for=sentence)
            except Stopped:
                self.close()
                raise
        opened = self._stream_in(*reply)
        if opened is None:
            raise self._lost("opened no stream")
        return opened

    def put(self, stream: str, key: str, fd: int, note: Mapping[str, Any]) -> None:
        """Store a duplicate of the descriptor in the launcher, before its first byte is spliced.

        Args:
            stream: its id.
            key: `header`, `file` or `batch`; replaces an earlier entry under this key.
            fd: what splice takes from, a batch or a memory file; under `file` the capture, also with O_PATH.
            note: what the next dispatcher needs to continue; `get` returns it unchanged.

        Raises:
            ReaderGone: the launcher has no such stream (any more).
            BadMessage: the note is longer than a message may be.
            LauncherGone, Stopped: as `get`.
        """
        self._request_only(LauncherRequest(RequestType.PUT, stream, key, note), fd)

    def drop(self, stream: str, key: str) -> None:
        """Remove an entry; succeeds also where the entry or its stream is gone.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._request_only(LauncherRequest(RequestType.DROP, stream, key))

    def end(self, stream: str) -> None:
        """End the stream; the caller has closed its write end before.

        Returns when the launcher has closed its own, so that the analyzer sees the end of the file.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._request_only(LauncherRequest(RequestType.END, stream))

    def close(self) -> None:
        """Close the connection; the stream stays open for the next dispatcher."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request_only(self, request: LauncherRequest, *descriptors: int) -> None:
        _, unexpected = self._request(request, *descriptors)
        close_descriptors(unexpected)

    def _request(self, request: LauncherRequest, *descriptors: int) -> tuple[LauncherReply, tuple[int, ...]]:
        """Return the reply, which has to come within two seconds, and its descriptors."""
        self._send(request, *descriptors)
        deadline_s = time.monotonic() + _REPLY_LIMIT_S
        while (reply := self._next_reply()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise self._lost(f"did not answer within {_REPLY_LIMIT_S:g} s")
            try:
                self._waits.wait(left_s, self._connected(), stops=2)
            except Stopped:
                self.close()
                raise
        return reply

    def _send(self, request: LauncherRequest, *descriptors: int) -> None:
        content = encode_request(request)
        try:
            send_message(self._connected(), content, descriptors)
        except OSError as exc:
            if (reply := self._next_reply()) is not None:  # BUSY: sent to a second dispatcher unasked
                close_descriptors(reply[1])
            raise self._lost(f"is gone ({exc.strerror})") from exc

    def _next_reply(self) -> tuple[LauncherReply, tuple[int, ...]] | None:
        """Return the reply and its descriptors; None if there is none yet.

        Raises:
            ReaderGone: the launcher has no such stream.
            LauncherGone: as `get`.
        """
        message = self._next_message()
        if message is None:
            return None
        try:
            reply = decode_reply(message.content)
        except BadMessage as exc:
            message.discard()
            raise self._lost(f"sent an invalid answer ({exc})") from exc
        if not reply.error and reply.version == PROTOCOL_VERSION:
            return reply, message.descriptors
        message.discard()
        if not reply.error or reply.error == OTHER_VERSION:
            self.close()
            raise LauncherGone(version_sentence(dispatcher=PROTOCOL_VERSION, launcher=reply.version))
        if reply.error == NO_SUCH_STREAM:
            raise ReaderGone("The analyzer of this stream is gone.")
        if reply.error == BUSY:
            raise self._lost(f"serves another dispatcher (pid {reply.pid})")
        raise self._lost(f"refused: {reply.error}")

    def _next_message(self) -> Message | None:
        try:
            message = receive_message(self._connected())
        except BlockingIOError:
            return None
        except BadMessage as exc:
            raise self._lost(f"sent an invalid answer ({exc})") from exc
        except OSError as exc:
            raise self._lost(f"is gone ({exc.strerror})") from exc
        if message is None:
            raise self._lost("is gone")
        return message

    def _stream_in(self, reply: LauncherReply, descriptors: tuple[int, ...]) -> OpenStream | None:
        expected = 0 if reply.stream is None else 1 + len(reply.entries)
        if len(descriptors) != expected:
            close_descriptors(descriptors)
            raise self._lost(f"sent {counted(len(descriptors), 'descriptor')} instead of {expected}")
        if reply.stream is None:
            return None
        write_end, *stored = descriptors
        entries = (Entry(key, dict(note), fd) for (key, note), fd in zip(reply.entries, stored, strict=True))
        return OpenStream(reply.stream, write_end, tuple(entries), reply.pauses)

    def _connected(self) -> socket.socket:
        if self._connection is None:
            raise self._lost("is gone")
        return self._connection

    def _lost(self, why: str) -> LauncherGone:
        """Close the connection and return the error that gives the reason."""
        self.close()
        return LauncherGone(f"The launcher at {quoted(str(self._path))} {why}.")
