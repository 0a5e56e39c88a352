"""One message of the launcher's socket, with its descriptors: sent, received, never half of it.

Descriptors are received with the close-on-exec flag, so that no analyzer can inherit one. What comes cut (too
long, or with too many descriptors) is thrown away whole, the descriptors closed.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pcapdj.stream.protocol import DESCRIPTOR_LIMIT, MESSAGE_LIMIT_BYTES, BadMessage


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
