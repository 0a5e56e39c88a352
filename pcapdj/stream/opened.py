"""A stream that is open, as its dispatcher has it, and the note by which a successor knows it."""

import os
from dataclasses import dataclass, field
from typing import Any

from pcapdj.stream.feed import Note
from pcapdj.stream.launcher_client import Entry
from pcapdj.stream.pipe import Pipe


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
