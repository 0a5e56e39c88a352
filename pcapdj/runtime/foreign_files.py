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
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_foreign(path: Path, *, follows_link: bool = False) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: of the file.
        follows_link: where the user may have made it.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, _FLAGS if follows_link else _FLAGS | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def foreign_text(path: Path, most_bytes: int) -> str:
    """Return a file's text; a link is followed.

    Raises:
        OSError: as `open_foreign`, or it is longer.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_foreign(path, follows_link=True) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes")
        return file.read(most_bytes).decode("utf-8")


def foreign_lines(path: Path) -> Iterator[str]:
    """Yield the lines, without the ones that `lines_of` leaves out; a file that cannot be opened has none."""
    with suppress(OSError), open_foreign(path) as file:
        yield from lines_of(file)


def lines_as_they_come(file: BinaryIO, pause_s: float = 0.3) -> Iterator[str]:
    """Yield the lines as `lines_of` does; where nothing comes for a moment, an empty text.

    Args:
        file: a regular file or a pipe, from which nothing was read yet.
        pause_s: the moment, in seconds.
    """
    rest, is_too_long, is_paused = b"", False, True
    while True:
        if not is_paused and not select.select([file], [], [], pause_s)[0]:
            is_paused = True
            yield ""
        data = os.read(file.fileno(), _READ_BYTES)
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        for number, line in enumerate(whole):
            if not (number == 0 and is_too_long) and len(line) < MOST_LINE_BYTES:
                yield line.decode("utf-8", "replace") + "\n"
        is_too_long = (is_too_long and not whole) or len(rest) > MOST_LINE_BYTES
        rest = b"" if is_too_long else rest
        is_paused = False
        if is_too_long:
            skip_hole(partial(os.lseek, file.fileno()))
    if rest and len(rest) < MOST_LINE_BYTES:
        yield rest.decode("utf-8", "replace")


def lines_of(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of an open file; longer ones than 1 MiB are left out."""
    while line := file.readline(MOST_LINE_BYTES):
        if line.endswith(b"\n") or len(line) < MOST_LINE_BYTES:
            yield line.decode("utf-8", "replace")
            continue
        while line and not line.endswith(b"\n"):
            skip_hole(file.seek)
            line = file.readline(MOST_LINE_BYTES)


def skip_hole(seek: Callable[[int, int], int]) -> None:
    """Go to the next bytes that the file has on disk: a hole has no line end, and may take hours to read.

    Args:
        seek: of the file, as os.lseek without the descriptor; a pipe stays where it is.
    """
    try:
        seek(seek(0, os.SEEK_CUR), os.SEEK_DATA)
    except OSError as exc:
        if exc.errno == errno.ENXIO:  # there are none
            seek(0, os.SEEK_END)
