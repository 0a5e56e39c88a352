"""Where the sockets and pipes of pcapdj may be, and which process is at the other end of a socket.

Socket and pipe are in a folder in which no other user can replace them (`trust`). The path of a unix socket
is short by a limit of the kernel. A connection is accepted from processes of this user and of root only; a
server may also belong to the user who could have put its socket there (`ownership.may_serve`).
"""

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.ownership import may_serve
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import check_folder, check_way, has_service
from pcapdj.runtime.whole_file import mkdir_inside, rmdir_inside

SOCKET_NAME = "launcher.sock"
PIPE_NAME = "stream.pcap"
SOCKET_PATH_LIMIT_BYTES = 107  # sun_path of unix(7) less its NUL
_LAYOUT = Path("var/run")  # beside a supervisord.conf
_PRIVATE_MODE = 0o700
_PARENT_MODE = 0o755
_UCRED = struct.Struct("iII")  # struct ucred of unix(7) SO_PEERCRED: pid, uid, gid


def default_folder(here: Path) -> Path:
    """Return the folder of socket and pipe where no option names one.

    With a supervisord.conf in this folder it is `var/run` beside it, else the user's own folder.

    Raises:
        ConfigError: the service in this folder is another user's.
    """
    return here / _LAYOUT if has_service(here) else user_folder()


def user_folder() -> Path:
    """Return this user's own folder for files that are not needed after a reboot."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not _is_of_another_user(runtime):  # sudo may keep the variable of who typed it
        return Path(runtime) / "pcapdj"
    return Path(f"/tmp/pcapdj-{os.geteuid()}")  # noqa: S108 - checked by `private_folder` before use


def private_folder(path: Path) -> None:
    """Make the folder, 0700, if it is missing; refuse one in which another user could replace our files.

    A link to the user's own folder is refused: pcapdj made none.

    Raises:
        CannotCreate: it cannot be made, or as `trust.check_folder`.
    """
    is_default = path == user_folder()
    remedy = "set XDG_RUNTIME_DIR to a folder of your own" if is_default else "use a folder of your own"
    check_way(path, remedy)
    _make(path, _PRIVATE_MODE)
    check_folder(path, allows_link=not is_default, remedy=remedy)


def make_folder(
    path: Path, mode: int, remedy: str = "use a folder of your own", *, caller: int | None = None
) -> None:
    """Make a folder that no other user can write to, if it is missing, and those above it.

    Args:
        path: of the folder.
        mode: of a new one, less the umask.
        remedy: what to do where it is refused.
        caller: another user, below whose folders it may be.

    Raises:
        CannotCreate: it cannot be made, or as `trust.check_folder`; in a sticky folder, too, another user may
            have put files in the place of ours.
    """
    check_way(path, remedy, caller=caller)
    is_new = _make(path, mode)
    try:
        check_folder(path, allows_sticky=False, remedy=remedy, caller=caller)
    except CannotCreate:
        if is_new:  # a file system without owners, as FAT has none
            rmdir_inside(path)
        raise


def _make(path: Path, mode: int) -> bool:
    """Make a folder and those above it; report whether it was missing."""
    try:
        mkdir_inside(path, mode, _PARENT_MODE)
    except FileExistsError:
        return False
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(path))} cannot be made: {exc.strerror}.") from exc
    return True


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


def is_trusted_server(peer: Peer, path: str) -> bool:
    """Report whether this process may be the server at the unix socket of this path.

    Raises:
        OSError: socket or folder are gone.
    """
    socket_path = Path(path)
    return may_serve(peer.uid, os.geteuid(), socket_path.stat(), socket_path.parent.stat())


def _is_of_another_user(folder: str) -> bool:
    try:
        return Path(folder).stat().st_uid != os.geteuid()
    except OSError:  # missing: then making it fails with the reason
        return False
