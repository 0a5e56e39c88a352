"""Where events are: each event's capture files, and in them its packet, found in one pass over the journal.

An event with a packet number is in the file whose part of the stream has that number. One without is in the
files that may have packets at the time of its session. Where the stream is unknown, the number counts in each
stream, and the time of the packet decides. Nothing here opens a file.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final, NamedTuple

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.numbers import counted
from pcapdj.store.journal import FedFile, Part
from pcapdj.trace.events import AnalyzerEvent, Rule

FRAGMENTS_NS: Final = 60 * 10**9  # how long Suricata waits for the fragments of a packet, by default
_SPARE_NS: Final = 1000  # an analyzer's times have microseconds
_ROOT: Final = 1  # of a tree: the children of a node are at twice its place, and behind that
_MOST_STREAMS: Final = 20  # that may have the packet of one event
_MOST_LISTED: Final = 5_000_000  # files of all events together: eight bytes each
_MOST_NAME_BYTES: Final = 32 << 20  # of the files that are kept: 8,192 paths of the longest kind
_NEEDED: Final[tuple[str, ...]] = (
    "begin_bytes",
    "section",
    "interfaces_end",
    "linktype",
    "rewrites",
    "left_out",
)


class TooManyFiles(PcapdjError):
    """The sessions of all events are in too many files: look for fewer events at once."""


@dataclass(frozen=True, slots=True)
class PacketPlace:
    """A packet's place.

    Args:
        file: its file.
        stream: the stream that has it.
        stream_packet: its number there, from 1.
        packet: its number among the packets of the file that were fed, from 1.
    """

    file: FedFile
    stream: str
    stream_packet: int
    packet: int


@dataclass(slots=True)
class Location:
    """What was found of one event.

    Args:
        event: what was looked for.
        places: of its packet, by stream; more than one: several streams match, of which 20 are here.
        files: that may have packets of its session.
        stream_end: the last packet number that a finished file of its stream has; 0: there is none.
    """

    event: AnalyzerEvent
    places: dict[str, PacketPlace] = field(default_factory=dict)
    files: list[FedFile] = field(default_factory=list)
    stream_end: int = 0

    @property
    def place(self) -> PacketPlace | None:
        """The place of the packet; None: it was not found, or is not certain."""
        [place, *others] = self.places.values() or [None]
        return None if others else place

    @property
    def stream(self) -> str:
        """The stream of the event; empty: it is unknown."""
        return self.event.stream or (self.place.stream if self.place else "")

    def session_files(self) -> list[FedFile]:
        """Return the files that may have packets of the session, in the order in which they were fed.

        Where its stream is known, only those of that stream.
        """
        if not self.stream:
            return self.files
        found = [(part[1], file) for file in self.files for part in file.all_parts if part[0] == self.stream]
        return [file for _, file in sorted(found, key=itemgetter(0))]

    def problem(self) -> str:
        """Return why neither packet nor files were found, as a sentence; empty: they were."""
        event = self.event
        if event.packet is not None:
            return self._problem_of_number(event.packet)
        if event.rule is Rule.NONE or event.start_ns is None:
            return (
                "It has no packet of its own, and no flow: its timestamp alone may be wrong by hours."
                if event.flow_id is None
                else "No line with its flow_id has the times of its flow: use --log FOLDER."
            )
        return "" if self.session_files() else "No file of the journal has packets of that time."

    def _problem_of_number(self, number: int) -> str:
        if self.place:
            return ""
        if self.places:
            streams = ", ".join([*self.places, *[".."] * (len(self.places) == _MOST_STREAMS)])
            return f"Packet {number:,} may be in several streams: choose one of {streams} with --stream."
        if self.stream_end:
            return (
                f"The finished files of its stream have {counted(self.stream_end, 'packet')}, and no packet"
                f" {number:,}. The stream may have ended early, in the next file, which was then fed into"
                " another stream."
            )
        return f"No file of the journal has packet {number:,} of its stream at that time."


class TimeSpan(NamedTuple):
    """A time span, both ends included, in nanoseconds since 1970."""

    begin_ns: int
    end_ns: int


class SpanTree:
    """Which of many time spans have a time in common with another one, without a look at each of them.

    The spans are the leaves of a binary tree, in the order of their begins. Each node has the latest end
    below it. So a look goes only down to spans that end late enough, and one that lasts for hours does not
    make all those looked at that begin while it lasts.

    Args:
        spans: in the order of their begins.
    """

    def __init__(self, spans: Sequence[TimeSpan]) -> None:
        self._begins_ns = [span.begin_ns for span in spans]
        self._leaves = 1 << max(0, len(spans) - 1).bit_length()
        never_ns = min((span.end_ns for span in spans), default=0)
        ends_ns = [span.end_ns for span in spans]
        self._latest_ns = [never_ns] * self._leaves + ends_ns + [never_ns] * (self._leaves - len(spans))
        for node in range(self._leaves - 1, 0, -1):
            self._latest_ns[node] = max(self._latest_ns[2 * node : 2 * node + 2])

    def in_common(self, begin_ns: int, end_ns: int) -> Iterator[int]:
        """Yield the places of the spans that have a time in common with this one, in their order."""
        count = bisect_right(self._begins_ns, end_ns)
        nodes = [(_ROOT, 0, self._leaves)]  # place in the tree, first leaf below it, how many
        while nodes:
            node, first, leaves = nodes.pop()
            if first >= count or self._latest_ns[node] < begin_ns:
                continue
            if leaves == 1:
                yield first
            else:
                half = leaves // 2
                nodes += [(2 * node + 1, first + half, half), (2 * node, first, half)]


class Locator:
    """Finds the places of some events while it is given all files of the journal.

    Args:
        events: what is looked for.
        has_sessions: the files of the sessions of events with a packet are wanted, too.
    """

    def __init__(self, events: Sequence[AnalyzerEvent], *, has_sessions: bool) -> None:
        self._locations = [Location(event) for event in events]
        numbered = [each for each in self._locations if each.event.packet is not None]
        self._numbered = sorted(numbered, key=lambda each: each.event.packet or 0)
        self._numbers = [each.event.packet or 0 for each in self._numbered]
        # ends of parts of streams, by the place of the first event with a number behind it
        self._ends = defaultdict[int, dict[str, int]](dict)
        timed = [
            each
            for each in self._locations
            if each.event.start_ns is not None and (has_sessions or not each.event.has_packet)
        ]
        self._timed = sorted(timed, key=lambda each: _span_of(each.event))
        self._spans = SpanTree([_span_of(each.event) for each in self._timed])
        self._streams = {each.event.stream for each in self._locations}
        self._listed = 0  # files, again for each event
        self._name_bytes = 0  # of the files that are kept
        self._has_begin = False  # of the one stream of all events
        self._looked_at = self._kept = FedFile(b"", "")

    @property
    def is_complete(self) -> bool:
        """Report whether no older file can add anything.

        That is so if each event has its packet, in a known stream; or if the files were added from the newest
        one on, and the one that begins the stream of all events was among them.
        """
        if self._has_begin:
            return True
        return not self._timed and all(each.event.stream and each.places for each in self._numbered)

    @property
    def times_ns(self) -> tuple[int, int] | None:
        """The times that all files have which can add something; None: they may have any."""
        limits = [
            (begin, end)
            for each in self._locations
            for begin, end in [_limits(each.event)]
            if begin is not None and end is not None
        ]
        if len(limits) < len(self._locations) or not limits:
            return None
        return min(begin for begin, _ in limits), max(end for _, end in limits)

    @property
    def stream(self) -> str:
        """The one stream that all events are about; empty: there are several, or it is unknown."""
        return next(iter(self._streams)) if len(self._streams) == 1 else ""

    def locations(self) -> list[Location]:
        """Return what was found of each event, in their order."""
        ends = defaultdict[str, int](int)
        for place, location in enumerate(self._numbered):
            for stream, end in self._ends.get(place, {}).items():
                ends[stream] = max(ends[stream], end)
            location.stream_end = ends.get(location.event.stream, 0)
        return self._locations

    def add(self, files: Iterable[FedFile], *, is_newest_first: bool = False) -> None:
        """Look at the next files.

        Raises:
            TooManyFiles: the sessions of all events are in too many.
        """
        for file in files:
            begun = is_newest_first and [part for part in file.all_parts if part[1] == 1]
            self._has_begin |= bool(begun) and self.stream in {part[0] for part in begun or ()}
            before = 0
            for part in file.all_parts:
                self._add_part(file, part, before)
                before += part[2]
            if span := file.span_ns:
                self._add_times(file, *span)
            self._check_limits()

    def _check_limits(self) -> None:
        if self._listed > _MOST_LISTED or self._name_bytes > _MOST_NAME_BYTES:
            raise TooManyFiles(
                "The sessions of all events are in too many files.",
                hint="Choose some events with --sid or --flow-id, or a shorter time.",
            )

    def _lean(self, file: FedFile) -> FedFile:
        """Return the file with the fields that an answer needs: a journal's entry has forty, 5 KB in all."""
        if self._looked_at is not file:
            fields = {name: file.fields[name] for name in _NEEDED if name in file.fields}
            self._looked_at, self._kept = file, replace(file, fields=fields)
            self._name_bytes += len(file.name)
        return self._kept

    def _add_part(self, file: FedFile, part: Part, before: int) -> None:
        stream, first, packets = part
        behind = bisect_left(self._numbers, first + packets)
        for place in range(bisect_left(self._numbers, first), behind):
            location, number = self._numbered[place], self._numbers[place]
            is_shown = stream in location.places or len(location.places) < _MOST_STREAMS
            if is_shown and _fits(location.event, stream, file):
                location.places[stream] = PacketPlace(
                    self._lean(file), stream, number, before + number - first + 1
                )
        if stream in self._streams:
            self._ends[behind][stream] = max(self._ends[behind].get(stream, 0), first + packets - 1)

    def _add_times(self, file: FedFile, earliest_ns: int, latest_ns: int) -> None:
        for place in self._spans.in_common(earliest_ns - _SPARE_NS, latest_ns + _SPARE_NS):
            location = self._timed[place]
            if _is_of_stream(location.event, file):
                location.files.append(self._lean(file))
                self._listed += 1


def _fits(event: AnalyzerEvent, stream: str, file: FedFile) -> bool:
    """Report whether the packet of an event may be in this file of that stream."""
    if event.stream:
        return event.stream == stream
    return event.time_ns is None or file.has_time(event.time_ns - _SPARE_NS, event.time_ns + _SPARE_NS)


def _is_of_stream(event: AnalyzerEvent, file: FedFile) -> bool:
    return not event.stream or file.is_in(event.stream)


def _limits(event: AnalyzerEvent) -> tuple[int | None, int | None]:
    times = [each for each in (event.time_ns, event.start_ns, event.end_ns) if each is not None]
    return (min(times) - FRAGMENTS_NS, max(times) + _SPARE_NS) if times else (None, None)


def _span_of(event: AnalyzerEvent) -> TimeSpan:
    """Return when packets of a session may be, its fragments included."""
    ends_ns = (event.start_ns, event.end_ns, event.time_ns)
    return TimeSpan((event.start_ns or 0) - FRAGMENTS_NS, max(each or 0 for each in ends_ns))
