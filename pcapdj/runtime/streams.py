"""The standard streams of a command: one may be missing, closed by its reader, stopped, or on a full disk.

What fails there is no error of pcapdj, wherever something was printed: `OutputFailed` says so, and
`run_command` shows it in a sentence. A reader that has gone (`| head`) is no error at all. A character that
the encoding of the user's locale does not have is shown as its escape.
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, Final, TextIO

from pcapdj.runtime.numbers import whole_number

_STDOUT: Final = 1  # its descriptor
_MOST_CELLS: Final = 65_535  # columns or rows of a terminal, as the kernel has them


class OutputFailed(OSError):
    """What is printed cannot be written: the disk is full, for example."""


class _Stdout(io.FileIO):
    """Descriptor 1: an error there is none of pcapdj, wherever something was printed."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise OutputFailed(*exc.args) from exc


def tell_failures_of_stdout() -> None:
    """Let `OutputFailed` be raised where stdout fails; a character that it cannot encode is no failure."""
    stdout: Any = sys.stdout
    buffer = getattr(stdout, "buffer", None)
    if type(getattr(buffer, "raw", buffer)) is not io.FileIO or stdout.fileno() != _STDOUT:
        return  # there is none, it was done before, or a test has put another one in its place
    stdout.flush()
    raw: Any = _Stdout(_STDOUT, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw) if isinstance(buffer, io.BufferedWriter) else raw,  # PYTHONUNBUFFERED
        encoding=stdout.encoding,
        errors="backslashreplace",  # as stderr has it
        line_buffering=stdout.line_buffering,
        write_through=stdout.write_through,
    )


def open_missing_streams() -> None:
    """Give each standard stream that this process was started without a descriptor and an object.

    The next file that is opened gets the lowest free number: it would become the stream of a child.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # writing to it fails, as before
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the rest of the process
        for stream in (sys.stdout, sys.stderr)
    )


def environment_of_terminal() -> dict[str, str]:
    """Return the environment without a number of columns or lines that no terminal has.

    rich shows nothing in 0 columns, fills a line of a thousand million with blanks, and takes a superscript
    for a number.
    """
    found = dict(os.environ)
    for name in ("COLUMNS", "LINES"):
        if not 0 < (whole_number(found.get(name, "")) or 0) <= _MOST_CELLS:
            found.pop(name, None)
    return found


def discard_if_stuck() -> None:
    """Discard stdout and stderr where a write would wait: a stopped terminal (Ctrl-S), or a full pipe.

    A command that was told to end writes its last lines there, and would wait for a key.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # it is closed
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if not poll.poll(0):
                discard(stream)


def discard(stream: TextIO) -> None:
    """Point the stream at /dev/null: what is still in its buffer, and all that follows, is lost."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
