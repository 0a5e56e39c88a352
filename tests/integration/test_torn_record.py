"""A record that a dispatcher left torn is completed with the bytes of its file, wherever the tear is."""

import os
from pathlib import Path

from support.captures import Record, classic
from support.pipes import LivingPeer, ScriptedInterrupts

from pcapdj.capture.opening import open_capture
from pcapdj.feed.analyzer_link import Note
from pcapdj.feed.batches import BatchSender
from pcapdj.feed.pipe import Pipe

HEADER_BYTES = 24
RECORD_BYTES = 16 + 700


class NoStore:
    """Stores nothing."""

    def put(self, key: str, fd: int, note: Note) -> None:
        """Do nothing."""


def completed(path: Path, delivered_bytes: int) -> bytes:
    """Return what enters the pipe when so much of the records is in the stream already."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    source = os.open(path, os.O_RDONLY)
    os.lseek(source, HEADER_BYTES + delivered_bytes, os.SEEK_SET)
    with open_capture(os.fsencode(path), refuse_written=False) as capture:
        pipe = Pipe(writer, ScriptedInterrupts(), LivingPeer(), "5ca1ab1e")
        feed = BatchSender(pipe, NoStore(), source, {}, is_kept=True)
        assert capture.native is not None
        for piece in capture.pieces(capture.native):
            if feed.complete_record(piece):
                break
    os.close(writer)
    try:
        return os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        os.close(source)


def test_a_record_is_completed_from_every_byte_on(tmp_path: Path) -> None:
    """In its header, where its length is not all there yet, and in its data; not a byte of the next."""
    content = classic([Record(1, n, bytes([n + 1]) * 700) for n in range(3)])
    path = tmp_path / "1.pcap"
    path.write_bytes(content)
    torn = range(RECORD_BYTES + 1, 2 * RECORD_BYTES)

    for delivered in (*range(1, 60), *torn):
        end = -(-delivered // RECORD_BYTES) * RECORD_BYTES
        assert completed(path, delivered) == content[HEADER_BYTES + delivered : HEADER_BYTES + end]

    assert completed(path, RECORD_BYTES) == b""
