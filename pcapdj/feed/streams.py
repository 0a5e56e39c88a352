"""The open stream: opened with its header, taken over from a dead dispatcher, ended, or lost.

One analyzer process reads a stream from its first byte to its end. This module opens and ends streams; the
feeder fills them. It does not use capture files: the format of a stream is its header, and the note has the
same as fields.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pcapdj.feed.analyzer_link import AnalyzerLink, Note, ResumableStream
from pcapdj.feed.batches import Batches, memory_file, new_batches
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.note import BatchNote
from pcapdj.feed.output_space import OutputSpace
from pcapdj.feed.pipe import Pipe
from pcapdj.feed.stored_stream import problem_of
from pcapdj.runtime.errors import LauncherGone, ReaderGone
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import HasFileno

if TYPE_CHECKING:
    from pcapdj.feed.launcher_client import Entry

HEADER_SETTLE_S: Final = 0.3  # Suricata 8.0.0 to 8.0.5 drop what libpcap had buffered before their setvbuf
STOP_GRACE_S: Final = 0.5  # by hand a stop completes the record in the pipe, if the analyzer reads on

events = EventLog("dispatcher")


@dataclass(slots=True)
class Stream:
    """One analyzer process's input, from its first byte to its end.

    Args:
        link: where its descriptors are stored.
        header: the memory file with its header.
        batches: the pipes that its records are spliced from.
        format: the note that was stored with the header.
        sent_bytes: with its header, up to the end of the last piece that was sent.
        previous: what the next file needs of the one fed before it; empty: there was none.
    """

    id: str
    pipe: Pipe
    link: AnalyzerLink
    header: int
    batches: Batches
    format: Note
    sent_bytes: int
    previous: Note = field(default_factory=dict)

    def put(self, key: str, fd: int, note: Note) -> None:
        """Store a descriptor, before its first byte is sent.

        Raises:
            ReaderGone, LauncherGone, Stopped: as `LauncherClient.put`.
        """
        self.link.put(self.id, key, fd, note)

    def add(self, length_bytes: int) -> None:
        """Count a piece that was sent."""
        self.sent_bytes += length_bytes

    def close(self) -> None:
        """Close this process's descriptors of it."""
        self.pipe.close()
        self.batches.close()
        os.close(self.header)


class Streams:
    """The stream that is open now, if any, and how it came and goes.

    Args:
        output_space: a stream ends while the output disk has room; None: at once.
    """

    def __init__(
        self, link: AnalyzerLink, interrupts: Interrupts, output_space: OutputSpace | None = None
    ) -> None:
        self.open: Stream | None = None
        # the capture file that an earlier dispatcher was sending in this stream
        self.unfinished: Entry | None = None
        self._link = link
        self._interrupts = interrupts
        self._output_space = output_space

    def resume(self) -> None:
        """Take over the stream that an earlier dispatcher left open, and complete its header or batch.

        The file that it was sending is in `unfinished` until `release`.

        Raises:
            Stopped: a stop signal arrived.
        """
        left = self._link.resumable_stream()
        if left is None:
            return
        if problem := problem_of(left):
            sentence = f"It cannot be resumed: {problem}. Another program stored that with the launcher."
            events.warning("stream_lost", sentence, stream=left.id)
            left.close()
            self._link.end(left.id)
            return
        stream = self.open = self._resumed(left)
        self.unfinished = left.file
        events.info("stream_resumed", stream=left.id, name=left.file.note["name"] if left.file else None)
        try:
            _finish_header(stream)
            if stream.batches.last is None:
                self._settle(stream)
            stream.batches.finish(stream.pipe)
        except (ReaderGone, LauncherGone):
            self.lose()

    def is_open(self, stream: str) -> bool:
        """Report whether this is the stream that is open."""
        return self.open is not None and self.open.id == stream

    def stalled_s(self) -> float:
        """Return for how long the analyzer has taken nothing of what is in the pipe; any thread may ask."""
        stream = self.open
        return stream.pipe.stalled_s() if stream else 0.0

    def unfinished_token(self) -> str:
        """Return the token of the file that an earlier dispatcher was sending; empty: it sent none."""
        return str(self.unfinished.note["token"]) if self.unfinished else ""

    def delivered(self, token: str) -> BatchNote | None:
        """Return what an earlier dispatcher sent of this entry's file; None: nothing is in the stream."""
        last = self.open.batches.last if self.open else None
        return last if last and last.token == token == self.unfinished_token() else None

    def has_packets_of(self, token: str) -> bool:
        """Report whether the open stream has packets of this entry's file, or gets them in any case."""
        last = self.open.batches.last if self.open else None
        return last is not None and last.token == token

    def wait_for_peer(self) -> None:
        """Wait for launcher or reader before a file is requested; an open stream has its analyzer.

        Raises:
            ReaderGone, LauncherGone: as `lose_if_broken`.
            Stopped: a stop signal arrived.
            CannotCreate: as the link's.
        """
        self.lose_if_broken()
        if self.open is None:
            self._link.wait_for_peer()

    def ensure(self, header: bytes, note: dict[str, Any]) -> Stream:
        """Return the open stream, or open one that begins with this header.

        Raises:
            ReaderGone, LauncherGone: its analyzer is gone already.
            Stopped: a stop signal arrived.
        """
        self.lose_if_broken()
        return self.open or self._opened(header, note)

    def grant_grace(self) -> bool:
        """Give half a second for the rest of a record, if no dispatcher could resume it; report whether."""
        if not self._link.outlives_dispatcher:
            self._interrupts.postpone_stop(STOP_GRACE_S)
        return not self._link.outlives_dispatcher

    def remember(self, previous: Note) -> None:
        """Store what the next file needs of this one.

        Before the file's result is in Redis: who finds the result finds this, too.

        Raises:
            Stopped: a stop signal arrived.
        """
        if stream := self.open:
            stream.previous = previous
            note = {**stream.format, "before": previous}
            with suppress(ReaderGone, LauncherGone):  # the next file notices
                stream.put("header", stream.header, note)

    def release(self) -> None:
        """Remove what is stored of the file in flight: its result is in Redis."""
        self._close_unfinished()
        if stream := self.open:
            self._link.drop(stream.id, "file")

    def end(self) -> None:
        """End the stream: the analyzer sees the end of its input and writes out what it has.

        Raises:
            Stopped: a stop signal arrived before its end.
        """
        self._wait_for_room()
        if self.open is None:
            return
        events.info("stream_ended", stream=self.open.id, stream_bytes=self.open.sent_bytes)
        self._link.remember_readers()
        self.lose()

    def _wait_for_room(self) -> None:
        while self.open and self._output_space and (shortage := self._output_space.shortage()):
            self._output_space.wait(shortage)
            self.lose_if_broken()

    def lose(self) -> None:
        """Close the open stream, also if its analyzer still runs: it must never be fed again."""
        stream, self.open = self.open, None
        self._close_unfinished()
        if stream:
            stream.close()
            self._link.end(stream.id)

    def descriptors(self) -> tuple[HasFileno, ...]:
        """Return what turns readable when the launcher of the open stream ends."""
        return self._link.descriptors() if self.open else ()

    def look(self) -> None:
        """In each wait: close the pipe if the launcher ends, and then waits until this process has left.

        Only then the analyzer sees the end of its input. Who uses the stream next finds it lost.
        """
        if self.open and not self._link.is_alive():
            self.open.pipe.close()

    def lose_if_broken(self) -> None:
        """Close the open stream if its analyzer or launcher went between two files.

        Raises:
            LauncherGone, ReaderGone: an earlier dispatcher's file is in it: that has to be fed on, or again.
        """
        try:
            if self.open:
                self.open.pipe.check_alive()
        except (ReaderGone, LauncherGone) as exc:
            if self.unfinished:
                raise
            stream = self.open.id if self.open else None
            events.warning("stream_lost", f"{exc} The stream ended between two files.", stream=stream)
            self.lose()

    def check_alive(self) -> None:
        """Check whether the open stream, if there is one, has launcher and analyzer.

        Raises:
            LauncherGone, ReaderGone: it has not.
        """
        if self.open:
            self.open.pipe.check_alive()

    def _opened(self, header: bytes, note: dict[str, Any]) -> Stream:
        stream_id, write_end = self._link.open()
        pipe = Pipe(write_end, self._interrupts, self._link, stream_id)
        file = memory_file("header", len(header), self._interrupts)
        os.pwrite(file, header, 0)
        batches = new_batches(self._interrupts)
        stream = self.open = Stream(stream_id, pipe, self._link, file, batches, note, len(header))
        for key, descriptor in stream.batches.descriptors.items():
            stream.put(key, descriptor, {})
        stream.put("header", stream.header, stream.format)
        _finish_header(stream)
        self._settle(stream)
        events.info("stream_opened", stream=stream.id, **stream.format)
        return stream

    def _resumed(self, left: ResumableStream) -> Stream:
        pipe = Pipe(left.write_end, self._interrupts, self._link, left.id)
        batches, note = Batches(left.batches, self._interrupts), left.header.note
        sent_bytes = batches.last.stream_end if batches.last else os.fstat(left.header.fd).st_size
        previous = note.get("before", {})
        return Stream(left.id, pipe, self._link, left.header.fd, batches, note, sent_bytes, previous)

    def _settle(self, stream: Stream) -> None:
        if not self._link.pauses_after_header:
            return
        stream.pipe.drain()
        self._interrupts.sleep(HEADER_SETTLE_S)

    def _close_unfinished(self) -> None:
        if self.unfinished:
            os.close(self.unfinished.fd)
        self.unfinished = None


def _finish_header(stream: Stream) -> None:
    """Send what is not in the pipe of the header yet."""
    left_bytes = os.fstat(stream.header).st_size - os.lseek(stream.header, 0, os.SEEK_CUR)
    stream.pipe.splice(stream.header, left_bytes)
