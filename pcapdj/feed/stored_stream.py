"""Whether what the launcher stores of a stream is what a dispatcher stores there.

Any process of the same user may connect to the launcher while no dispatcher is there, also an analyzer that
was taken over. A stream with anything else is ended, and its file is fed again; else it would end each
dispatcher that resumes it.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from pcapdj.capture.files import Identity
from pcapdj.capture.pcap import FILE_HEADER_BYTES
from pcapdj.feed.analyzer_link import ResumableStream
from pcapdj.feed.note import latest_note
from pcapdj.launcher_protocol import BATCH_KEYS, NOTE_BYTES, NOTE_KEY
from pcapdj.runtime.fifo import unread_bytes

_MOST_BITS: Final = 96  # of the time in a pcapng file, which is the largest number in a note

Types = dict[str, type]

_FORMAT: Final[Types] = {"linktype": int, "nanosecond": bool}
_FORMAT_OPTIONS: Final[Types] = {"before": dict}
_FILE: Final[Types] = {
    "token": str,
    "name": str,
    "identity": list,
    "digest": str,
    "stream_start": int,
    "before": dict,
    "rewrites": bool,
}
_FILE_OPTIONS: Final[Types] = {
    "earlier_streams": list,
    "earlier_parts": list,
    "begin_bytes": int,
    "earlier_packets": int,
}
_BEFORE_OPTIONS: Final[Types] = {"name": str, "last_ts_ns": int, "packets": int}
_PART_NUMBERS: Final = 2  # a first packet, and how many
_IDENTITY_NUMBERS: Final = len(Identity._fields)


def problem_of(left: ResumableStream) -> str:
    """Return what no dispatcher stores, as the rest of a sentence; empty: it is all as it should be."""
    if left.batches.keys() != {*BATCH_KEYS, NOTE_KEY}:
        return "not all of its batches and their note are there"
    return _problem_of_descriptors(left) or _problem_of_batches(left) or _problem_of_notes(left)


def _problem_of_descriptors(left: ResumableStream) -> str:
    note, header = left.batches[NOTE_KEY], left.header.fd
    if not all(_is_writable(left.batches[key], stat.S_ISFIFO) for key in BATCH_KEYS):
        return "a batch is not a pipe that can be read and written"
    if not _is_writable(note, stat.S_ISREG) or os.fstat(note).st_size != NOTE_BYTES:
        return "the note about the batches is not a page that can be read and written"
    if os.fstat(header).st_size != FILE_HEADER_BYTES:
        return f"the header does not have {FILE_HEADER_BYTES} bytes"
    return ""


def _problem_of_batches(left: ResumableStream) -> str:
    try:
        last = latest_note(os.pread(left.batches[NOTE_KEY], NOTE_BYTES, 0))
        unread = unread_bytes(left.batches[BATCH_KEYS[last.batch]]) if last else 0
    except (struct.error, IndexError):
        return "the note about the batches is not valid"
    return "a batch has more bytes than its note says" if last and unread > last.length_bytes else ""


def _problem_of_notes(left: ResumableStream) -> str:
    if not _has(left.header.note, _FORMAT, _FORMAT_OPTIONS) or not _is_before(left.header.note):
        return "the format of the stream is not valid"
    if left.file and not (_has(note := left.file.note, _FILE, _FILE_OPTIONS) and _is_of_file(note)):
        return "what is noted about the file in flight is not valid"
    return ""


def _is_of_file(note: Mapping[str, Any]) -> bool:
    return (
        _is_before(note)
        and _is_numbers(note["identity"], _IDENTITY_NUMBERS)
        and all(isinstance(each, str) for each in note.get("earlier_streams", []))
        and all(_is_numbers(each, _PART_NUMBERS) for each in note.get("earlier_parts", []))
    )


def _is_before(note: Mapping[str, Any]) -> bool:
    return _has(note.get("before", {}), {}, _BEFORE_OPTIONS)


def _has(note: Mapping[str, Any], required: Types, options: Types) -> bool:
    """Report whether the required fields are there, and these and the others have the right type."""
    found = {name: kind for name, kind in (required | options).items() if name in note}
    return required.keys() <= note.keys() and all(
        _is_number(note[name]) if kind is int else isinstance(note[name], kind)
        for name, kind in found.items()
    )


def _is_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < _MOST_BITS


def _is_writable(descriptor: int, is_kind: Callable[[int], bool]) -> bool:
    is_open = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    return is_open and is_kind(os.fstat(descriptor).st_mode)
