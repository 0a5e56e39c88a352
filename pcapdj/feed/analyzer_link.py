"""Where a dispatcher's streams come from: the launcher, or an analyzer that somebody started by hand.

                       launcher                                    by hand
who makes the pipe     the launcher, a new inode for each stream   the user; we, if it is missing
our death in mid-file  a successor goes on mid-record              the stream is torn, never continued
the analyzer's death   a new analyzer, a new stream                wait for the next reader
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pcapdj.feed.batches import Keeper, Note
from pcapdj.feed.launcher_client import Entry, LauncherClient
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import LauncherGone, ReaderGone
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits

Say = Callable[[str], None]  # what is waited for; called often, said rarely
_RETRY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class KeptStream:
    """A stream that a dead dispatcher left open, and what it was sending."""

    id: str
    write_end: int
    header: Entry | None
    file: Entry | None
    batch: Entry | None

    @property
    def last(self) -> Entry | None:
        """An entry of the file in flight; None between files."""
        return self.file or self.batch


class AnalyzerLink(Protocol):
    """What a dispatcher needs of either."""

    @property
    def outlives_dispatcher(self) -> bool:
        """Report whether the stream outlives this process."""

    def wait_for_peer(self) -> None:
        """Wait for whoever has to be there before a file is asked for."""

    def await_torn_reader(self) -> None:
        """Wait until the reader of a stream that a predecessor tore is gone."""

    def resumable_stream(self) -> KeptStream | None:
        """Return the stream that a predecessor left."""

    def open(self) -> tuple[str, int]:
        """Return the id and write end of a stream whose analyzer reads."""

    def is_alive(self) -> bool:
        """Report whether the keeper of the stream is there."""

    def has(self, stream: str) -> bool:
        """Report whether the stream's analyzer is there."""

    def keeper(self, stream: str) -> Keeper:
        """Return who keeps the stream's sources."""

    def put(self, stream: str, key: str, fd: int, note: Note) -> None:
        """Leave a source with the keeper."""

    def drop(self, stream: str, key: str) -> None:
        """Let the keeper forget a source."""

    def remember_readers(self) -> None:
        """Take note of who reads the stream that is about to end: the next one is none of theirs."""

    def end(self, stream: str) -> None:
        """The write end is closed: the stream is over."""


@dataclass(frozen=True, slots=True)
class _StreamKeeper:
    """The keeper's part that belongs to one stream."""

    stream: str
    link: AnalyzerLink

    def put(self, key: str, fd: int, note: Note) -> None:
        self.link.put(self.stream, key, fd, note)


class LauncherLink:
    """Streams of the launcher's analyzers.

    Args:
        socket_path: where the launcher listens.
        signals: end every wait.
        say: told what is waited for.
    """

    outlives_dispatcher: Final = True

    def __init__(self, socket_path: Path, signals: Waits, say: Say) -> None:
        self._launcher = LauncherClient(socket_path, signals)
        self._socket_path = socket_path
        self._signals = signals
        self._say = say

    def wait_for_peer(self) -> None:
        """Wait until the launcher is there.

        Raises:
            Stopped: a stop signal arrived.
        """
        while not self._launcher.connect():
            self._say(f"Waiting for the launcher at {quoted(str(self._socket_path))}.")
            self._signals.wait(_RETRY_S)

    def await_torn_reader(self) -> None:
        """Nothing to wait for: the launcher's streams end with their analyzer."""

    def resumable_stream(self) -> KeptStream | None:
        """Return the open stream and what is in it; a stream without a header is opened again later.

        Raises:
            Stopped: a stop signal arrived.
        """
        opened = self._insist(self._launcher.get)
        if opened is None:
            return None
        entries = {entry.key: entry for entry in opened.entries}
        if "header" not in entries:
            os.close(opened.write_end)
            return None
        return KeptStream(
            opened.stream, opened.write_end, entries["header"], entries.get("file"), entries.get("batch")
        )

    def open(self) -> tuple[str, int]:
        """Return the id and write end of a stream, however long its analyzer takes to start.

        Raises:
            Stopped: a stop signal arrived.
        """
        opened = self._insist(lambda: self._launcher.open(self._waiting))
        for entry in opened.entries:
            os.close(entry.fd)
        return opened.stream, opened.write_end

    def is_alive(self) -> bool:
        """Report whether the launcher lives."""
        return self._launcher.is_alive()

    def has(self, stream: str) -> bool:
        """Report whether the launcher still has this stream.

        Raises:
            LauncherGone, Stopped: as `Launcher.get`.
        """
        opened = self._launcher.get()
        if opened is None:
            return False
        for descriptor in (opened.write_end, *(entry.fd for entry in opened.entries)):
            os.close(descriptor)
        return opened.stream == stream

    def keeper(self, stream: str) -> Keeper:
        """Return the launcher's keeper of this stream."""
        return _StreamKeeper(stream, self)

    def put(self, stream: str, key: str, fd: int, note: Note) -> None:
        """Leave a source with the launcher.

        Raises:
            ReaderGone, LauncherGone, Stopped: as `Launcher.put`.
        """
        self._launcher.put(stream, key, fd, note)
        failpoints.reach("put.after")

    def drop(self, stream: str, key: str) -> None:
        """Let the launcher forget a source; with the stream or the launcher gone it is forgotten."""
        with suppress(ReaderGone, LauncherGone):
            self._launcher.drop(stream, key)

    def remember_readers(self) -> None:
        """Nothing to note: the launcher makes a new pipe for each stream."""

    def end(self, stream: str) -> None:
        """Let the analyzer see the end of its input; a launcher that is gone has ended it already."""
        with suppress(LauncherGone):
            self._launcher.end(stream)

    def _insist(self, ask: Callable[[], Any]) -> Any:
        while True:
            self.wait_for_peer()
            try:
                return ask()
            except LauncherGone as exc:
                self._say(str(exc))
                self._signals.wait(_RETRY_S)

    def _waiting(self, waited_s: float) -> None:
        if waited_s > 1:
            self._say("Waiting for the analyzer to open the pipe.")
