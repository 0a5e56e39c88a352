"""Cuts the sessions of located events out of the captures that have them, into one capture file.

A packet is kept if tcpdump's filter lets it pass and its time is in a session, or if it is the packet of an
event by its number. Fragments of an IP packet may be older than the session, because an analyzer gives a
reassembled packet the time of its last fragment.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

from pcapdj.capture.pcap import BEGINNING, StreamFormat
from pcapdj.capture.pcap import Place as FilePlace
from pcapdj.runtime.errors import CannotCreate, CaptureError, PcapdjError
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.whole_file import NewFile
from pcapdj.store.journal import FedFile
from pcapdj.trace.cut import CutPacket, SourceFile, cut, is_fragment, stream_format_of
from pcapdj.trace.events import Addresses, AnalyzerEvent
from pcapdj.trace.filters import MOST_SESSIONS, session_filter
from pcapdj.trace.locate import FRAGMENTS_NS, Location
from pcapdj.trace.presence import READABLE, Presence, Presences

_MICROSECOND_NS: Final = 1000
_MOST_OFFSET: Final = 1 << 63  # in a file
_MOST_LINKTYPE: Final = (1 << 32) - 1  # that the header of a capture can have


@dataclass(slots=True)
class FileCut:
    """What was cut out of one file.

    Args:
        file: as it was fed.
        presence: where it is now.
        numbers: of the packets, among those of the file that were fed; the first and the last one.
        packets: how many.
    """

    file: FedFile
    presence: Presence
    packets: int = 0
    numbers: tuple[int, int] = (0, 0)

    def add(self, number: int) -> None:
        """Count a packet."""
        self.packets += 1
        self.numbers = (self.numbers[0] or number, number)


@dataclass(slots=True)
class CutReport:
    """What a cut gave.

    Args:
        files: those that were read, in order.
        left_out: files that may have packets, but changed since they were fed.
    """

    files: list[FileCut] = field(default_factory=list)
    left_out: list[FileCut] = field(default_factory=list)

    @property
    def packets(self) -> int:
        """How many packets there are."""
        return sum(each.packets for each in self.files)


def cut_sessions(locations: Sequence[Location], presences: Presences, out: str) -> CutReport:
    """Write the packets of the sessions of all events to a new capture file; `-` is stdout.

    Raises:
        PcapdjError: there is nothing to write, no session in the events, or too many of them.
        CannotCreate: the file is there already, or cannot be created.
        Unavailable: tcpdump is not installed.
    """
    report, numbers = _files_of(locations, presences)
    events = [each.event for each in locations]
    sessions = _sessions_of(events)
    if len(sessions) > MOST_SESSIONS:
        raise PcapdjError(f"{len(sessions)} sessions are too many at once: {MOST_SESSIONS} can be cut out.")
    if not sessions and not numbers:
        raise PcapdjError(
            "A time without addresses is no session that could be cut out.",
            hint="Name it: --at TIME --host ADDRESS --host ADDRESS.",
        )
    stream = _format_of(report)
    if stream is None:
        raise PcapdjError("No capture is there to cut packets out of.")
    sources = [
        SourceFile(
            each.presence.path,
            frozenset(numbers.get(id(each.file), ())),
            start_of(each.file),
            each.presence.root,
        )
        for each in report.files
    ]
    expression = session_filter(sessions, stream.linktype) if sessions else ""
    kept = _kept(cut(sources, stream, expression), events, stream, report)
    _write(out, stream, kept)
    if not report.packets:
        raise PcapdjError("The captures have no packet of these sessions.")
    return report


def start_of(file: FedFile) -> FilePlace:
    """Return where the packets of a journal's entry begin: behind what was fed before it grew."""
    begin, *others = (_offset(file, name) for name in ("begin_bytes", "section", "interfaces_end"))
    if not begin:
        return BEGINNING
    section, interfaces_end = (each if each <= begin else 0 for each in others)
    return FilePlace(begin, section, interfaces_end)


def _offset(file: FedFile, name: str) -> int:
    number = whole_number(file.fields.get(name, "")) or 0
    return number if number < _MOST_OFFSET else 0


def _files_of(locations: Sequence[Location], presences: Presences) -> tuple[CutReport, dict[int, set[int]]]:
    """Return the files to read, in the order in which they were fed, and the packets wanted by number."""
    wanted, numbers = dict[int, FedFile](), dict[int, set[int]]()
    for location in locations:
        files = location.session_files()
        if place := location.place:
            numbers.setdefault(id(place.file), set()).add(place.packet)
            files = [*files, place.file]
        wanted |= {id(file): file for file in files}
    report = CutReport()
    for file in sorted(wanted.values(), key=lambda each: (each.finished_ms or 1 << 62, each.first_packet)):
        found = FileCut(file, presences.of(file))
        is_there = found.presence.state in READABLE
        (report.files if is_there else report.left_out).append(found)
    return report, numbers


def _sessions_of(events: Sequence[AnalyzerEvent]) -> list[Addresses]:
    pairs = [each for event in events for each in (event.addresses, event.outer) if each]
    return list(dict.fromkeys(pairs))


def _format_of(report: CutReport) -> StreamFormat | None:
    """Return the format of the first file that has packets."""
    for each in report.files:
        with suppress(CaptureError):
            linktype = whole_number(each.file.fields.get("linktype", ""))
            found = stream_format_of(
                each.presence.path,
                None if linktype is None or linktype > _MOST_LINKTYPE else linktype,
                rewrites=each.file.fields.get("rewrites") == "1",
                root=each.presence.root,
            )
            if found:
                return found
    return None


def _kept(
    packets: Iterator[CutPacket], events: Sequence[AnalyzerEvent], stream: StreamFormat, report: CutReport
) -> Iterator[bytes]:
    """Yield the records that are in the time of a session, and count them."""
    times = SessionTimes(map(_times_of, events))
    for packet in packets:
        file = report.files[packet.file]
        spare_ns = FRAGMENTS_NS if is_fragment(packet.record, stream.linktype) else 0
        if packet.is_by_number or times.has(packet.ts_ns, spare_ns):
            file.add(packet.number)
            yield packet.record


def _times_of(event: AnalyzerEvent) -> tuple[int, int]:
    """Return the first and the last time of an event's session, in ns."""
    times = [each for each in (event.time_ns, event.start_ns, event.end_ns) if each is not None]
    return (min(times), max(times) + _MICROSECOND_NS - 1) if times else (0, 1 << 63)


class SessionTimes:
    """When sessions are; a packet is looked for in all of them at once, however many they are.

    Args:
        spans: the first and the last time of each, in ns.
    """

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        in_order = sorted(spans)
        self._begins = [begin for begin, _ in in_order]
        self._latest = [*accumulate((end for _, end in in_order), max)]  # of all that begin so early

    def has(self, time_ns: int, spare_ns: int = 0) -> bool:
        """Report whether a time is in a session, or at most `spare_ns` before it."""
        begun = bisect_right(self._begins, time_ns + spare_ns)
        return begun > 0 and time_ns <= self._latest[begun - 1]


def _write(out: str, stream: StreamFormat, records: Iterator[bytes]) -> None:
    """Write a capture; a file gets its name once it is whole, if it has packets."""
    with ExitStack() as stack:
        try:
            new = None if out == "-" else stack.enter_context(NewFile(Path(out)))
            file = new.file if new else stack.enter_context(os.fdopen(os.dup(1), "wb"))
        except OSError as exc:
            hint = "Name a file that does not exist yet." if isinstance(exc, FileExistsError) else ""
            raise CannotCreate(f"{quoted(out)} cannot be created: {exc.strerror}.", hint=hint) from exc
        try:
            has_packets = False
            for record in records:
                if not has_packets:
                    file.write(stream.header())
                file.write(record)
                has_packets = True
            if new and has_packets:
                new.keep()
        except OSError as exc:
            raise PcapdjError(f"{quoted(out)} cannot be written: {exc.strerror}.") from exc
