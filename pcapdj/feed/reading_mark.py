"""The mark: a dispatcher is opening, reading or decoding a file. For the one that starts after its death.

A capture may kill its reader: a codec crashes, or memory is missing. The next dispatcher would take the same
file and die, again and again. So a byte is set before each look into a file and cleared after it. If it is
set when a dispatcher starts, the one before died in such a look, and `deaths_on` counts that.

It is a small file beside the pipe, and survives a `kill -9` in the page cache. While the process waits, the
byte is cleared, too: a kill during a wait for a disk is no sign of a bad file. A byte is written twice for
each batch, which takes a few microseconds.

    0                    256    257                     512
    | token, boot, deaths | set? | exception that ended it | of a fatal signal: what `faulthandler` writes ..
      JSON

A dispatcher that cannot make this file, or write into it, works without it.
"""

import faulthandler
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from pcapdj.capture.reader import Piece
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.mount_list import boot_id

_FLAG_AT, _CAUSE_AT, _FATAL_AT, _FILE_BYTES = 256, 257, 512, 4096
_SET, _CLEAR = b"1", b"0"
_FATAL: Final = "Fatal Python error: "
_TOKEN_CHARS: Final = 64  # of a token that another program made

events = EventLog("dispatcher")


class PreviousMark(NamedTuple):
    """What a dispatcher has left.

    Args:
        token: of the queue entry that it worked on.
        boot: the machine's boot.
        deaths: of dispatchers on that file before, since its last whole batch.
        is_set: it died while it opened, read or decoded the file.
        exception: the name of the exception that ended it; empty: none did.
        fatal: the signal that ended it, in words; empty: none that it could note.
    """

    token: str
    boot: str
    deaths: int
    is_set: bool
    exception: str
    fatal: str

    @property
    def cause(self) -> str:
        """How it died, as far as that is known."""
        if self.exception:
            return f"by the error {self.exception}"
        if self.fatal:
            return f"by a fatal signal: {self.fatal}"
        return "without a trace, as by SIGKILL, which the kernel sends when memory is short"


def deaths_on(previous: PreviousMark | None, token: str, boot: str) -> int:
    """Return how many dispatchers in a row died of this entry's file.

    The last one counts if it died in a look into the file, or of a fatal signal, which a thread that reads in
    advance may cause at any time. A reboot does not count.
    """
    if previous is None or previous.token != token[:_TOKEN_CHARS]:
        return 0
    return previous.deaths + (previous.boot == boot and (previous.is_set or bool(previous.fatal)))


class ReadingMark:
    """The mark of one dispatcher.

    Args:
        path: of its file; no other dispatcher may have it. None: there is no file, and no death is known.

    Attributes:
        boot: the machine's boot.
        previous: what the dispatcher before has left; None: nothing that is valid.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._fd = _opened(path) if path else None
        self.boot: Final = boot_id()
        self._token = ""
        self._deaths = 0
        self._is_set = self._notes_signals = False
        self.previous: PreviousMark | None = None
        if self._fd is not None:
            self.previous = _decoded(os.pread(self._fd, _FILE_BYTES, 0))
            os.lseek(self._fd, _FATAL_AT, os.SEEK_SET)
            self._notes_signals = not faulthandler.is_enabled()  # else someone wants them elsewhere
            if self._notes_signals:
                faulthandler.enable(self._fd, all_threads=False)  # others' frames may crash it

    def begin(self, token: str, deaths: int) -> None:
        """Begin to work on a queue entry's file.

        Args:
            token: of the entry.
            deaths: of dispatchers on it so far, since its last whole batch.
        """
        self.previous = None
        self._token, self._deaths = token[:_TOKEN_CHARS], deaths
        self._write(bytes(_FILE_BYTES), 0)
        self._write_head()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Set the mark for the block; an error that no code expects leaves it set."""
        self._set()
        try:
            yield
        except (PcapdjError, GeneratorExit):
            self._clear()
            raise
        except BaseException as exc:
            self._write(type(exc).__name__.encode()[: _FATAL_AT - _CAUSE_AT], _CAUSE_AT)
            raise
        self._clear()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Clear the mark for the block, if it is set."""
        if not self._is_set:
            yield
            return
        self._clear()
        yield
        self._set()

    def marked(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Yield the pieces, each read with the mark set; once the next is taken, the last one was sent."""
        while True:
            with self.reading():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
            self._complete_batch()

    def _complete_batch(self) -> None:
        """Forget earlier deaths: the file gave a batch since."""
        if self._deaths:
            self._deaths = 0
            self._write_head()

    def close(self) -> None:
        """Close the file; the mark stays as it is."""
        if self._fd is not None:
            if self._notes_signals:
                faulthandler.disable()
            os.close(self._fd)
            self._fd = None

    def _set(self) -> None:
        self._is_set = True
        self._write(_SET, _FLAG_AT)

    def _clear(self) -> None:
        self._is_set = False
        self._write(_CLEAR, _FLAG_AT)

    def _write_head(self) -> None:
        head = {"token": self._token, "boot": self.boot, "deaths": self._deaths}
        self._write(json.dumps(head).encode()[:_FLAG_AT].ljust(_FLAG_AT), 0)

    def _write(self, data: bytes, position: int) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.pwrite(self._fd, data, position)


def _opened(path: Path) -> int | None:
    """Return the descriptor of the file; None: it cannot be made, or is not a file of this user's own."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as exc:
        _log_absence(path, exc.strerror or str(exc))
        return None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        _log_absence(path, "it is not a file of this user")
        return None
    return fd


def _log_absence(path: Path, why: str) -> None:
    sentence = f"Deaths of dispatchers on a file are not counted: the file for it cannot be used: {why}."
    events.warning("no_reading_mark", sentence, path=path)


def _decoded(content: bytes) -> PreviousMark | None:
    try:
        head = decode_object(content[:_FLAG_AT])
        token, boot, deaths = head["token"], head["boot"], head["deaths"]
    except (ValueError, KeyError):
        return None
    if not isinstance(token, str) or not isinstance(boot, str) or type(deaths) is not int or deaths < 0:
        return None
    exception = content[_CAUSE_AT:_FATAL_AT].rstrip(b"\0").decode("ascii", "replace")
    fatal = content[_FATAL_AT:].split(b"\n")[0].rstrip(b"\0").decode("ascii", "replace")
    is_set = content[_FLAG_AT:_CAUSE_AT] == _SET
    return PreviousMark(token, boot, deaths, is_set, exception, fatal.removeprefix(_FATAL))
