"""What the kernel asks of unix sockets: a short path, and who is at the other end."""

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.safe_text import quoted

SOCKET_PATH_LIMIT_BYTES = 107  # sun_path of unix(7) less its NUL
_UCRED = struct.Struct("iII")  # struct ucred of unix(7) SO_PEERCRED: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that made the other end of a unix socket connection, as the kernel saw it."""

    pid: int
    uid: int

    @property
    def is_trusted(self) -> bool:
        """Report whether it is one of our own user's processes, or root's."""
        return self.uid in (0, os.geteuid())


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end.

    Source: unix(7) SO_PEERCRED.
    """
    pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)


def check_socket_path(path: Path) -> None:
    """Refuse a socket path that the kernel cannot take.

    Raises:
        CannotCreate: it is longer than 107 bytes.
    """
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT_BYTES:
        raise CannotCreate(
            f"The socket path {quoted(str(path))} has {length} bytes; unix sockets take"
            f" {SOCKET_PATH_LIMIT_BYTES}.",
            hint="Use a folder with a shorter path.",
        )
