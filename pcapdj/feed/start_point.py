"""Where the passes of a file begin: at its first packet, or behind what earlier streams have of it.

PCAPDJ_CURRENT has it as JSON in `begin`. For a file that was fed before it grew, it is the first record that
was not fed (`feed.known_captures`). Later it changes only when a stream ended in order in the middle
of the file (`launcher_protocol.EndedStream`): its analyzer has read and kept everything before that place.
Any other end of a stream leaves it, so that the next stream begins where this one began.

A stream that begins in the middle of a file keeps the format of the stream before: a new choice there could
leave out other packets. The file has to be the same as before: the rest of another file would not fit.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pcapdj.capture.capture import Capture
from pcapdj.capture.files import Identity
from pcapdj.capture.pcap import Place, StreamFormat, Totals
from pcapdj.capture.reader import size_change
from pcapdj.feed.note import BatchNote, decode_record, encode_note
from pcapdj.feed.progress import packets_before
from pcapdj.launcher_protocol import EndedStream
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.log import EventLog

events = EventLog("dispatcher")
_MOST_STREAMS: Final = 100  # the newest: they have to fit into a message of the launcher


class StartPoint(NamedTuple):
    """Where a pass begins, and what the streams before have.

    Args:
        place: of the first record that is not sent yet.
        totals: of the entry's records in earlier streams.
        stream_format: of the last of them; None: the file has not been in a stream.
        identity: of the file then.
        digest: of the file's beginning then; empty: unknown.
        streams: the ids of these streams.
        begin_bytes: where the entry's records begin, for a file that was fed before it grew; else 0.
        parts: for each of `streams` the number of the file's first packet there, from 1, and how many packets
            of the file it has.
    """

    place: Place = Place()
    totals: Totals = Totals()
    stream_format: StreamFormat | None = None
    identity: Identity | None = None
    digest: str = ""
    streams: Sequence[str] = ()
    begin_bytes: int = 0
    parts: Sequence[tuple[int, int]] = ()

    def change(self, capture: Capture) -> CaptureError | None:
        """Return the error if the file is not the one that earlier streams have the beginning of.

        A file system may have another device number after a restart of the machine, or once it is mounted
        again; then its inodes may have other numbers, too, and the beginning decides.
        """
        before, now = self.identity, capture.identity
        if before is None:
            return None
        is_elsewhere = now.dev != before.dev and bool(self.digest)
        is_same = now._replace(dev=before.dev, ino=before.ino if is_elsewhere else now.ino) == before
        if is_same and (not self.digest or self.digest == capture.digest()):
            return None
        return size_change(before.size_bytes, now.size_bytes) or CaptureError("changed while it was read")

    def request_fields(self, capture: Capture) -> dict[str, str | int]:
        """Return what the controller needs of a file that goes on here: how much of it, its compression."""
        # how much of a compressed file is behind this place is not known: all of it counts
        fed_bytes = 0 if capture.compression else self.place.offset
        left_bytes = max(0, capture.identity.size_bytes - fed_bytes)
        return {"input_bytes": left_bytes, "compression": capture.compression}

    def as_json(self) -> str:
        """Return it as PCAPDJ_CURRENT has it."""
        return json.dumps(self.as_fields(), separators=(",", ":"))

    def as_fields(self) -> dict[str, Any]:
        """Return it as pcapdj.json has it."""
        return {
            **self.place._asdict(),
            "skipped": {str(linktype): packets for linktype, packets in self.place.skipped.items()},
            "totals": self.totals._asdict(),
            "stream_format": self.stream_format and self.stream_format._asdict(),
            "identity": self.identity and self.identity._asdict(),
            "digest": self.digest,
            "streams": list(self.streams),
            "begin_bytes": self.begin_bytes,
            "parts": list(self.parts),
        }


FIRST_PACKET: Final = StartPoint()
# What the parts of JSON raise that have not the type of ours.
_NOT_VALID: Final = (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)


def start_point_from(text: str) -> StartPoint | None:
    """Return the start point that PCAPDJ_CURRENT has; None: it is not valid."""
    if not text:
        return FIRST_PACKET
    try:
        fields = decode_object(text)
        point = StartPoint(
            place=Place(**_place_fields(fields)),
            totals=Totals(**fields["totals"]),
            stream_format=fields["stream_format"] and StreamFormat(**fields["stream_format"]),
            identity=_identity_of([fields["identity"][name] for name in Identity._fields]),
            digest=str(fields["digest"]),
            streams=tuple(map(str, fields["streams"])),
            begin_bytes=fields.get("begin_bytes", 0),
            parts=parts_of(fields.get("parts", ())),
        )
        _check_numbers(point)
    except _NOT_VALID:
        return None
    return point


def start_point_or_first(text: str, name: bytes) -> StartPoint:
    """Return the start point of a queue entry's file; if another program wrote it, its first packet."""
    if start := start_point_from(text):
        return start
    events.warning("begin_invalid", "The file is fed from its first packet.", name=name)
    return FIRST_PACKET


def start_point_behind(start: StartPoint, note: BatchNote, stream: str, first_packet: int) -> StartPoint:
    """Return where a file goes on behind the last batch of a stream.

    Args:
        start: where its pass in this stream began; with format, identity and digest of that pass.
        note: of the batch.
        stream: its id.
        first_packet: the number of the file's first packet in it.
    """
    part = (first_packet, note.totals.packets - start.totals.packets)
    return start._replace(
        place=note.after,
        totals=note.totals,
        streams=(*start.streams, stream),
        parts=(*start.parts, part),
    )


def start_point_after(ended: EndedStream) -> StartPoint | None:
    """Return where a file goes on behind a stream; None: the launcher's file about it is not valid."""
    note = decode_record(ended.record_bytes)
    if note is None:
        return None
    header, file = ended.header, ended.file
    try:
        part = (packets_before(file["before"]) + 1, note.totals.packets - file["earlier_packets"])
        point = StartPoint(
            place=note.after,
            totals=note.totals,
            stream_format=StreamFormat(header["linktype"], header["nanosecond"], file["rewrites"]),
            identity=_identity_of(file["identity"]),
            digest=str(file["digest"]),
            streams=(*file["earlier_streams"], ended.stream)[-_MOST_STREAMS:],
            begin_bytes=file.get("begin_bytes", 0),
            parts=(*parts_of(file["earlier_parts"]), part)[-_MOST_STREAMS:],
        )
        _check_numbers(point)
    except _NOT_VALID:
        return None
    return point


def parts_of(pairs: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """Return pairs of JSON, each a first packet and a number of packets.

    Raises:
        ValueError, TypeError: they are not.
    """
    return tuple((int(first), int(packets)) for first, packets in pairs)


def _identity_of(numbers: Sequence[Any]) -> Identity:
    """Return the identity that JSON has.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not all(type(each) is int for each in numbers):
        raise ValueError("an identity has only whole numbers")
    return Identity(*numbers)


def _check_numbers(point: StartPoint) -> None:
    """Raise one of many errors if a note or the stream's header cannot have these numbers."""
    begin = Place(point.begin_bytes)
    for place in (begin, point.place):
        encode_note(BatchNote(1, "", 0, 0, 0, place, point.totals, point.totals))
    if point.stream_format:
        point.stream_format.header()


def _place_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    skipped = {int(linktype): packets for linktype, packets in fields["skipped"].items()}
    names = [name for name in Place._fields if name in fields or name != "crc32"]  # older ones have none
    return {name: fields[name] for name in names} | {"skipped": skipped}
