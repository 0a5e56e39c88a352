"""The dispatcher's side of the launcher's five words.

It opens no pipe and moves no byte; it hands over descriptors and gets some back. Losing the launcher is
losing the stream: the analyzer dies with it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.signals import Signals
from pcapdj.stream import messages
from pcapdj.stream.launcher_line import LauncherLine
from pcapdj.stream.protocol import Reply, Request, Word

_SLICE_S = 0.25  # how often a waiting `open` tells its caller


@dataclass(frozen=True, slots=True)
class Entry:
    """What the keeper held for the dispatcher before: its position is where the bytes in the pipe end."""

    key: str
    note: dict[str, Any]
    fd: int


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose analyzer reads; the descriptors belong to the caller.

    Args:
        stream: its id.
        write_end: the pipe, O_WRONLY | O_NONBLOCK, one open file description with the launcher's own.
        entries: what was being fed when its last dispatcher left; empty for a new stream.
    """

    stream: str
    write_end: int
    entries: tuple[Entry, ...]


class Launcher:
    """The launcher as the dispatcher sees it; losing it raises `LauncherGone`, `connect` tries anew.

    Args:
        socket_path: where it listens.
        signals: end the waits: a first stop signal that of `open`, a second one every wait.

    Raises:
        CannotCreate: the path is too long for a unix socket.
    """

    def __init__(self, socket_path: Path, signals: Signals) -> None:
        self._signals = signals
        self._line = LauncherLine(socket_path.absolute(), signals)

    def connect(self) -> bool:
        """Connect unless connected; report whether the launcher is there. Never blocks.

        Raises:
            CannotCreate: the socket belongs to another user.
        """
        return self._line.connect()

    def fileno(self) -> int:
        """Return the descriptor that turns readable when the launcher speaks or dies.

        Raises:
            LauncherGone: there is no connection.
        """
        return self._line.fileno()

    def is_alive(self) -> bool:
        """Report whether the connection stands; never blocks."""
        return self._line.is_alive()

    def get(self) -> OpenStream | None:
        """Return the open stream and what is in it; None if there is none.

        Raises:
            LauncherGone: it died, does not answer, or serves another dispatcher.
            Stopped: a second stop signal arrived meanwhile.
        """
        return self._opened(*self._line.ask(Request(Word.GET)))

    def open(self, wait: Callable[[float], None]) -> OpenStream:
        """Return the open stream, or a new one once its analyzer has opened the pipe; may take long.

        Args:
            wait: told every 0.25 s for how many seconds it has waited.

        Raises:
            Stopped: a stop signal arrived; the connection is closed.
            LauncherGone: as `get`.
        """
        self._line.send(Request(Word.OPEN))
        started_s = time.monotonic()
        while (answer := self._line.answer()) is None:
            if self._signals.wait(_SLICE_S, self._line):
                self.close()
                raise Stopped("A stop signal arrived while waiting for the analyzer.")
            wait(time.monotonic() - started_s)
        opened = self._opened(*answer)
        if opened is None:
            raise self._line.lost("opened no stream")
        return opened

    def put(self, stream: str, key: str, fd: int, note: Mapping[str, Any]) -> None:
        """Leave a duplicate of the descriptor with the keeper, before its first byte is spliced.

        Args:
            stream: its id.
            key: `header`, `file` or `batch`; what was kept under it is let go.
            fd: a regular file or memfd open for reading, whose position is what splice moves.
            note: what a successor has to know; given back as it is.

        Raises:
            ReaderGone: the launcher has no such stream (any more).
            BadMessage: the note is longer than a message may be.
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.PUT, stream, key, note), fd)

    def drop(self, stream: str, key: str) -> None:
        """Let the keeper forget an entry; nothing is to be done where it or its stream is gone.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.DROP, stream, key))

    def end(self, stream: str) -> None:
        """End the stream; the caller has closed its write end before.

        Returns when the launcher has closed its own, so that the analyzer sees the end of the file.

        Raises:
            LauncherGone, Stopped: as `get`.
        """
        self._done(Request(Word.END, stream))

    def close(self) -> None:
        """Close the connection; the stream stays open for the next dispatcher."""
        self._line.close()

    def _done(self, request: Request, *descriptors: int) -> None:
        _, unexpected = self._line.ask(request, *descriptors)
        messages.close_all(unexpected)

    def _opened(self, reply: Reply, descriptors: tuple[int, ...]) -> OpenStream | None:
        expected = 0 if reply.stream is None else 1 + len(reply.entries)
        if len(descriptors) != expected:
            messages.close_all(descriptors)
            raise self._line.lost(f"sent {len(descriptors)} descriptors instead of {expected}")
        if reply.stream is None:
            return None
        write_end, *kept = descriptors
        entries = (Entry(key, dict(note), fd) for (key, note), fd in zip(reply.entries, kept, strict=True))
        return OpenStream(reply.stream, write_end, tuple(entries))
