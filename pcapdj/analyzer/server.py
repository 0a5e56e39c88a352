"""The launcher's side of its socket: one dispatcher at a time, by the same user, one reply to each request.

It never waits: the launcher polls `descriptors` and calls in. A dispatcher that died is disconnected before
the next one is accepted, so that its successor is never turned away.
"""

import os
import socket
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

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
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.places import peer_of
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import present_at

_BACKLOG: Final = 8
_PRIVATE_UMASK: Final = 0o177  # bind makes the socket 0600; a chmod after it would leave a moment

_events: Final = EventLog("consumer")


class LauncherServer:
    """The listening socket and the connection of one dispatcher, the client.

    Args:
        path: absolute; the caller holds the lock of this place, so an old socket file there is stale.

    Attributes:
        path: of the socket.
        client_pid: the process that is connected.
        owes_reply: a request has been received and not replied to; only OPEN takes long.

    Raises:
        CannotCreate: it cannot be made, or something that is not a socket is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listening: socket.socket | None = _listen(path)
        self._client: socket.socket | None = None
        self._can_accept = True
        self._reminder = Reminder()
        self.client_pid: int | None = None
        self.owes_reply = False

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that become readable when a request or a client comes."""
        sockets = (self._client, self._listening if self._can_accept else None)
        return tuple(each.fileno() for each in sockets if each is not None)

    def next_request(self) -> tuple[LauncherRequest, tuple[int, ...]] | None:
        """Return the next request and its descriptors; None if there is none, or the client is gone."""
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
            self.disconnect()
            return None
        if self.owes_reply:
            message.discard()
            self.refuse("OPEN is not answered yet")
            return None
        return self._decoded(message)

    def accept_client(self) -> None:
        """Accept a new client if there is none; reply BUSY to others.

        Where the process has no descriptor left the client waits, and the next call tries again.
        """
        if self._listening is None:
            return
        self._can_accept = True
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as exc:
            self._can_accept = False  # the socket stays readable: poll would spin
            if self._reminder.is_due(exc.errno, time.monotonic()):
                _events.warning("cannot_accept", f"No dispatcher can connect: {exc.strerror}.")
            return
        self._admit(connection)

    def reply(self, reply: LauncherReply, descriptors: Sequence[int] = ()) -> None:
        """Reply to the client; disconnect it if it does not take the reply."""
        if self._client is None:
            return
        self.owes_reply = False
        try:
            send_message(self._client, encode_reply(reply), descriptors)
        except (OSError, BadMessage):
            self.disconnect()

    def refuse(self, why: str) -> None:
        """Send the client the reason, and disconnect it."""
        self.reply(LauncherReply(error=why))
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; the next client may come."""
        if self._client is not None:
            self._client.close()
            self._client, self.client_pid, self.owes_reply = None, None, False

    def half_close(self) -> None:
        """Accept no other client, and end the replies: the dispatcher leaves the stream and disconnects."""
        self._close_listening()
        if self._client is not None:
            with suppress(OSError):  # it has left
                self._client.shutdown(socket.SHUT_WR)

    def has_client_left(self) -> bool:
        """Report whether no client is connected; what it still requests is discarded."""
        while self._client is not None:
            try:
                message = receive_message(self._client)
            except BlockingIOError:
                return False
            except BadMessage:
                continue
            except OSError:
                message = None
            if message is None:
                self.disconnect()
            else:
                message.discard()
        return True

    def close(self) -> None:
        """Close both sockets and remove the socket file; a second call does nothing."""
        self.disconnect()
        self._close_listening()

    def _close_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            with suppress(OSError):  # the folder may be gone, or read-only: no reason to kill the analyzer
                self.path.unlink()

    def _decoded(self, message: Message) -> tuple[LauncherRequest, tuple[int, ...]] | None:
        try:
            request = decode_request(message.content, len(message.descriptors))
        except BadMessage as exc:
            message.discard()
            self.refuse(str(exc))
            return None
        self.owes_reply = True
        return request, message.descriptors

    def _admit(self, connection: socket.socket) -> None:
        peer = peer_of(connection)
        if self._client is not None and _is_disconnected(self._client):
            self.disconnect()  # it left after its requests were read, and before this client came
        if not peer.is_trusted:
            connection.close()
        elif self._client is not None:
            with connection, suppress(OSError):
                send_message(connection, encode_reply(LauncherReply(error=BUSY, pid=self.client_pid)))
        else:
            connection.setblocking(False)
            self._client, self.client_pid = connection, peer.pid


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    before = os.umask(_PRIVATE_UMASK)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        listening.bind(str(path))
        listening.listen(_BACKLOG)
    except OSError as exc:
        listening.close()
        present = present_at(path)
        raise CannotCreate(
            f"The socket {quoted(str(path))} cannot be made: {exc.strerror}{present}."
        ) from exc
    finally:
        os.umask(before)
    return listening


def _is_disconnected(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
