"""How a fed capture is recognized: by its bytes up to the end of its last delivered record. Pure.

A digest of its beginning shows that a file *may* be a fed capture. The checksum of every byte up to the fed
length *proves* it (`capture.fed_before`). All bytes are those of the decompressed
capture, so a compressed copy is the same capture.

A file that has grown since it was fed has another length, so its beginning is digested at several lengths.
A fed capture is kept under the digest of the longest of them that it has; a file is looked up under all
that it has. Short pcapng captures of one interface all begin with the same blocks, so one that is shorter
than 64 KiB is kept under the digest of all its bytes, too: its copies are found among any number of others.

    bytes   0      40     256    1 KiB  4 KiB  16 KiB 64 KiB
            |------|                                           a file header and an empty record
            |-------------------------|                         a fed capture of 5,000 bytes: under this
            |---------------------------|                       and under this
            |------|------|-----|------|------|------|          a file of 1 MB: looked up under all six
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from pcapdj.capture.files import Identity
from pcapdj.runtime.foreign_json import decode_object

LEVELS_BYTES: Final = (40, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10)
FIRST_BYTES: Final = LEVELS_BYTES[-1]  # of a capture that are digested at most
_DIGEST_CHARS: Final = 32


class FedCapture(NamedTuple):
    """A capture that was fed, as Redis has it.

    Args:
        name: under which it was fed.
        length_bytes: of the decompressed capture that were read and are in a stream, or have no packet.
        crc32: of these bytes.
        is_whole: it was processed; else it failed because it was cut off there, and goes on if it grows.
        section, interfaces_end: as in `pcap.Place`, for the rest of a pcapng capture that has grown.
        identity: of the file then.
        time_s: when its result was written, seconds since the epoch.
    """

    name: str
    length_bytes: int
    crc32: int
    is_whole: bool
    section: int
    interfaces_end: int
    identity: Identity
    time_s: float

    def as_fields(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**self._asdict(), "identity": list(self.identity)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self | None:
        """Return the capture that JSON has; None: it is not valid."""
        try:
            capture = cls(**{**fields, "identity": Identity(*fields["identity"])})
        except (TypeError, KeyError):
            return None
        numbers = (*capture.identity, *(getattr(capture, each) for each in _COUNTS))
        are_numbers = all(type(each) is int and 0 <= each < _LIMIT for each in numbers)
        is_valid = type(capture.is_whole) is bool and isinstance(capture.name, str)
        is_valid = is_valid and are_numbers and capture.crc32 < _LIMIT_OF_CRC32
        has_time = isinstance(capture.time_s, int | float) and capture.time_s >= 0
        return capture if is_valid and has_time else None


_LIMIT: Final = 1 << 63
_LIMIT_OF_CRC32: Final = 1 << 32
_COUNTS: Final = ("length_bytes", "crc32", "section", "interfaces_end")


class QueuedFile(NamedTuple):
    """Which file the importer queued, as it stands beside the queue.

    Args:
        identity: when it was queued.
        first_bytes: how many bytes of the decompressed capture `digest` is about, at most `FIRST_BYTES`.
        digest: of these.
        mount: where its file system was mounted then.
        boot: the id of the machine's boot then; device numbers may differ after another one.
    """

    identity: Identity
    first_bytes: int
    digest: str
    mount: str
    boot: str

    def as_fields(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**self._asdict(), "identity": list(self.identity)}

    def as_line(self, *, again: bool = False) -> str:
        """Return it as it stands beside the queue, and then in CURRENT.

        Args:
            again: it is fed whole, whatever is known of it.
        """
        fields = {**self.as_fields(), **({"again": True} if again else {})}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str, *, or_again: bool = False) -> Self | None:
        """Return the file of a line; None: it is about none, or about one that is fed whole in any case.

        Args:
            line: any text, as other programs may have written it.
            or_again: return a file that is fed whole, too.
        """
        try:
            fields = decode_object(line)
        except ValueError:
            return None
        if or_again:
            fields.pop("again", None)
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self | None:
        """Return the file that JSON has; None: it is not valid."""
        try:
            file = cls(**{**fields, "identity": Identity(*fields["identity"])})
        except (TypeError, KeyError):
            return None
        texts = (file.digest, file.mount, file.boot)
        are_numbers = all(type(each) is int and each >= 0 for each in (*file.identity, file.first_bytes))
        return file if are_numbers and all(isinstance(each, str) for each in texts) else None

    def is_beginning_of(self, first: bytes) -> bool:
        """Report whether a file with these first bytes is the queued one, or that one grown longer."""
        return len(first) >= self.first_bytes and digest_of(first[: self.first_bytes]) == self.digest


def digest_of(first: bytes) -> str:
    """Return the digest of a capture's beginning: 128 bits of its SHA-256, in hex."""
    return sha256(first).hexdigest()[:_DIGEST_CHARS]


def kept_under(first: bytes, length_bytes: int) -> str:
    """Return the digests that a fed capture is kept under, separated by a blank.

    Empty: it is too short for a packet.

    Args:
        first: its first `FIRST_BYTES`, or all of it.
        length_bytes: that were fed.
    """
    levels = [level for level in LEVELS_BYTES if level <= min(length_bytes, len(first))]
    lengths = {*levels[-1:], length_bytes} if levels and length_bytes <= len(first) else levels[-1:]
    return " ".join(_digest_of(first, length) for length in sorted(lengths))


def looked_up_under(first: bytes) -> list[str]:
    """Return the digests under which fed captures that begin like this may be kept, the longest first."""
    hasher, digests, start = sha256(), list[str](), 0
    lengths = {*LEVELS_BYTES, max(len(first), LEVELS_BYTES[0])}
    for length in sorted(each for each in lengths if each <= len(first)):
        hasher.update(memoryview(first)[start:length])
        digests.insert(0, f"{length}:{hasher.hexdigest()[:_DIGEST_CHARS]}")
        start = length
    return digests


def _digest_of(first: bytes, length_bytes: int) -> str:
    return f"{length_bytes}:{digest_of(first[:length_bytes])}"
