"""A stream that is open, as its dispatcher has it, and the note by which a successor knows it.

One stream after another: opened with its header, taken over from a dead predecessor, ended, or lost.

Knows nothing of capture files: a stream's format is its header, and a note that says the same in words.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.feed.analyzer_link import AnalyzerLink, KeptStream
from pcapdj.feed.batches import Note, finish_kept, memory_file
from pcapdj.feed.launcher_client import Entry
from pcapdj.feed.pipe import Pipe
from pcapdj.runtime.errors import LauncherGone, ReaderGone, Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import HasFileno


@dataclass(slots=True)
class Stream:
    """One analyzer process's input, from its first byte to its end.

    Args:
        id: as the launcher gave it.
        pipe: its write end.
        header: the memfd with its header.
        format: the note that was kept with the header.
        sent_bytes: up to the end of the last piece that was sent.
        before: what the next file has to know of the one fed before it; empty: there was none.
    """

    id: str
    pipe: Pipe
    header: int
    format: Note
    sent_bytes: int = 0
    before: Note = field(default_factory=dict)

    def note(self) -> dict[str, Any]:
        """Return what is kept with the header, between two files."""
        return {**self.format, "sent_bytes": self.sent_bytes, "before": self.before}

    def close(self) -> None:
        """Close this process's descriptors of it."""
        self.pipe.close()
        os.close(self.header)


def resumed(stream_id: str, pipe: Pipe, header: Entry) -> Stream:
    """Return the stream that a predecessor left; the entry's descriptor stays the caller's."""
    fd, note = os.dup(header.fd), header.note
    sent_bytes = note.get("sent_bytes", os.fstat(fd).st_size)
    return Stream(stream_id, pipe, fd, note, sent_bytes, note.get("before", {}))


HEADER_SETTLE_S: Final = 0.3  # Suricata 8.0.0 to 8.0.5 drop what libpcap had buffered before their setvbuf
_CHECK_S: Final = 0.25  # a launcher that was told to stop must not wait for the end of a large file
_ASK_S: Final = 1.0  # for so long nothing is taken from the pipe; then we ask whether its analyzer lives
STOP_GRACE_S: Final = 0.5  # by hand a stop completes the record in the pipe, if the analyzer reads on

events = EventLog("dispatcher")


class Streams:
    """The stream that is open now, if any, and how it came and goes.

    Args:
        outlet: where streams come from.
        wakeups: what else the pipe's waits have to notice.
        attend: deals with signals and suspension; raises `Stopped`.
    """

    def __init__(self, link: AnalyzerLink, wakeups: Sequence[HasFileno], attend: Callable[[], None]) -> None:
        self.link: Final = link
        self.open: Stream | None = None
        self.left: KeptStream | None = None
        self._wakeups = wakeups
        self._attend = attend
        self._grace_until_s = 0.0
        self._ask_at_s = 0.0
        self._next_check_s = 0.0

    def resume(self) -> None:
        """Take over the stream that a predecessor left, and complete its header or batch.

        What it left of a file is in `left` until `release`.

        Raises:
            Stopped: a stop signal arrived.
        """
        left = self.left = self.link.resumable_stream()
        if left is None or left.header is None:
            return
        stream = self.open = resumed(left.id, self._pipe(left.id, left.write_end), left.header)
        last = left.last
        events.info("stream_resumed", stream=left.id, name=last.note["name"] if last else None)
        try:
            if finish_kept(stream.pipe, left.header.fd) or last is None:
                self._settle(stream.pipe)
            if left.batch:
                finish_kept(stream.pipe, left.batch.fd)
        except ReaderGone:
            self.lose()

    def is_open(self, stream: str) -> bool:
        """Report whether this is the stream that is open."""
        return self.open is not None and self.open.id == stream

    def stalled_s(self) -> float:
        """Return for how long the analyzer has taken nothing of what is in the pipe; any thread may ask."""
        stream = self.open
        return stream.pipe.stalled_s() if stream else 0.0

    def left_token(self) -> str:
        """Return the token of the file whose bytes are in the resumed stream; empty: of none."""
        last = self.left.last if self.left else None
        return str(last.note["token"]) if last else ""

    def wait_for_peer(self) -> None:
        """Wait for whoever has to be there before a file is asked for; an open stream has its analyzer.

        Raises:
            Stopped: a stop signal arrived.
            CannotCreate: as the outlet says.
        """
        self.lose_if_broken()
        if self.open is None:
            self.link.wait_for_peer()

    def ensure(self, header: bytes, note: dict[str, Any]) -> Stream:
        """Return the open stream, or open one that begins with this header.

        Raises:
            ReaderGone, LauncherGone: its analyzer is gone already.
            Stopped: a stop signal arrived.
        """
        self.lose_if_broken()
        if self.open is None:
            stream_id, write_end = self.link.open()
            with memory_file(header) as fd:
                self.open = Stream(stream_id, self._pipe(stream_id, write_end), os.dup(fd), note)
            self._send_header(self.open)
        return self.open

    def grant_grace(self) -> None:
        """Let the record in the pipe be completed although a stop signal arrived; for half a second."""
        self._grace_until_s = time.monotonic() + STOP_GRACE_S

    def remember(self, before: Note) -> None:
        """Leave with the launcher how far the stream is, and what the next file has to know of this one.

        Before the file's fate is written down: whoever finds it written finds this, too.

        Raises:
            Stopped: a stop signal arrived.
        """
        if stream := self.open:
            stream.before = before
            with suppress(ReaderGone, LauncherGone):  # the next file notices
                self.link.put(stream.id, "header", stream.header, stream.note())

    def release(self) -> None:
        """Forget the file in flight: its fate is written down."""
        self._forget_left()
        if stream := self.open:
            self.link.drop(stream.id, "batch")
            self.link.drop(stream.id, "file")

    def end(self) -> None:
        """End the stream: the analyzer sees the end of its input and writes out what it has."""
        if self.open is None:
            return
        events.info("stream_ended", stream=self.open.id, stream_bytes=self.open.sent_bytes)
        stream, self.open = self.open, None
        self._forget_left()
        self.link.remember_readers()
        stream.close()
        self.link.end(stream.id)

    def lose(self) -> None:
        """Forget a stream whose analyzer is gone; one that is not must never be handed out again."""
        stream, self.open = self.open, None
        self._forget_left()
        if stream:
            stream.close()
            self.link.end(stream.id)

    def lose_if_broken(self) -> None:
        """Forget the open stream if its analyzer or launcher went between two files.

        Has to be asked while nothing is fed, too: a launcher that was told to stop waits for our write end.
        """
        try:
            self.check()
        except (ReaderGone, LauncherGone) as exc:
            stream = self.open.id if self.open else None
            events.warning("stream_lost", f"{exc} The stream ended between two files.", stream=stream)
            self.lose()

    def check(self) -> None:
        """Look whether the open stream's launcher and analyzer are there.

        Raises:
            LauncherGone, ReaderGone: one of them is not.
        """
        if self.open and not self.link.is_alive():
            raise LauncherGone("The launcher is gone.")
        if self.open and self.open.pipe.is_broken():
            raise ReaderGone("The analyzer closed the pipe.")

    def _send_header(self, stream: Stream) -> None:
        self.link.put(stream.id, "header", stream.header, stream.format)
        finish_kept(stream.pipe, stream.header)
        stream.sent_bytes = os.fstat(stream.header).st_size
        self._settle(stream.pipe)
        events.info("stream_opened", stream=stream.id, **stream.format)

    def _settle(self, pipe: Pipe) -> None:
        pipe.drain()
        until_s = time.monotonic() + HEADER_SETTLE_S
        while time.monotonic() < until_s:
            self._attend()
            time.sleep(0.02)

    def _pipe(self, stream_id: str, write_end: int) -> Pipe:
        def attend() -> None:
            self._attend_unless_grace()
            self._ask_if_stalled(stream_id, pipe)

        pipe = Pipe(write_end, self._wakeups, attend)
        return pipe

    def _ask_if_stalled(self, stream_id: str, pipe: Pipe) -> None:
        """Notice an analyzer's death where somebody else reads the pipe, too: no EPIPE comes then."""
        now_s = time.monotonic()
        if pipe.stalled_s() < _ASK_S or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + _ASK_S
        if not self.link.has(stream_id):
            raise ReaderGone("The analyzer is gone, and somebody else holds the pipe open.")

    def _attend_unless_grace(self) -> None:
        now_s = time.monotonic()
        try:
            self._attend()
        except Stopped:
            if now_s >= self._grace_until_s:
                raise
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + _CHECK_S
            self.check()

    def _forget_left(self) -> None:
        if self.left:
            for entry in (self.left.header, self.left.file, self.left.batch):
                if entry:
                    os.close(entry.fd)
        self.left = None
