"""Where the sockets and pipes of pcapdj may be, and which process is at the other end of a socket.

Socket and pipe are in a folder in which no other user can replace them. The path of a unix socket is short by
a limit of the kernel. A connection is accepted from processes of this user and of root only.
"""

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.safe_text import quoted

SOCKET_NAME = "launcher.sock"
PIPE_NAME = "stream.pcap"
SOCKET_PATH_LIMIT_BYTES = 107  # sun_path of unix(7) less its NUL
_LAYOUT = Path("var/run")  # beside a supervisord.conf
_PRIVATE_MODE = 0o700
_UCRED = struct.Struct("iII")  # struct ucred of unix(7) SO_PEERCRED: pid, uid, gid


def default_folder(here: Path) -> Path:
    """Return the folder of socket and pipe where no option names one.

    With a supervisord.conf in this folder it is `var/run` beside it, else the user's own folder.
    """
    return here / _LAYOUT if (here / "supervisord.conf").is_file() else user_folder()


def user_folder() -> Path:
    """Return this user's own folder for files that are not needed after a reboot."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "pcapdj"
    return Path(f"/tmp/pcapdj-{os.geteuid()}")  # noqa: S108 - checked by `private_folder` before use


def private_folder(path: Path) -> None:
    """Make the folder, 0700, if it is missing; refuse one in which another user could replace our files.

    Raises:
        CannotCreate: it cannot be made, is not a folder, belongs to another user, or is writable for all.
    """
    try:
        path.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(path))} cannot be made: {exc.strerror}.") from exc
    if found.st_uid not in (0, os.geteuid()):
        raise CannotCreate(
            f"The folder {quoted(str(path))} belongs to another user ({found.st_uid}).",
            hint="Use a folder of your own.",
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise CannotCreate(
            f"All users can replace files in the folder {quoted(str(path))}.", hint="Use one with mode 0700."
        )


def check_socket_path(path: Path, hint: str = "Use a folder with a shorter path.") -> None:
    """Refuse a socket path that is too long for the kernel.

    Raises:
        CannotCreate: it is longer than 107 bytes.
    """
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT_BYTES:
        raise CannotCreate(
            f"The socket path {quoted(str(path))} has {length} bytes; unix sockets take"
            f" {SOCKET_PATH_LIMIT_BYTES}.",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that made the other end of a unix socket connection, as the kernel recorded it."""

    pid: int
    uid: int

    @property
    def is_trusted(self) -> bool:
        """Report whether it is a process of this user, or of root."""
        return self.uid in (0, os.geteuid())


def peer_of(connection: socket.socket) -> Peer:
    """Return the process at the other end.

    Source: unix(7) SO_PEERCRED.
    """
    pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)
