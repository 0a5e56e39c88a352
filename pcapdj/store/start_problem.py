"""What is wrong with the embedded server of a folder: why it does not start, or that its disk hangs.

The sentence stands in a file beside the server's socket, `redis.problem`. The start of the server writes and
removes it, and so does the companion process while the server runs (`syncing`). Every command and role that
finds no server at the socket shows it as the reason; `status` and `check` show it also of one that answers.

The socket may be on the disk that is full. So the file never goes once a server has started: without a
sentence it has spaces, and where there is no room for a new file, the sentence is written over them.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pcapdj.runtime.foreign_files import own_text
from pcapdj.runtime.whole_file import open_inside, write_whole

PROBLEM: Final = ".problem"  # its suffix
_BYTES: Final = 4000  # of the file, whatever the sentence has
_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK


def write_problem(socket: Path, sentence: str) -> None:
    """Leave the sentence beside the server's socket, if there is room for it, or was at an earlier start."""
    with suppress(OSError):
        _write(_path(socket), sentence)


def clear_problem(socket: Path) -> None:
    """Remove the sentence, and keep its room: the server is started now."""
    with suppress(OSError):
        try:
            _write(_path(socket), "")
        except OSError:
            _path(socket).unlink()


def problem_at(url: str) -> str:
    """Return what is wrong with the server of a unix URL; empty: nothing, as far as it is known."""
    if not url.startswith("unix:"):
        return ""
    with suppress(OSError, ValueError):
        return own_text(_path(Path(unquote(urlsplit(url).path))), _BYTES).strip()
    return ""


def _write(path: Path, sentence: str) -> None:
    """Write a new file in its place, which a disk that hangs never holds up for readers; else over it.

    Raises:
        OSError: neither works.
    """
    content = sentence.encode("utf-8", "backslashreplace")[:_BYTES].ljust(_BYTES)
    try:
        write_whole(path, content, is_synced=False)
    except OSError:
        descriptor = open_inside(path, _FLAGS)
        try:
            _check_kept(os.fstat(descriptor))
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)


def _check_kept(found: os.stat_result) -> None:
    """Refuse to write over what is not the file that `clear_problem` keeps: it may be another user's.

    Raises:
        OSError: it is not.
    """
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
    if not is_ours or found.st_size != _BYTES:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _path(socket: Path) -> Path:
    return socket.with_suffix(PROBLEM)
