"""Where a dispatcher's streams come from: the launcher, or an analyzer that a user started by hand.

                       launcher                                    by hand
who makes the pipe     the launcher, a new inode for each stream   the user; we, if it is missing
our death in mid-file  the next dispatcher continues mid-record    the stream is torn, never continued
the analyzer's death   a new analyzer, a new stream                wait for the next reader
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pcapdj.feed.launcher_client import Entry, LauncherClient
from pcapdj.launcher_protocol import EndedStream, close_descriptors, read_ended_stream
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import LauncherGone, ReaderGone
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import HasFileno, Waits

_RETRY_S: Final = 0.2

Note = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResumableStream:
    """A stream that a dead dispatcher left open, and what it was sending.

    Args:
        id: as the launcher gave it.
        write_end: of its pipe.
        header: the stream's first bytes; its note is the stream's format.
        batches: the descriptors of the two batches and their note, by key.
        file: the capture file in flight; None between files.
    """

    id: str
    write_end: int
    header: Entry
    batches: Mapping[str, int]
    file: Entry | None

    def close(self) -> None:
        """Close its descriptors, where it is not resumed."""
        file = () if self.file is None else (self.file.fd,)
        close_descriptors((self.write_end, self.header.fd, *self.batches.values(), *file))


class AnalyzerLink:
    """What a dispatcher needs of both links; a method that only one of them needs does nothing here."""

    outlives_dispatcher: bool  # whether the stream outlives this process
    pauses_after_header: bool = True  # whether the stream last opened does; by hand any analyzer may read it

    def wait_for_peer(self) -> None:
        """Wait for the launcher, or for a reader of the pipe, before a file is requested."""
        raise NotImplementedError

    def wait_for_readers_to_close(self) -> None:
        """Wait until the reader of a stream that an earlier dispatcher tore is gone; the launcher ends it."""

    def resumable_stream(self) -> ResumableStream | None:
        """Return the stream that an earlier dispatcher left open; None: the link stores none."""
        return None

    def ended_stream(self) -> EndedStream | None:
        """Return the last stream that the launcher ended in order in the middle of a file, if any."""
        return None

    def open(self) -> tuple[str, int]:
        """Return the id and write end of a stream whose analyzer reads."""
        raise NotImplementedError

    def is_alive(self) -> bool:
        """Report whether the launcher is there; without one the pipe itself shows the reader's end."""
        return True

    def descriptors(self) -> tuple[HasFileno, ...]:
        """Return what turns readable when the launcher ends."""
        return ()

    def has(self, stream: str) -> bool:  # noqa: ARG002 - any, as `is_alive`
        """Report whether the stream's analyzer is there."""
        return True

    def put(self, stream: str, key: str, fd: int, note: Note) -> None:
        """Store a descriptor, before its first byte is sent."""

    def drop(self, stream: str, key: str) -> None:
        """Remove a stored descriptor."""

    def remember_readers(self) -> None:
        """Note who reads the stream that is about to end, where the next one gets the same pipe.

        Raises:
            Stopped: a stop signal arrived.
        """

    def end(self, stream: str) -> None:
        """End the stream; its write end is closed."""


class LauncherLink(AnalyzerLink):
    """Streams of the launcher's analyzers.

    Raises:
        CannotCreate: the path is too long for a unix socket.
    """

    outlives_dispatcher = True

    def __init__(self, socket_path: Path, waits: Waits) -> None:
        self._launcher = LauncherClient(socket_path, waits)
        self._socket_path = socket_path
        self._waits = waits

    def wait_for_peer(self) -> None:
        """Wait until the launcher is there.

        Raises:
            Stopped: a stop signal arrived.
            CannotCreate: the socket belongs to another user.
        """
        while not self._launcher.connect():
            where = quoted(str(self._socket_path))
            self._waits.wait(_RETRY_S, waiting_for=f"Waiting for the launcher at {where}.")

    def resumable_stream(self) -> ResumableStream | None:
        """Return the open stream and what is in it; a stream without a header is opened again later.

        Raises:
            Stopped: a stop signal arrived.
        """
        opened = self._retry(self._launcher.get)
        if opened is None:
            return None
        self.pauses_after_header = opened.pauses
        entries = {entry.key: entry for entry in opened.entries}
        if "header" not in entries:  # it is stored last
            for descriptor in (opened.write_end, *(entry.fd for entry in opened.entries)):
                os.close(descriptor)
            return None
        header, file = entries.pop("header"), entries.pop("file", None)
        batches = {key: entry.fd for key, entry in entries.items()}
        return ResumableStream(opened.stream, opened.write_end, header, batches, file)

    def ended_stream(self) -> EndedStream | None:
        """Return the stream that ended in order; first wait for the launcher: an old one may still write it.

        Raises:
            Stopped: a stop signal arrived.
        """
        self.wait_for_peer()
        return read_ended_stream(self._socket_path)

    def open(self) -> tuple[str, int]:
        """Return the id and write end of a stream, however long its analyzer takes to start.

        Raises:
            Stopped: a stop signal arrived.
        """
        opened = self._retry(self._launcher.open)
        self.pauses_after_header = opened.pauses
        for entry in opened.entries:
            os.close(entry.fd)
        return opened.stream, opened.write_end

    def is_alive(self) -> bool:
        """Report whether the launcher lives."""
        return self._launcher.is_alive()

    def descriptors(self) -> tuple[HasFileno, ...]:
        """Return the connection to the launcher."""
        return self._launcher.descriptors()

    def has(self, stream: str) -> bool:
        """Report whether the launcher still has this stream.

        Raises:
            LauncherGone, Stopped: as `LauncherClient.get`.
        """
        opened = self._launcher.get()
        if opened is None:
            return False
        for descriptor in (opened.write_end, *(entry.fd for entry in opened.entries)):
            os.close(descriptor)
        return opened.stream == stream

    def put(self, stream: str, key: str, fd: int, note: Note) -> None:
        """Store a descriptor with the launcher.

        Raises:
            ReaderGone, LauncherGone, Stopped: as `LauncherClient.put`.
        """
        self._launcher.put(stream, key, fd, note)
        failpoints.reach("put.after")

    def drop(self, stream: str, key: str) -> None:
        """Remove a stored descriptor; with the stream or the launcher gone there is none."""
        with suppress(ReaderGone, LauncherGone):
            self._launcher.drop(stream, key)

    def end(self, stream: str) -> None:
        """Let the analyzer see the end of its input; a launcher that is gone has ended it already."""
        with suppress(LauncherGone):
            self._launcher.end(stream)

    def _retry(self, request: Callable[[], T]) -> T:
        while True:
            self.wait_for_peer()
            try:
                return request()
            except LauncherGone as exc:
                self._waits.wait(_RETRY_S, waiting_for=str(exc))
