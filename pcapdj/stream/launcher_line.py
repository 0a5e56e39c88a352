"""The dispatcher's connection to the launcher: one message out, one answer in, every wait interruptible.

An answer that does not come within two seconds counts as a dead launcher: a stream is never continued on a
guess. Once anything is out of order the connection is closed, so that no late answer meets the next question.
"""

import socket
import time
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate, LauncherGone, ReaderGone, Stopped
from pcapdj.runtime.names import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.runtime.sockets import check_socket_path, peer_of
from pcapdj.stream import messages
from pcapdj.stream.protocol import (
    BUSY,
    NO_SUCH_STREAM,
    BadMessage,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

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
