"""The end of a stream in the middle of a file, after which the next stream continues at a record.

The dispatcher stops anywhere, also in the middle of a record. Once it has no descriptor of the pipe any more:

    1 rest       send what is left in the noted batch
    2 read end   open one: it shows what the analyzer left unread
    3 close      the write end; the analyzer sees the end of its input, writes its results and exits
    4 look       it exited by itself with status 0, and nothing is unread
    5 record     write `EndedStream` into a file beside the socket, whole or not at all

Without that file the dispatcher feeds the file in flight again. So a crash between two steps leads to a
replay, and never to a loss. Without step 4 packets would be lost, because an analyzer that gives up also
exits with status 0 (12 of 12 trials). The place is in a file, because a stop of the service ends Redis first.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pcapdj.launcher_protocol import (
    HEADER_KEY,
    RECORDS_KEY,
    EndedStream,
    NotedBatch,
    encode_ended_stream,
)
from pcapdj.runtime import failpoints
from pcapdj.runtime.fifo import unread_bytes
from pcapdj.runtime.whole_file import write_whole


class OrderlyEnd:
    """The end of one stream; `close` closes its read end.

    Args:
        stream: its id.
        noted: the batch that is being sent.
        batch: its descriptor; closed by the caller after `send_rest` has returned true.
        notes: those that were stored with the descriptors, by key.
    """

    def __init__(
        self, stream: str, noted: NotedBatch, batch: int, notes: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._batch: Final = batch
        self._ended: Final = EndedStream(
            stream=stream,
            token=noted.token,
            record=base64.b64encode(noted.record).decode(),
            header=notes.get(HEADER_KEY, {}),
            file=notes.get(RECORDS_KEY, {}),
        )
        self._read_end: int | None = None

    def send_rest(self, write_end: int) -> bool:
        """Send what fits of the batch; report whether all of it is in the pipe.

        Raises:
            BrokenPipeError: the analyzer closed the pipe.
        """
        try:
            while left_bytes := unread_bytes(self._batch):
                os.splice(self._batch, write_end, left_bytes, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return False
        failpoints.reach("launcher.rest")
        # of the same pipe, whatever stands at its path now
        self._read_end = os.open(f"/proc/self/fd/{write_end}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        failpoints.reach("launcher.reader")
        return True

    def unread_bytes(self) -> int:
        """Return what the analyzer, which has exited, left unread; also where that cannot be seen: 1."""
        return 1 if self._read_end is None else unread_bytes(self._read_end)

    def ended_stream(self) -> EndedStream | None:
        """Return what the file describes; None if no packet of the file in flight was sent."""
        is_in_flight = self._ended.file.get("token") == self._ended.token
        return self._ended if is_in_flight else None

    def close(self) -> None:
        """Close the read end; a second call does nothing."""
        if self._read_end is not None:
            os.close(self._read_end)
            self._read_end = None


def write_ended_stream(path: Path, ended: EndedStream) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = encode_ended_stream(ended)
    write_whole(path, content, mode=0o600, before_rename=lambda: failpoints.reach("launcher.record"))
    failpoints.reach("launcher.recorded")
