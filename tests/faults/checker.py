"""What must be true of every stream and of Redis, whatever was killed. Rules only: bytes and values come in.

Framing (G1), each packet once and in order within a stream (G2), each name in one place (G3), and that what
is in PROCESSED was really fed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from faults.packets import RECORD, STREAM_HEADER, Numbered, tag_of

UNWRITTEN_BYTES: Final = 1 << 16  # what our test analyzers may have read and not written when they are killed
_MAX_CAPTURED: Final = 262_144


@dataclass(frozen=True, slots=True)
class Stream:
    """What one analyzer wrote down of its input.

    Args:
        id: the launcher's.
        data: all bytes.
        was_killed: the analyzer or launcher died in it: it may break off anywhere.
    """

    id: str
    data: bytes
    was_killed: bool = False


@dataclass(slots=True)
class Findings:
    """What is wrong, in sentences, and counted."""

    sentences: list[str] = field(default_factory=list)
    torn: int = 0
    lost: int = 0
    doubled: int = 0
    forgotten: int = 0
    packets: int = 0
    complete: list[int] = field(default_factory=list)  # files that are whole in the stream, in order
    missing: list[bytes] = field(default_factory=list)  # names that are in no place

    def add(self, sentence: str) -> None:
        """Note one more thing that is wrong."""
        self.sentences.append(sentence)


def check_stream(stream: Stream, files: Mapping[int, Numbered]) -> Findings:
    """Return what is wrong with one stream: framing, and every packet of every file once, in order."""
    found = Findings()
    data = stream.data
    if not data.startswith(STREAM_HEADER[: len(data)] if stream.was_killed else STREAM_HEADER):
        found.torn += 1
        found.add(f"{stream.id}: does not begin with a file header: {data[:24].hex()}")
        return found
    position = len(STREAM_HEADER)
    while position < len(data):
        after = _whole_file(data, position, files, found)
        if after is None:
            _check_rest(stream, position, files, found)
            break
        position = after
    again = Counter(found.complete) - Counter(set(found.complete))
    found.doubled += sum(files[number].packets * count for number, count in again.items())
    if sorted(set(found.complete)) != found.complete:
        found.add(f"{stream.id}: files came out of order or twice: {_short(found.complete)}")
    return found


def _whole_file(data: bytes, position: int, files: Mapping[int, Numbered], found: Findings) -> int | None:
    """Return where the file that begins here ends; None if it is not there byte for byte."""
    tag = tag_of(data, position + RECORD.size)
    if tag is None or tag[1] != 0 or tag[0] not in files:
        return None
    file = files[tag[0]]
    if not data.startswith(file.body, position):
        return None
    found.packets += file.packets
    found.complete.append(file.number)
    return position + len(file.body)


def _check_rest(stream: Stream, start: int, files: Mapping[int, Numbered], found: Findings) -> None:
    """Say what is wrong from here on; a killed analyzer's stream may break off in a file."""
    rest = stream.data[start:]
    tag = tag_of(rest, RECORD.size)
    if stream.was_killed and _breaks_off(rest, tag, files):
        return
    seen, ends_at = tags_of(rest)
    if ends_at < len(rest) and not stream.was_killed:
        found.torn += 1
        found.add(f"{stream.id}: torn at byte {start + ends_at} of {len(stream.data)}")
    counts = Counter(seen)
    doubled = sum(count - 1 for count in counts.values())
    lost = sum(
        number not in numbers for file, numbers in _by_file(seen).items() for number in _expected(file, files)
    )
    invented = sum(file not in files or number >= files[file].packets for file, number in seen)
    found.packets += len(seen)
    found.doubled += doubled
    found.lost += lost
    found.add(
        f"{stream.id}: from byte {start} (packet {tag}) on: {lost} packets lost, {doubled} doubled,"
        f" {invented} of no file, {len(seen)} seen"
    )


def _breaks_off(rest: bytes, tag: tuple[int, int] | None, files: Mapping[int, Numbered]) -> bool:
    if tag is None:
        return len(rest) < 16 + 42 + 14 and any(file.body.startswith(rest) for file in files.values())
    return tag[0] in files and files[tag[0]].body.startswith(rest)


def _expected(file: int, files: Mapping[int, Numbered]) -> range:
    return range(files[file].packets) if file in files else range(0)


def _by_file(seen: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    grouped: dict[int, set[int]] = {}
    for file, number in seen:
        grouped.setdefault(file, set()).add(number)
    return grouped


def tags_of(data: bytes) -> tuple[list[tuple[int, int]], int]:
    """Return the tags of whole records, and where the last whole record ends; foreign ones are (-1, n).

    Slow, and only used where something is wrong already.
    """
    position, tags = 0, list[tuple[int, int]]()
    while position + RECORD.size <= len(data):
        captured = RECORD.unpack_from(data, position)[2]
        after = position + RECORD.size + captured
        if captured > _MAX_CAPTURED or after > len(data):
            break
        tags.append(tag_of(data[position:after], RECORD.size) or (-1, len(tags)))
        position = after
    return tags, position


@dataclass(frozen=True, slots=True)
class RedisLists:
    """What Redis has at one instant.

    Args:
        queued, current, processed, failed: names.
        journal: number of the file, stream and verdict, oldest first; files that are none of ours left out.
    """

    queued: Sequence[bytes]
    current: Sequence[bytes]
    processed: Sequence[bytes]
    failed: Sequence[bytes]
    journal: Sequence[tuple[int, str, str]] = ()


def check_names(lists: RedisLists, accepted: Sequence[bytes]) -> Findings:
    """Return which names are in no place, or in more than one (G3)."""
    found = Findings()
    places = Counter([*lists.queued, *lists.current, *lists.processed, *lists.failed])
    wanted = Counter(accepted)
    for name, count in (wanted - places).items():
        found.forgotten += count
        found.missing += [name] * count
        found.add(f"forgotten: {name!r}")
    for name, count in (places - wanted).items():
        found.doubled += count
        found.add(f"in more than one place: {name!r} ({count} too many)")
    return found


def check_journal(
    lists: RedisLists,
    all_findings: Mapping[str, Findings],
    streams: Mapping[str, Stream],
    files: Mapping[int, Numbered],
) -> Findings:
    """Return which files count as processed without being whole in the stream that the journal names."""
    found = Findings()
    for number, stream, verdict in lists.journal:
        if verdict != "processed" or number in all_findings.get(stream, Findings()).complete:
            continue
        seen = streams.get(stream)
        if seen and seen.was_killed and _was_nearly_written(seen, files[number]):
            continue
        found.lost += files[number].packets
        found.add(f"file {number} is in PROCESSED and not whole in stream {stream}")
    return found


def _was_nearly_written(stream: Stream, file: Numbered) -> bool:
    """Report whether all but what a killed analyzer had not written yet of the file is there (G4)."""
    least = file.body[: max(0, len(file.body) - UNWRITTEN_BYTES)]
    return least in stream.data


def check_order(all_findings: Sequence[Findings]) -> Findings:
    """Return whether a later stream goes back behind what an earlier one had finished."""
    found = Findings()
    last = -1
    for findings in all_findings:
        if findings.complete and findings.complete[0] < last:
            found.add(f"file {findings.complete[0]} came again after file {last}")
        last = max([last, *findings.complete])
    return found


def _short(numbers: Sequence[int]) -> str:
    return f"{list(numbers[:20])}{' ..' if len(numbers) > 20 else ''}"
