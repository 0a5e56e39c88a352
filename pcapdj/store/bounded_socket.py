"""The socket of a connection to Redis: an answer or a message has a limit in bytes, an answer one in time.

A timeout of redis-py is that of one read: a server, or a proxy before it, that sends a byte now and then
would keep a role in one call for ever. And any program that may publish on a lane's channel can send 512 MiB
to each role that listens there: the notifier connects again then.
"""

import socket
import time
from typing import Any, Final, cast

ANSWER_LIMIT_BYTES: Final = 16 << 20  # the scripts return 4 MiB, and a little for each value
MESSAGE_LIMIT_BYTES: Final = 1 << 20  # ours have some bytes
_SLOWEST_BYTES_PER_S: Final = 64 << 10


class AnswerTooLong(ValueError):
    """Redis sent more bytes than any answer or message of a lane has."""


class BoundedSocket:
    """A connected socket, with limits on what is received from one `begin` to the next.

    Args:
        connected: the socket.
        timeout_s: how long an answer may take; longer while it comes at 64 KiB/s or faster. None: it is no
            answer, but messages, which come at any time.
        limit_bytes: more is refused.
    """

    def __init__(self, connected: socket.socket, timeout_s: float | None, limit_bytes: int) -> None:
        self._socket = connected
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self.begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def begin(self) -> None:
        """Let the limits begin anew."""
        self._began_s, self._received_bytes = time.monotonic(), 0

    def sendall(self, data: bytes) -> None:
        """Send a command: what is received from here on is its answer."""
        self.begin()
        self._socket.sendall(data)

    def recv(self, size_bytes: int) -> bytes:
        """Receive a part of an answer.

        Raises:
            TimeoutError: it takes too long.
            AnswerTooLong: it is longer than the limit.
        """
        # redis-py asks without waiting whether an idle connection was closed
        if self._is_too_late() and self._socket.gettimeout() != 0:
            raise TimeoutError
        data = self._socket.recv(size_bytes)
        self._received_bytes += len(data)
        if self._received_bytes > self._limit_bytes:
            raise AnswerTooLong
        return data

    def _is_too_late(self) -> bool:
        """Say whether the time is up; it is not asked for what has come while this process stood still."""
        if self._timeout_s is None or not self._received_bytes:
            return False
        allowed_s = self._received_bytes / _SLOWEST_BYTES_PER_S + self._timeout_s
        return time.monotonic() - self._began_s > allowed_s


class BoundedConnection:
    """Gives a connection of redis-py such a socket.

    Args:
        has_messages: it is subscribed to a channel.
        options: of redis-py.
    """

    def __init__(self, *, has_messages: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._has_messages = has_messages
        self._received: BoundedSocket | None = None

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return an answer or a message; a message is whole then, and the limit is that of the next one."""
        answer = super().read_response(*args, **options)  # type: ignore[misc]  # redis-py
        if self._has_messages and self._received:
            self._received.begin()
        return answer

    def _connect(self) -> Any:
        connected = super()._connect()  # type: ignore[misc]  # redis-py
        timeout_s = None if self._has_messages else cast("Any", self).socket_timeout
        limit_bytes = MESSAGE_LIMIT_BYTES if self._has_messages else ANSWER_LIMIT_BYTES
        self._received = BoundedSocket(connected, timeout_s, limit_bytes)
        return self._received
