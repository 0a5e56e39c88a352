"""Passes open descriptors between processes, over a unix socket.

Python has `socket.send_fds` and `socket.recv_fds`, but ignores their flags (in 3.11 to 3.13): what they
receive is inherited by every program that is started, and they wait for a socket that blocks. A program that
inherits the write end of a pipe keeps its reader from the end of its input.

Source: unix(7) "SCM_RIGHTS", recvmsg(2) "MSG_CMSG_CLOEXEC", cmsg(3).
"""

import array
import socket
from collections.abc import Sequence
from typing import NamedTuple


class Received(NamedTuple):
    """What arrived.

    Args:
        content: the bytes; none: the other end has closed the connection, or sent an empty message.
        descriptors: that came with them; they are closed when another program is executed.
        is_cut: there were more bytes than fit, or more descriptors than were allowed.
    """

    content: bytes
    descriptors: list[int]
    is_cut: bool


def send_descriptors(connection: socket.socket, content: bytes, descriptors: Sequence[int]) -> int:
    """Send bytes, at least one, together with descriptors; return how many bytes were sent.

    Raises:
        BlockingIOError: it would have to wait.
        OSError: the other end is gone.
    """
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    return connection.sendmsg([content], control, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)


def receive_descriptors(
    connection: socket.socket, most_bytes: int, most_descriptors: int, *, waits: bool = False
) -> Received:
    """Receive bytes, and the descriptors that came with them.

    Args:
        connection: a unix socket.
        most_bytes: of the message, or of a stream's part.
        most_descriptors: the kernel closes further ones.
        waits: until something arrives, if the socket blocks.

    Raises:
        BlockingIOError: there is nothing yet.
        OSError: the connection broke.
    """
    flags = socket.MSG_CMSG_CLOEXEC | (0 if waits else socket.MSG_DONTWAIT)
    room_bytes = socket.CMSG_LEN(most_descriptors * array.array("i").itemsize)
    content, control, found, _ = connection.recvmsg(most_bytes, room_bytes, flags)
    descriptors = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return Received(content, list(descriptors), bool(found & (socket.MSG_TRUNC | socket.MSG_CTRUNC)))
