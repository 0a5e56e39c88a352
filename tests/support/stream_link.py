"""A link to one pipe of the test, whose reader reads all that comes: for streams without a launcher."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pcapdj.capture.reading_process import FileOpener
from pcapdj.feed.analyzer_link import AnalyzerLink, ResumableStream
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.storage import CaptureStorage
from pcapdj.feed.suspension import Suspension
from pcapdj.launcher_protocol import BATCH_KEYS
from pcapdj.runtime.errors import LauncherGone, PcapdjError
from pcapdj.runtime.fifo import unread_bytes
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.notifier import Notifier
from support.pipes import new_statistics


def storage_of(
    store: Store, opener: FileOpener, interrupts: Interrupts, timeout_s: float = 600
) -> CaptureStorage:
    """Return what opens the files of a dispatcher without roots."""
    skips, statistics = SkipRequests("d"), new_statistics()
    return CaptureStorage(store, opener, (), skips, interrupts, statistics, timeout_s)


class RecordingLink(AnalyzerLink):
    """A link to one pipe of the test, whose reader reads all; it records what is asked of it."""

    def __init__(self) -> None:
        self.outlives_dispatcher = True
        self.pauses_after_header = False
        self.reader, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.calls: list[tuple[Any, ...]] = []
        self.got = bytearray()
        self.left: ResumableStream | None = None
        self.takes_entries = self.has_launcher = True
        self.lost_at: dict[str, PcapdjError] = {}  # by key, what the first entry with this key meets

    def wait_for_peer(self) -> None:
        """Record it."""
        self.calls.append(("wait",))

    def wait_for_readers_to_close(self) -> None:
        """Record it."""
        self.calls.append(("torn",))

    def resumable_stream(self) -> ResumableStream | None:
        """Return what the test left."""
        return self.left

    def open(self) -> tuple[str, int]:
        """Return the pipe's write end, of a new pipe after the analyzer left."""
        if self.reader < 0:
            self.reader, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return "5ca1ab1e", self.write_end

    def is_alive(self) -> bool:
        """Report what the test set."""
        return self.has_launcher

    def put(self, stream: str, key: str, fd: int, note: Mapping[str, Any]) -> None:
        """Record it, with how much of the header was sent, or of a batch is there."""
        if not self.takes_entries:
            raise LauncherGone("It is gone.")
        if loss := self.lost_at.pop(key, None):
            self.leave()
            self.got.clear()
            raise loss
        moved_bytes = unread_bytes(fd) if key in BATCH_KEYS else os.lseek(fd, 0, os.SEEK_CUR)
        self.calls.append(("put", stream, key, moved_bytes, dict(note)))

    def drop(self, stream: str, key: str) -> None:
        """Record it."""
        self.calls.append(("drop", stream, key))

    def remember_readers(self) -> None:
        """Record it."""
        self.calls.append(("remember",))

    def end(self, stream: str) -> None:
        """Record it."""
        self.calls.append(("end", stream))

    def read(self) -> None:
        """Read what is in the pipe, unless the analyzer has left."""
        with suppress(BlockingIOError):
            while self.reader >= 0 and (part := os.read(self.reader, 1 << 16)):
                self.got += part

    def leave(self) -> None:
        """Close the reading end, as an analyzer that dies."""
        os.close(self.reader)
        self.reader = -1


class ReadingInterrupts(Interrupts):
    """Interrupts during each of whose checks the analyzer reads; they record how long each sleep is."""

    def __init__(self, link: RecordingLink, signals: Signals) -> None:
        statistics = new_statistics()
        super().__init__(signals, Suspension("d", statistics), statistics)
        self._link = link
        self.slept_s: list[float] = []

    def sleep(self, duration_s: float, *, waiting_for: str = "") -> None:
        """Record it, and sleep."""
        self.slept_s.append(duration_s)
        super().sleep(duration_s, waiting_for=waiting_for)

    def check(self) -> bool:
        """Let the analyzer read."""
        self._link.read()
        return super().check()


class SilentNotifier(Notifier):
    """A notifier that gets no message: it has no thread and no connection."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        """Close its descriptor."""
        os.close(self._event)
