"""Which captures may go, and in which order. Rules only.

A capture may go if each of these lines is true; the first that is not is its reason to stay:

    fed        PCAPDJ_FED has it as fed whole: every packet is in a stream, and its checksum is recorded
    unchanged  the file has the inode, size and time of the one that was fed, and no other name
    results    its streams have lost no output (they are not suspect)
    kept       it is not among the newest files of the lane or of an open stream, nor younger than an operator
               wants (`--keep-last`, `--keep-within`)
    wanted     it is neither queued, current nor failed in any lane of this Redis, and each other lane that
               works on its folder has fed it whole, too (`reclaim.lanes`)

Of those that may go, the oldest (by the time when they were fed) go first, on each disk that needs room,
until that much is free.
"""

import heapq
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from pcapdj.capture.files import Identity
from pcapdj.runtime.foreign_json import decode_object

_BLOCK_BYTES: Final = 512  # of st_blocks
_LONGEST_VALUE_BYTES: Final = 16 << 10
_LIMIT: Final = 1 << 63
CLAIM_FIELD: Final = "reclaiming"  # of a record in FED, while its file is removed

NOT_WHOLE: Final = "not fed whole, a copy, without packets, or fed by an earlier version"
CHANGED: Final = "changed since they were fed"
LINKED: Final = "with another name (hard link): removing one of two frees nothing"
SUSPECT: Final = "of a stream that may have lost output"
NEWEST: Final = "among the newest (--keep-last)"
YOUNG: Final = "fed too short a time ago (--keep-within)"
NOT_SHORT: Final = "on a disk that needs no room, or is not watched"


class FedRecord(NamedTuple):
    """What PCAPDJ_FED has of a file that was fed whole.

    Args:
        identity: of the file.
        length_bytes: of the decompressed capture.
        crc32: of these bytes.
        streams: that have its packets.
        time_s: when it was fed, seconds since the epoch.
        value: the record as Redis has it.
    """

    identity: Identity
    length_bytes: int
    crc32: int
    streams: tuple[str, ...]
    time_s: float
    value: bytes

    @classmethod
    def from_value(cls, value: bytes | None) -> Self | None:
        """Return the record; None: the file was not fed whole, is being removed, or this is not valid."""
        try:
            fields = decode_object(value, most_bytes=_LONGEST_VALUE_BYTES)
            identity = Identity(*(fields[name] for name in Identity._fields))
            numbers = (*identity, fields["length_bytes"], fields["crc32"])
            streams = (*fields.get("earlier_streams", ()), fields["stream"])
            time_s = float(fields["time_s"])
        except (ValueError, TypeError, KeyError, OverflowError):
            return None
        are_numbers = all(type(each) is int and 0 <= each < _LIMIT for each in numbers)
        are_names = all(isinstance(each, str) and each for each in streams)
        is_whole = fields.get("whole") is True and fields.get("result") == "processed"
        if not (are_numbers and are_names and is_whole) or CLAIM_FIELD in fields or not 0 <= time_s < _LIMIT:
            return None
        return cls(identity, *numbers[-2:], streams, time_s, value or b"")


def with_claim(value: bytes, token: str) -> bytes:
    """Return a record of PCAPDJ_FED with the claim of a removal; if it is invalid, unchanged."""
    try:
        fields = decode_object(value, most_bytes=_LONGEST_VALUE_BYTES)
    except ValueError:
        return value
    return json.dumps({**fields, CLAIM_FIELD: token}).encode()


def without_claim(value: bytes | None) -> bytes | None:
    """Return a record of PCAPDJ_FED without the claim; if it is invalid, unchanged."""
    try:
        fields = decode_object(value, most_bytes=_LONGEST_VALUE_BYTES)
    except ValueError:
        return value
    return json.dumps({name: part for name, part in fields.items() if name != CLAIM_FIELD}).encode()


class Present(NamedTuple):
    """A file as it is on its disk.

    Args:
        identity: of the file.
        ctime_ns: when its contents or attributes changed last, in ns since 1970.
        links: how many names it has.
        disk_bytes: that it takes on its disk.
        owner: the number of its user.
    """

    identity: Identity
    ctime_ns: int
    links: int
    disk_bytes: int
    owner: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """Return it as stat(2) has it."""
        identity = Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        disk_bytes = found.st_blocks * _BLOCK_BYTES
        return cls(identity, found.st_ctime_ns, found.st_nlink, disk_bytes, found.st_uid)


class Candidate(NamedTuple):
    """A processed file that is there.

    Args:
        name: its absolute path, as in PROCESSED.
        fed: its record.
        present: the file now.
    """

    name: bytes
    fed: FedRecord
    present: Present

    @property
    def age_key(self) -> tuple[float, bytes]:
        """What the candidates are sorted by, the oldest first."""
        return self.fed.time_s, self.name


@dataclass(frozen=True, slots=True)
class KeepRules:
    """What stays, whatever room is needed.

    Args:
        keep_last: so many of the newest files of the lane, and of each open stream.
        keep_within_s: files that were fed within this time.
        open_streams: that analyzers read now.
        suspects: streams that may have lost output.
    """

    keep_last: int = 10
    keep_within_s: float = 0.0
    open_streams: Collection[str] = ()
    suspects: Collection[str] = ()

    def reason_to_stay(self, file: Candidate, now_s: float) -> str:
        """Return why a candidate stays, whatever is the newest and other lanes want; empty: it may go.

        Args:
            file: the candidate.
            now_s: seconds since the epoch.
        """
        if file.fed.identity[1:] != file.present.identity[1:]:  # after a restart a disk has another number
            return CHANGED
        if file.present.links != 1:
            return LINKED
        if any(stream in self.suspects for stream in file.fed.streams):
            return SUSPECT
        if self.keep_within_s and file.fed.time_s > now_s - self.keep_within_s:
            return YOUNG
        return ""


class Newest:
    """Collects the names of the newest files of a lane, and of each open stream.

    Args:
        rules: how many, and which streams are open.
    """

    def __init__(self, rules: KeepRules) -> None:
        self._rules = rules
        self._heaps = defaultdict[str, list[tuple[float, bytes]]](list)

    def add(self, name: bytes, fed: FedRecord) -> None:
        """Count a file that is there."""
        if self._rules.keep_last:
            for group in {"", *(each for each in fed.streams if each in self._rules.open_streams)}:
                heap = self._heaps[group]
                push = heapq.heappush if len(heap) < self._rules.keep_last else heapq.heappushpop
                push(heap, (fed.time_s, name))

    @property
    def names(self) -> frozenset[bytes]:
        """The names of those that are the newest so far."""
        return frozenset(name for heap in self._heaps.values() for _, name in heap)


class Selected(NamedTuple):
    """What the operator's options choose.

    Args:
        how: none, delete, move or compress.
        target: the folder of `move`; empty for the others.
        roots: the folders below which files may go, absolute.
        keep_last, keep_within_s: as in `selection.KeepRules`.
        keep_free: bytes that copies leave free on a disk, by its device number.
    """

    how: str
    target: str
    roots: tuple[bytes, ...]
    keep_last: int
    keep_within_s: float
    keep_free: Mapping[int, int]


class Need(NamedTuple):
    """How much has to become free on a disk."""

    size_bytes: int
    inodes: int


@dataclass(slots=True)
class Needs:
    """How much has to become free on each disk, by its device number; what becomes free is subtracted."""

    left: dict[int, Need] = field(default_factory=dict)

    def has(self, device: int) -> bool:
        """Report whether a disk needs more room."""
        need = self.left.get(device, Need(0, 0))
        return need.size_bytes > 0 or need.inodes > 0

    def is_met(self) -> bool:
        """Report whether no disk needs more room."""
        return not any(map(self.has, self.left))

    def subtract(self, device: int, size_bytes: int, inodes: int = 1) -> None:
        """Count what became free."""
        if device in self.left:
            need = self.left[device]
            self.left[device] = Need(need.size_bytes - size_bytes, need.inodes - inodes)


def oldest_for(files: Iterable[Candidate], needs: Needs) -> Iterator[Candidate]:
    """Yield the files that go, each whole, the oldest first; the caller may also subtract from the needs.

    Args:
        files: that may go.
        needs: the caller subtracts each file that it removes; the next file is chosen by the rest.
    """
    for file in sorted(files, key=lambda each: each.age_key):
        if needs.has(file.present.identity.dev):
            yield file


def previewed(files: Iterable[Candidate], needs: Mapping[int, Need]) -> list[Candidate]:
    """Return the files that would go if each freed what it takes on its disk."""
    left, chosen = Needs(dict(needs)), list[Candidate]()
    for file in oldest_for(files, left):
        left.subtract(file.present.identity.dev, file.present.disk_bytes)
        chosen.append(file)
    return chosen


def record_of(how: str, file: Candidate, freed_bytes: int, to: str, now_s: float) -> dict[str, Any]:
    """Return what PCAPDJ_RECLAIMED gets of a file.

    Args:
        how: removed, moved or compressed.
        file: which one.
        freed_bytes: on its disk.
        to: the path of its copy; empty: there is none.
        now_s: seconds since the epoch.
    """
    identity, fed = file.present.identity, file.fed
    of_file = {"size_bytes": identity.size_bytes, "mtime_ns": identity.mtime_ns}
    of_capture = {"length_bytes": fed.length_bytes, "crc32": fed.crc32, "streams": list(fed.streams)}
    copy = {"to": to} if to else {}
    times = {"fed_s": fed.time_s, "time_s": round(now_s, 3)}
    return {"how": how, **copy, **of_file, **of_capture, "freed_bytes": freed_bytes, **times}


def known_record(file: Candidate, copy: Identity) -> str:
    """Return what PCAPDJ_FED gets of a compressed copy: it is the capture that was fed, and stands for it.

    Args:
        file: the capture.
        copy: the identity of its copy.
    """
    fields = decode_object(file.fed.value)
    return json.dumps({**fields, **copy._asdict(), "known_as": os.fsdecode(file.name)})
