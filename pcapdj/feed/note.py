"""The note: what of a file is in the stream, for the dispatcher that takes over. Pure.

It is one page in a memory file that the launcher has, too. Two records are written in turn, each with one
pwrite(2): a dispatcher that dies in it leaves a record with a wrong checksum, and the other record counts. Of
two valid ones the one with the higher number counts.

    page    0                        2048                     4096
            | records 2, 4, 6 ..     | records 1, 3, 5 ..     |

    record  0       4      6      8        16      48      52       56
            | CRC32 | size | kinds | number | token | batch | length | stream position ..
            the first 56 bytes are the launcher's, too: `launcher_protocol.NOTE_HEAD`

            56                64       72        80               88              185      282
            | stream position | offset | section | interfaces end | totals before | totals |
            stream position: of the batch's first byte; the next three: `Place` behind its last one

            282
            | link type (4), packets left out (8) | .. one for each of `kinds` | CRC32 of the capture (4) |
            CRC32: of the capture's bytes up to the offset; missing if it is not known

    totals  0         8           16        24           40          56           64             80
            | packets | cap bytes | lengths | first time | last time | steps back | largest step | ..
            times in nanoseconds since 1970

            80               88              96                 97
            | beyond snaplen | wrapped times | times after 2038 |
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from pcapdj.capture.pcap import OTHER_LINKTYPES, Place, Totals
from pcapdj.launcher_protocol import (
    CHECKSUM_BYTES,
    NOTE_HEAD,
    RECORD_BYTES,
    NotedBatch,
    checked_record,
    noted_batch,
)

_PLACE: Final = struct.Struct("<QQQQ")
_TOTALS: Final = struct.Struct("<QQQ16s16sQ16sQQ?")
_KIND: Final = struct.Struct("<IQ")
_CRC32: Final = struct.Struct("<I")
_FIXED_BYTES: Final = NOTE_HEAD.size + _PLACE.size + 2 * _TOTALS.size
_MOST_KINDS: Final = (RECORD_BYTES - _FIXED_BYTES - _CRC32.size) // _KIND.size


class BatchNote(NamedTuple):
    """One record of the note: the batch that is being sent, or was sent last.

    Args:
        number: 1 for a stream's first batch.
        token: of the queue entry whose packets are in it.
        batch: 0 or 1, the pipe that has it.
        length_bytes: of its records.
        stream_position: where in the stream its first byte is.
        after: where in the capture the next batch begins, with what was left out before that.
        totals_before: of the file's records in the stream before this batch.
        totals: of all records up to its end.
    """

    number: int
    token: str
    batch: int
    length_bytes: int
    stream_position: int
    after: Place
    totals_before: Totals
    totals: Totals

    @property
    def stream_end(self) -> int:
        """Where in the stream the batch ends."""
        return self.stream_position + self.length_bytes


def encode_note(note: BatchNote) -> tuple[bytes, int]:
    """Return the record, and its offset in the page."""
    after, kinds = note.after, _limited(note.after.skipped)
    content = b"".join(
        (
            _PLACE.pack(note.stream_position, after.offset, after.section, after.interfaces_end),
            _packed_totals(note.totals_before),
            _packed_totals(note.totals),
            *(_KIND.pack(linktype, packets) for linktype, packets in kinds),
            b"" if after.crc32 is None else _CRC32.pack(after.crc32),
        )
    )
    size_bytes = NOTE_HEAD.size - CHECKSUM_BYTES + len(content)
    token = note.token.encode("utf-8", "surrogateescape")
    head = NOTE_HEAD.pack(0, size_bytes, len(kinds), note.number, token, note.batch, note.length_bytes)
    checked = head[CHECKSUM_BYTES:] + content
    return zlib.crc32(checked).to_bytes(CHECKSUM_BYTES, "little") + checked, note.number % 2 * RECORD_BYTES


def latest_note(page: bytes) -> BatchNote | None:
    """Return the page's valid record with the higher number; None if there is none."""
    found = noted_batch(page)
    return _decoded(found) if found else None


def decode_record(record: bytes) -> BatchNote | None:
    """Return what one record holds; None if its checksum is wrong, or it is shorter than it says."""
    found = checked_record(record)
    if not found or len(found.record) < _FIXED_BYTES:
        return None
    try:
        return _decoded(found)
    except struct.error:  # another program wrote it, checksum and all
        return None


def _limited(skipped: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return the counts by link type; where there are too many, the last ones as one sum."""
    kinds = sorted(skipped.items())
    if len(kinds) <= _MOST_KINDS:
        return kinds
    rest = sum(packets for _, packets in kinds[_MOST_KINDS - 1 :])
    return [*kinds[: _MOST_KINDS - 1], (OTHER_LINKTYPES, rest)]


def _packed_totals(totals: Totals) -> bytes:
    first, last = _packed_time(totals.first_ts_ns), _packed_time(totals.last_ts_ns)
    return _TOTALS.pack(
        *(totals.packets, totals.cap_lengths_bytes, totals.lengths_bytes, first, last),
        *(totals.steps_back, _packed_time(totals.largest_step_back_ns)),
        *(totals.beyond_snaplen, totals.wrapped_times, totals.has_times_after_2038),
    )


def _packed_time(time_ns: int | None) -> bytes:
    return (time_ns or 0).to_bytes(16, "little", signed=True)  # of pcapng it may need 96 bits


def _decoded(found: NotedBatch) -> BatchNote:
    record, kinds = found.record, NOTE_HEAD.unpack_from(found.record)[2]
    stream_position, offset, section, interfaces_end = _PLACE.unpack_from(record, NOTE_HEAD.size)
    position = NOTE_HEAD.size + _PLACE.size
    before, totals = (_totals_at(record, position + i * _TOTALS.size) for i in range(2))
    position += 2 * _TOTALS.size
    skipped = dict(_KIND.unpack_from(record, position + i * _KIND.size) for i in range(kinds))
    checksum = record[position + kinds * _KIND.size :]
    crc32 = _CRC32.unpack(checksum)[0] if len(checksum) == _CRC32.size else None
    after = Place(offset, section, interfaces_end, skipped, crc32)
    number, token, batch, length_bytes, _ = found
    return BatchNote(number, token, batch, length_bytes, stream_position, after, before, totals)


def _totals_at(record: bytes, position: int) -> Totals:
    packets, cap_bytes, lengths_bytes, first, last, steps, largest, *others = _TOTALS.unpack_from(
        record, position
    )
    if not packets:
        return Totals()
    first_ns, last_ns, largest_ns = (
        int.from_bytes(each, "little", signed=True) for each in (first, last, largest)
    )
    return Totals(packets, cap_bytes, lengths_bytes, first_ns, last_ns, steps, largest_ns, *others)
