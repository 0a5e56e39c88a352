"""Reads files that another program or user may have replaced by anything.

They are an analyzer's output, and what lies in a folder of captures: the record of an earlier run, sums. An
open of a named pipe would wait for ever, a link may lead to another file of this user, and a hole of
gigabytes, or a line without an end, would fill the memory.
"""

import errno
import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

MOST_LINE_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16
_ROOT: Final = 0
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_foreign(path: Path, *, follows_link: bool = False, is_ours: bool = False) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: of the file.
        follows_link: where the user may have made it.
        is_ours: refuse one that was left by another user than this one, root, and the owner of the folder.

    Raises:
        OSError: it cannot be opened, is not a regular file, or is refused.
    """
    descriptor = os.open(path, _FLAGS if follows_link else _FLAGS | os.O_NOFOLLOW)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    if is_ours and found.st_uid not in (_ROOT, os.geteuid(), path.parent.stat().st_uid):
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "it belongs to another user")
    return os.fdopen(descriptor, "rb")


def is_there(path: Path) -> bool:
    """Report whether the user can reach something at this path.

    Before Python 3.14 `Path.exists` and its like raise an error where a folder above is closed to this user:
    in a folder of root, for example, where somebody became another user.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Report whether the user can reach a regular file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Report whether the user can reach a folder, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def own_text(path: Path, most_bytes: int) -> str:
    """Return the text of a file that pcapdj left there for itself: what it says is believed.

    Its folder may be one such as /tmp, where another user can make a file of that name first.

    Args:
        path: of the file.
        most_bytes: that it may have.

    Raises:
        OSError: as `open_foreign`, or it is longer.
        UnicodeDecodeError: it is not UTF-8.
    """
    return foreign_text(path, most_bytes, is_ours=True)


def foreign_text(path: Path, most_bytes: int, *, follows_link: bool = False, is_ours: bool = False) -> str:
    """Return a file's text.

    Args:
        path: of the file.
        most_bytes: that it may have.
        follows_link: where the user may have made it; else it may lead to a secret, and the text is shown.
        is_ours: as `open_foreign`.

    Raises:
        OSError: as `open_foreign`, or it is longer.
        UnicodeDecodeError: it is not UTF-8.
    """
    return foreign_bytes(path, most_bytes, follows_link=follows_link, is_ours=is_ours).decode("utf-8")


def foreign_bytes(path: Path, most_bytes: int, *, follows_link: bool = False, is_ours: bool = False) -> bytes:
    """Return what a file has, as `foreign_text`; as text it can take four times as much memory."""
    with open_foreign(path, follows_link=follows_link, is_ours=is_ours) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes")
        return file.read(most_bytes)


def foreign_lines(path: Path, on_read: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the lines, without the ones that `lines_of` leaves out; a file that cannot be opened has none.

    Args:
        path: of the file.
        on_read: as `lines_of`.
    """
    with suppress(OSError), open_foreign(path) as file:
        yield from lines_of(file, on_read)


def lines_as_they_come(file: BinaryIO, pause_s: float = 0.3) -> Iterator[str]:
    """Yield the lines as `lines_of` does; where nothing comes for a moment, an empty text.

    Args:
        file: a regular file or a pipe, from which nothing was read yet.
        pause_s: the moment, in seconds.
    """
    lines, is_paused = _PartsOfLines(), True
    while True:
        if not is_paused and not select.select([file], [], [], pause_s)[0]:
            is_paused = True
            yield ""
        data = os.read(file.fileno(), _READ_BYTES)
        if not data:
            break
        yield from lines.add(data)
        is_paused = False
        if lines.is_in_hole:
            skip_hole(partial(os.lseek, file.fileno()))
    if rest := lines.text():
        yield rest


class _PartsOfLines:
    """Joins the parts of lines, and looks at each once: a line of a megabyte may come byte by byte.

    Attributes:
        is_in_hole: all that comes until the next line begins is left out.
    """

    def __init__(self) -> None:
        self.is_in_hole = False
        self._line, self._is_too_long = bytearray(), False

    def add(self, data: bytes) -> Iterator[str]:
        """Yield the lines that end in this data."""
        *ends, last = data.split(b"\n")
        for part in ends:
            self._add(part)
            if (text := self.text()) is not None:
                yield text + "\n"
            self._line, self._is_too_long = bytearray(), False
        self._add(last)

    def text(self) -> str | None:
        """Return what there is of a line; None: it is too long."""
        is_whole = not self._is_too_long and len(self._line) < MOST_LINE_BYTES
        return self._line.decode("utf-8", "replace") if is_whole else None

    def _add(self, part: bytes) -> None:
        text, has_begun = _behind_hole(part)
        if has_begun:
            self._line, self._is_too_long = bytearray(), False
        if not self._is_too_long:
            self._line += text
        if len(self._line) > MOST_LINE_BYTES:
            self._line, self._is_too_long = bytearray(), True
        self.is_in_hole = self._is_too_long or (has_begun and not self._line)


def lines_of(file: BinaryIO, on_read: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the lines of an open file, without what is in a hole; longer ones than 1 MiB are left out.

    Args:
        file: regular, opened for reading.
        on_read: is called with the number of bytes read, after at most 1 MiB, also of what is left out.
    """
    rest, is_too_long = b"", False
    while part := file.readline(MOST_LINE_BYTES):
        if on_read:
            on_read(len(part))
        part, has_begun = _behind_hole(part)
        rest = part if has_begun else rest + part
        is_too_long = (is_too_long and not has_begun) or len(rest) > MOST_LINE_BYTES
        rest = b"" if is_too_long else rest
        if part.endswith(b"\n"):
            if not is_too_long:
                yield rest.decode("utf-8", "replace")
            rest, is_too_long = b"", False
        elif is_too_long or (has_begun and not rest):
            skip_hole(file.seek)
    if rest and len(rest) < MOST_LINE_BYTES:
        yield rest.decode("utf-8", "replace")


def _behind_hole(line: bytes) -> tuple[bytes, bool]:
    """Return what is behind the last zero byte, and whether there is one: no line of text has one.

    A program that writes on where a truncated file was leaves a hole, and then begins a line.
    """
    return (line.rpartition(b"\0")[2], True) if b"\0" in line else (line, False)


def skip_hole(seek: Callable[[int, int], int]) -> None:
    """Go to the next bytes that the file has on disk: a hole has no line end, and may take hours to read.

    Args:
        seek: of the file, as os.lseek without the descriptor; a pipe stays where it is.
    """
    try:
        place, end = seek(0, os.SEEK_CUR), seek(0, os.SEEK_END)
    except OSError:
        return
    try:
        seek(place, os.SEEK_DATA)
    except OSError as exc:
        # ENXIO: there are none before the end. Another file system has no such call.
        seek(end if exc.errno == errno.ENXIO else place, os.SEEK_SET)
