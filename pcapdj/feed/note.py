"""The note: what of a file is in the stream, for the dispatcher that takes over. Pure.

It is one page in a memory file that the launcher has, too. Two records are written in turn, each with one
pwrite(2): a dispatcher that dies in it leaves a record with a wrong checksum, and the other record counts. Of
two valid ones the one with the higher number counts.

    page    0                        2048                     4096
            | records 2, 4, 6 ..     | records 1, 3, 5 ..     |

    record  0       4      6      8        16      48      52       56
            | CRC32 | size | kinds | number | token | batch | length | stream position ..
            CRC32 of the `size` bytes behind it; token: of the queue entry, filled up with zeros

            56                64       72        80               88              185      282
            | stream position | offset | section | interfaces end | totals before | totals |
            stream position: of the batch's first byte; the next three: `Place` behind its last one

            282
            | link type (4), packets left out (8) | .. one for each of `kinds`

    totals  0         8           16        24           40          56           64             80
            | packets | cap bytes | lengths | first time | last time | steps back | largest step | ..
            times in nanoseconds since 1970

            80               88              96                 97
            | beyond snaplen | wrapped times | times after 2038 |
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from pcapdj.capture.pcap import OTHER_LINKTYPES, Place, StreamFormat, Totals

NOTE_BYTES: Final = 4096
_RECORD_BYTES: Final = 2048
_HEAD: Final = struct.Struct("<IHHQ")
_BODY: Final = struct.Struct("<32sIIQQQQ")
_TOTALS: Final = struct.Struct("<QQQ16s16sQ16sQQ?")
_KIND: Final = struct.Struct("<IQ")
_CHECKSUM_BYTES: Final = 4
_FIXED_BYTES: Final = _HEAD.size + _BODY.size + 2 * _TOTALS.size
_MOST_KINDS: Final = (_RECORD_BYTES - _FIXED_BYTES) // _KIND.size
_TOKEN_BYTES: Final = 32


class BatchNote(NamedTuple):
    """One record of the note: the batch that is being sent, or was sent last.

    Args:
        number: 1 for a stream's first batch.
        token: of the queue entry whose packets are in it.
        batch: 0 or 1, the memory file that has it.
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
            _BODY.pack(
                *(note.token.encode("utf-8", "surrogateescape"), note.batch, note.length_bytes),
                *(note.stream_position, after.offset, after.section, after.interfaces_end),
            ),
            _packed_totals(note.totals_before),
            _packed_totals(note.totals),
            *(_KIND.pack(linktype, packets) for linktype, packets in kinds),
        )
    )
    head = _HEAD.pack(0, _HEAD.size - _CHECKSUM_BYTES + len(content), len(kinds), note.number)
    checked = head[_CHECKSUM_BYTES:] + content
    return zlib.crc32(checked).to_bytes(_CHECKSUM_BYTES, "little") + checked, note.number % 2 * _RECORD_BYTES


def latest_note(page: bytes) -> BatchNote | None:
    """Return the page's valid record with the higher number; None if there is none."""
    found = [_decoded(page[start : start + _RECORD_BYTES]) for start in (0, _RECORD_BYTES)]
    return max((note for note in found if note), key=lambda note: note.number, default=None)


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


def _decoded(record: bytes) -> BatchNote | None:
    if len(record) < _FIXED_BYTES:
        return None
    checksum, size_bytes, kinds, number = _HEAD.unpack_from(record)
    checked = record[_CHECKSUM_BYTES : _CHECKSUM_BYTES + size_bytes]
    if not number or len(checked) < _FIXED_BYTES - _CHECKSUM_BYTES or zlib.crc32(checked) != checksum:
        return None
    token, batch, length_bytes, stream_position, offset, section, interfaces_end = _BODY.unpack_from(
        record, _HEAD.size
    )
    position = _HEAD.size + _BODY.size
    before, totals = (_totals_at(record, position + i * _TOTALS.size) for i in range(2))
    position += 2 * _TOTALS.size
    skipped = dict(_KIND.unpack_from(record, position + i * _KIND.size) for i in range(kinds))
    text = token.rstrip(b"\0").decode("utf-8", "surrogateescape")
    after = Place(offset, section, interfaces_end, skipped)
    return BatchNote(number, text, batch, length_bytes, stream_position, after, before, totals)


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


class StopPlace(NamedTuple):
    """Where a stream by hand ended in order, for the one in which the file goes on; a field of CURRENT.

    Args:
        note: the last record of the note; all of its batch was read from the pipe.
        format: of the stream: a choice made anew in mid-file could drop other packets.
        identity: of the file, as `files.Identity`.
    """

    note: BatchNote
    format: StreamFormat
    identity: tuple[int, ...]

    def text(self) -> str:
        """Return it as Redis has it."""
        record, _ = encode_note(self.note)
        return json.dumps({"note": record.hex(), "format": self.format, "identity": self.identity})


def stop_place_in(text: str, token: str) -> StopPlace | None:
    """Return the place that a field of CURRENT has of this entry's file; None: it begins at its start."""
    try:
        fields = json.loads(text)
        record = bytes.fromhex(fields["note"])
        linktype, nanosecond, rewrites = fields["format"]
        identity = tuple(map(int, fields["identity"]))
        note = latest_note(record.ljust(_RECORD_BYTES, b"\0"))
        stream = StreamFormat(int(linktype), bool(nanosecond), bool(rewrites))
    except (ValueError, TypeError, KeyError):  # empty, or another program wrote it
        return None
    return StopPlace(note, stream, identity) if note and note.token == token else None
