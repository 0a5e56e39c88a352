"""The launcher's side of its socket: one dispatcher at a time, by the same user, each request answered once.

What comes is judged by `stream.protocol`; this module only moves it. It never waits: the role polls
`descriptors` and calls in. A dispatcher that died is let go before the next one is looked at, so that its
successor is never turned away.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pcapdj.launcher_protocol import (
    BUSY,
    BadMessage,
    LauncherReply,
    LauncherRequest,
    Message,
    decode_request,
    encode_reply,
    receive_message,
    send_message,
)
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.sockets import check_socket_path, peer_of

_BACKLOG = 8
_PRIVATE_UMASK = 0o177  # the socket is born 0600; a chmod afterwards would leave a moment


class Server:
    """The listening socket and the one connection.

    Args:
        path: absolute; the caller holds the lock of this place, so that an old socket file there is stale.

    Raises:
        CannotCreate: the path is too long, or something that is no socket stands there.
    """

    def __init__(self, path: Path) -> None:
        check_socket_path(path)
        self._path = path
        self._listening: socket.socket | None = _listen(path)
        self._client: socket.socket | None = None
        self.client_pid: int | None = None

    def descriptors(self) -> tuple[int, ...]:
        """Return what turns readable when somebody wants something."""
        sockets = (self._client, self._listening)
        return tuple(one.fileno() for one in sockets if one is not None)

    def request(self) -> tuple[LauncherRequest, tuple[int, ...]] | None:
        """Return the next request and its descriptors; None if there is none, or the client was let go."""
        if self._client is None:
            return None
        try:
            message = receive_message(self._client)
        except BlockingIOError:
            return None
        except (BadMessage, OSError) as exc:
            self.refuse(str(exc))
            return None
        if message is None:
            self.let_go()
            return None
        return self._judged(message)

    def accept(self) -> bool:
        """Take a new client, if the place is free; tell others who has it. Report whether one was taken."""
        if self._listening is None:
            return False
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = self._listening.accept()
            peer = peer_of(connection)
            if self._client is not None and _has_left(self._client):
                self.let_go()  # it left after its requests were looked at, and before this one came
            if not peer.is_trusted:
                connection.close()
            elif self._client is not None:
                _tell_busy(connection, self.client_pid)
            else:
                connection.setblocking(False)
                self._client, self.client_pid = connection, peer.pid
                return True
        return False

    def reply(self, reply: LauncherReply, descriptors: Sequence[int] = ()) -> None:
        """Answer the client; one that does not take its answer is let go."""
        if self._client is None:
            return
        try:
            send_message(self._client, encode_reply(reply), descriptors)
        except (OSError, BadMessage):
            self.let_go()

    def refuse(self, why: str) -> None:
        """Tell the client that this is no conversation, and end it."""
        self.reply(LauncherReply(error=why))
        self.let_go()

    def let_go(self) -> None:
        """Close the connection; the place is free."""
        if self._client is not None:
            self._client.close()
            self._client, self.client_pid = None, None

    def close(self) -> None:
        """Close everything and remove the socket file; a second time nothing is left to do."""
        self.let_go()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._path.unlink(missing_ok=True)

    def _judged(self, message: Message) -> tuple[LauncherRequest, tuple[int, ...]] | None:
        try:
            return decode_request(message.content, len(message.descriptors)), message.descriptors
        except BadMessage as exc:
            message.discard()
            self.refuse(str(exc))
            return None


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    before = os.umask(_PRIVATE_UMASK)
    try:
        if path.is_socket():
            path.unlink()
        listening.bind(str(path))
        listening.listen(_BACKLOG)
    except OSError as exc:
        listening.close()
        raise CannotCreate(f"The socket {quoted(str(path))} cannot be made: {exc.strerror}.") from exc
    finally:
        os.umask(before)
    return listening


def _has_left(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _tell_busy(connection: socket.socket, pid: int | None) -> None:
    with connection, suppress(OSError):
        send_message(connection, encode_reply(LauncherReply(error=BUSY, pid=pid)))
