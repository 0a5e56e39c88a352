"""The dispatcher's connection to the launcher: one message out, one answer in, every wait interruptible.

An answer that does not come within two seconds counts as a dead launcher: a stream is never continued on a
guess. Once anything is out of order the connection is closed, so that no late answer meets the next question.

The dispatcher's side of the launcher's five words.

It opens no pipe and moves no byte; it hands over descriptors and gets some back. Losing the launcher is
losing the stream: the analyzer dies with it.
"""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcapdj import launcher_protocol as messages
from pcapdj.launcher_protocol import (
    BUSY,
    NO_SUCH_STREAM,
    BadMessage,
    Reply,
    Request,
    Word,
    decode_reply,
    encode_request,
)
from pcapdj.runtime.errors import CannotCreate, LauncherGone, ReaderGone, Stopped
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.runtime.sockets import check_socket_path, peer_of

_ANSWER_S = 2.0  # the launcher answers in well under a millisecond unless it is stopped or swapped out


class LauncherLine:
    """Sends requests and hands back answers with their descriptors, which then belong to the caller.

    Args:
        path: where the launcher listens.
        signals: a second stop signal ends every wait.

    Raises:
        CannotCreate: the path is too long for a unix socket.
    """

    def __init__(self, path: Path, signals: Signals) -> None:
        check_socket_path(path)
        self._path = path
        self._signals = signals
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
        except OSError:  # no socket, nobody behind it, or a full queue: in each case it is not there yet
            connection.close()
            return False
        self._check_owner(connection)
        self._connection = connection
        return True

    def is_alive(self) -> bool:
        """Report whether the connection stands; never blocks."""
        if self._connection is None:
            return False
        try:
            alive = self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            alive = False
        if not alive:
            self.close()
        return alive

    def fileno(self) -> int:
        """Return the descriptor that turns readable when the launcher speaks or dies.

        Raises:
            LauncherGone: there is no connection.
        """
        return self._connected().fileno()

    def ask(self, request: Request, *descriptors: int) -> tuple[Reply, tuple[int, ...]]:
        """Return the answer, which has to come at once.

        Raises:
            ReaderGone: the launcher has no such stream.
            LauncherGone: it died, does not answer, or serves another dispatcher.
            Stopped: a second stop signal arrived meanwhile.
        """
        self.send(request, *descriptors)
        deadline_s = time.monotonic() + _ANSWER_S
        while (answer := self.answer()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise self.lost(f"did not answer within {_ANSWER_S:g} s")
            if self._signals.stop_count > 1:
                self.close()
                raise Stopped("A second stop signal arrived while waiting for the launcher.")
            self._signals.wait(left_s, self._connected())
        return answer

    def send(self, request: Request, *descriptors: int) -> None:
        """Send a request; its answer is `answer`'s.

        Raises:
            LauncherGone: as `ask`.
        """
        content = encode_request(request)
        try:
            messages.send(self._connected(), content, descriptors)
        except OSError as exc:
            if (answer := self.answer()) is not None:  # what a second dispatcher is told before it asked
                messages.close_all(answer[1])
            raise self.lost(f"is gone ({exc.strerror})") from exc

    def answer(self) -> tuple[Reply, tuple[int, ...]] | None:
        """Return the answer and its descriptors; None if there is none yet.

        Raises:
            ReaderGone, LauncherGone: as `ask`.
        """
        message = self._received()
        if message is None:
            return None
        try:
            reply = decode_reply(message.content)
        except BadMessage as exc:
            message.discard()
            raise self.lost(f"sent what is no answer ({exc})") from exc
        if not reply.error:
            return reply, message.descriptors
        message.discard()
        raise self._refusal(reply)

    def lost(self, why: str) -> LauncherGone:
        """Close the connection and return the error that says why."""
        self.close()
        return LauncherGone(f"The launcher at {quoted(str(self._path))} {why}.")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _received(self) -> messages.Message | None:
        try:
            message = messages.receive(self._connected())
        except BlockingIOError:
            return None
        except BadMessage as exc:
            raise self.lost(f"sent what is no answer ({exc})") from exc
        except OSError as exc:
            raise self.lost(f"is gone ({exc.strerror})") from exc
        if message is None:
            raise self.lost("is gone")
        return message

    def _refusal(self, reply: Reply) -> LauncherGone | ReaderGone:
        if reply.error == NO_SUCH_STREAM:
            return ReaderGone("The analyzer of this stream is gone.")
        if reply.error == BUSY:
            return self.lost(f"serves another dispatcher (pid {reply.pid})")
        return self.lost(f"refused: {reply.error}")

    def _check_owner(self, connection: socket.socket) -> None:
        peer = peer_of(connection)
        if not peer.is_trusted:
            connection.close()
            raise CannotCreate(
                f"The launcher at {quoted(str(self._path))} runs as another user ({peer.uid})."
            )

    def _connected(self) -> socket.socket:
        if self._connection is None:
            raise self.lost("is not connected")
        return self._connection


_SLICE_S = 0.25  # how often a waiting `open` tells its caller


@dataclass(frozen=True, slots=True)
class Entry:
    """What the keeper held for the dispatcher before: its position is where the bytes in the pipe end."""

    key: str
    note: dict[str, Any]
    fd: int


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose analyzer reads; the descriptors belong to the caller.

    Args:
        stream: its id.
        write_end: the pipe, O_WRONLY | O_NONBLOCK, one open file description with the launcher's own.
        entries: what was being fed when its last dispatcher left; empty for a new stream.
    """

    stream: str
    write_end: int
    entries: tuple[Entry, ...]


class LauncherClient:
    """The launcher as the dispatcher sees it; losing it raises `LauncherGone`, `connect` tries anew.

    Args:
        socket_path: where it listens.
        signals: end the waits: a first stop signal that of `open`, a second one every wait.

    Raises:
        CannotCreate: the path is too long for a unix socket.
    """

    def __init__(self, socket_path: Path, signals: Signals) -> None:
        self._signals = signals
        self._line = LauncherLine(socket_path.absolute(), signals)

    def connect(self) -> bool:
        """Connect unless connected; report whether the launcher is there. Never blocks.

        Raises:
            CannotCreate: the socket belongs to another user.
        """
        return self._line.connect()

    def fileno(self) -> int:
        """Return the descriptor that turns readable when the launcher speaks or dies.

        Raises:
            LauncherGone: there is no connection.
        """
        return self._line.fileno()

    def is_alive(self) -> bool:
        """Report whether the connection stands; never blocks."""
        return self._line.is_alive()

    def get(self) -> OpenStream | None:
        """Return the open stream and what is in it; None if there is none.

        Raises:
            LauncherGone: it died, does not answer, or serves another dispatcher.
            Stopped: a second stop signal arrived meanwhile.
        """
        return self._opened(*self._line.ask(Request(Word.GET)))

    def open(self, wait: Callable[[float], None]) -> OpenStream:
        """Return the open stream, or a new one once its analyzer has opened the pipe; may take long.

        Args:
            wait: told every 0.25 s for how many seconds it has waited.

        Raises:
            Stopped: a stop signal arrived; the connection is closed.
            LauncherGone: as `get`.
        """
        self._line.send(Request(Word.OPEN))
        started_s = time.monotonic()
        while (answer := self._line.answer()) is None:
            if self._signals.wait(_SLICE_S, self._line):
                self.close()
                raise Stopped("A stop signal arrived while waiting for the analyzer.")
            wait(time.monotonic() - started_s)
        opened = self._opened(*answer)
        if opened is None:
            raise self._line.lost("opened no stream")
        return opened

    def put(self, stream: str, key: str, fd: int, note: Mapping[str, Any]) -> None:
        """Leave a duplicate of the descriptor with the keeper, before its first byte is spliced.

        Args:
            stream: its id.
            key: `header`, `file` or `batch`; what was kept under it is let go.
            fd: a regular file or memfd open for reading, whose position is what splice moves.
            note: what a successor has to know; given back as it is.

        Raises:
            ReaderGone: the launcher has no such stream (any more).
            BadMessage: the note is longer than a message may be.
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.PUT, stream, key, note), fd)

    def drop(self, stream: str, key: str) -> None:
        """Let the keeper forget an entry; nothing is to be done where it or its stream is gone.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.DROP, stream, key))

    def end(self, stream: str) -> None:
        """End the stream; the caller has closed its write end before.

        Returns when the launcher has closed its own, so that the analyzer sees the end of the file.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.END, stream))

    def close(self) -> None:
        """Close the connection; the stream stays open for the next dispatcher."""
        self._line.close()

    def _done(self, request: Request, *descriptors: int) -> None:
        _, unexpected = self._line.ask(request, *descriptors)
        messages.close_all(unexpected)

    def _opened(self, reply: Reply, descriptors: tuple[int, ...]) -> OpenStream | None:
        expected = 0 if reply.stream is None else 1 + len(reply.entries)
        if len(descriptors) != expected:
            messages.close_all(descriptors)
            raise self._line.lost(f"sent {len(descriptors)} descriptors instead of {expected}")
        if reply.stream is None:
            return None
        write_end, *kept = descriptors
        entries = (Entry(key, dict(note), fd) for (key, note), fd in zip(reply.entries, kept, strict=True))
        return OpenStream(reply.stream, write_end, tuple(entries))
