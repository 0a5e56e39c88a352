"""Where events are, from the files of a journal: `pcapdj.trace.locate`."""

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.errors import PcapdjError
from pcapdj.store.journal import FedFile
from pcapdj.trace.events import AnalyzerEvent, Rule
from pcapdj.trace.locate import FRAGMENTS_NS, Location, Locator, SpanTree, TimeSpan
from pcapdj.trace.presence import FedFileState, Presences

SECOND = 10**9
SPANS = st.tuples(st.integers(-5, 60), st.integers(0, 60)).map(lambda each: TimeSpan(each[0], sum(each)))


def fed(name: str, stream: str, first_packet: int, packets: int, *, begin_s: int = 100) -> FedFile:
    """Return a file with a packet each second."""
    first_ns, last_ns = begin_s * SECOND, (begin_s + packets - 1) * SECOND
    return FedFile(
        name.encode(),
        "processed",
        stream=stream,
        packets=packets,
        first_packet=first_packet,
        first_ts_ns=first_ns,
        last_ts_ns=last_ns,
    )


def numbered(number: int, stream: str = "a", time_s: int | None = None) -> AnalyzerEvent:
    """Return an event with the number of its packet."""
    time_ns = None if time_s is None else time_s * SECOND
    return AnalyzerEvent("alert", Rule.NUMBER, packet=number, stream=stream, time_ns=time_ns)


def timed(start_s: int, end_s: int | None = None, stream: str = "") -> AnalyzerEvent:
    """Return an event with the times of its session."""
    end_ns = None if end_s is None else end_s * SECOND
    return AnalyzerEvent("flow", Rule.FLOW, start_ns=start_s * SECOND, end_ns=end_ns, stream=stream)


def located(files: list[FedFile], *events: AnalyzerEvent, has_sessions: bool = False) -> list[Location]:
    """Return the locations of events."""
    locator = Locator(events, has_sessions=has_sessions)
    locator.add(files)
    return locator.locations()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.data())
def test_a_number_is_in_exactly_one_file(counts: list[int], data: st.DataObject) -> None:
    """Whatever the files have; those without packets never have it."""
    files, packets = list[FedFile](), list[tuple[int, int]]()
    for place, count in enumerate(counts):
        files.append(fed(str(place), "a" if count else "", len(packets) + 1 if count else 0, count))
        packets += [(place, number) for number in range(1, count + 1)]
    number = data.draw(st.integers(1, len(packets) + 2))

    [location] = located(files, numbered(number))

    if number > len(packets):
        assert location.place is None
        assert location.problem()
    else:
        assert location.place is not None
        found = (int(location.place.file.name), location.place.packet)
        assert (found, location.place.stream_packet) == (packets[number - 1], number)
        assert not location.problem()


def test_a_file_that_was_stopped_has_a_part_in_each_stream() -> None:
    """Its packets are counted through: the seventh is the second one of the other stream."""
    file = replace(fed("1", "b", 1, 9), parts=(("a", 11, 5),))

    first, second = located([file], numbered(12, "a"), numbered(2, "b"))

    assert first.place is not None
    assert second.place is not None
    assert [each.packet for each in (first.place, second.place)] == [2, 7]


def test_an_unknown_stream_is_known_by_the_packets_time() -> None:
    """Where two streams have the number at that time, both are named."""
    files = [fed("1", "a", 1, 50, begin_s=100), fed("2", "b", 1, 50, begin_s=500)]
    alike = [*files, fed("3", "c", 1, 50, begin_s=90)]

    [certain] = located(files, numbered(3, "", 502))
    [doubtful] = located(alike, numbered(3, "", 102))
    [absent] = located(files, numbered(3, "", 900))

    assert certain.place is not None
    assert (certain.place.file.name, certain.stream) == (b"2", "b")
    assert doubtful.place is None
    assert doubtful.problem() == "Packet 3 may be in several streams: choose one of a, c with --stream."
    assert "at that time" in absent.problem()


def test_a_number_that_many_streams_have_names_some_of_them() -> None:
    """An event without a time fits into each stream of a journal: not all of a hundred thousand are kept."""
    [location] = located([fed(str(n), f"s{n}", 1, 9) for n in range(50)], numbered(3, ""))

    assert location.place is None
    assert "choose one of s0, s1, s2" in location.problem()
    assert "s19, .. with --stream." in location.problem()
    assert len(location.places) == 20


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30), st.integers(0, 9)), max_size=8))
def test_what_the_stream_has_before_a_number_that_is_missing_is_named(
    parts: list[tuple[str, int, int]],
) -> None:
    """The last packet of the parts before it: of its own stream, whatever the others have."""
    files = [fed(str(n), stream, first, packets) for n, (stream, first, packets) in enumerate(parts)]

    found = located(files, *[numbered(number, stream) for stream in "ab" for number in range(1, 45)])

    for location in found:
        number, stream = location.event.packet or 0, location.event.stream
        ends = [first + packets - 1 for of, first, packets in parts if of == stream]
        assert location.stream_end == max([end for end in ends if end < number], default=0)


def test_a_number_behind_the_last_finished_file_names_how_far_the_stream_goes() -> None:
    """Its analyzer died in the next file, which went into another stream."""
    [location] = located([fed("1", "a", 1, 50), fed("2", "b", 1, 50)], numbered(60, "a"))

    assert "have 50 packets, and no packet 60" in location.problem()


def test_a_session_is_in_the_files_of_its_time() -> None:
    """From a minute before it on, for fragments; of its own stream where that is known."""
    files = [
        fed(str(place), "ab"[place % 2], place // 2 * 100 + 1, 100, begin_s=place * 100)
        for place in range(10)
    ]

    [one] = located(files, timed(510, 520))
    [several] = located(files, timed(570, 720))
    [of_stream] = located(files, timed(570, 720, "a"))
    [found] = located(files, timed(899))

    assert [file.name for file in one.files] == [b"4", b"5"], "the fragments may be a minute older"
    assert [file.name for file in several.files] == [b"5", b"6", b"7"]
    assert [file.name for file in of_stream.files] == [b"6"]
    assert [file.name for file in found.files] == [b"8"]
    assert FRAGMENTS_NS == 60 * SECOND


def test_events_about_too_many_files_in_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand sessions that last for the whole of a long stream would list each of its files each."""
    monkeypatch.setattr("pcapdj.trace.locate._MOST_LISTED", 30)
    files = [fed(str(place), "a", place * 100 + 1, 100, begin_s=place * 100) for place in range(10)]

    assert sum(len(each.files) for each in located(files, *[timed(0, 2000)] * 3)) == 30
    with pytest.raises(PcapdjError, match="in too many files"):
        located(files, *[timed(0, 2000)] * 4)


@pytest.mark.parametrize("events", [[timed(0, 2000)], [numbered(1, "")]], ids=["time", "number"])
def test_files_with_long_names_are_counted_by_their_bytes(
    monkeypatch: pytest.MonkeyPatch, events: list[AnalyzerEvent]
) -> None:
    """A journal has a hundred thousand entries, and a name there may have 8 KiB."""
    monkeypatch.setattr("pcapdj.trace.locate._MOST_NAME_BYTES", 90)
    files = [fed(f"{place:010}", str(place), 1, 100, begin_s=100) for place in range(10)]

    assert located(files[:9], *events)
    with pytest.raises(PcapdjError, match="in too many files"):
        located(files, *events)


def test_what_became_of_a_file_is_not_kept_for_names_of_any_length() -> None:
    """The names of a journal are those that whoever may write to Redis chose."""
    presences = Presences(None)
    tracemalloc.start()
    try:
        for number in range(3000):
            assert presences.of(fed(f"/{number:08000}", "a", 1, 1)).state is FedFileState.MISSING
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most_bytes < 3000 * 8000 // 2


def test_times_that_step_back_inside_a_file_widen_it() -> None:
    """The first and the last packet are not the earliest and the latest one then."""
    file = replace(fed("1", "a", 1, 10), largest_step_back_ns=50 * SECOND)

    assert located([file], timed(60, 61))[0].files == [file]
    assert located([file], timed(155, 156))[0].files == [file]
    assert located([file], timed(400, 401))[0].files == []


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 50)), max_size=12),
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 60)), max_size=12),
)
def test_every_file_of_the_time_of_an_event_is_found(
    sessions: list[tuple[int, int]], spans: list[tuple[int, int]]
) -> None:
    """As a comparison of each with each finds them."""
    events = [timed(start, start + length) for start, length in sessions]
    files = [fed(str(n), "a", 1, count, begin_s=begin) for n, (begin, count) in enumerate(spans)]

    found = located(files, *events)

    for location, (start, length) in zip(found, sessions, strict=True):
        wanted = [
            file
            for file, (begin, count) in zip(files, spans, strict=True)
            if begin <= start + length and begin + count - 1 >= start - 60
        ]
        assert location.files == wanted


def test_an_event_without_any_rule_is_never_found_by_its_timestamp() -> None:
    """Neither has one whose flow is nowhere."""
    none = AnalyzerEvent("stats")
    unjoined = AnalyzerEvent("http", Rule.JOINED_FLOW, flow_id=5)

    problems = [each.problem() for each in located([fed("1", "a", 1, 9)], none, unjoined)]

    assert "timestamp alone may be wrong" in problems[0]
    assert "flow_id" in problems[1]


def test_a_search_ends_when_nothing_can_be_added() -> None:
    """Only where each event has its packet, in a stream that is known."""
    certain = Locator([numbered(3)], has_sessions=False)
    assert not certain.is_complete
    certain.add([fed("1", "a", 1, 9)])
    doubtful = Locator([numbered(3, "", 101)], has_sessions=False)
    doubtful.add([fed("1", "a", 1, 9)])

    assert (certain.is_complete, doubtful.is_complete) == (True, False)
    assert (certain.stream, doubtful.stream) == ("a", "")
    assert doubtful.times_ns == (41 * SECOND, 101 * SECOND + 1000)
    assert certain.times_ns is None


def test_a_search_back_ends_with_the_file_that_begins_the_stream() -> None:
    """Older files are in other streams; the files of a session come in the order of their packets."""
    files = [fed("3", "a", 19, 9, begin_s=120), fed("2", "a", 10, 9, begin_s=110), fed("1", "b", 1, 9)]
    locator = Locator([timed(100, 130, "a")], has_sessions=False)

    locator.add(files, is_newest_first=True)
    assert not locator.is_complete
    locator.add([fed("0", "a", 1, 9, begin_s=100)], is_newest_first=True)

    assert locator.is_complete
    assert [file.name for file in locator.locations()[0].session_files()] == [b"0", b"2", b"3"]


@given(st.lists(SPANS, max_size=40), SPANS)
def test_a_span_is_found_if_it_has_a_time_in_common(spans: list[TimeSpan], wanted: TimeSpan) -> None:
    """As a comparison with each of them finds it; a single instant counts."""
    spans.sort()

    found = [*SpanTree(spans).in_common(*wanted)]

    compared = [
        place
        for place, span in enumerate(spans)
        if span.begin_ns <= wanted.end_ns and span.end_ns >= wanted.begin_ns
    ]
    assert found == compared


def test_a_span_that_lasts_long_does_not_make_all_others_looked_at() -> None:
    """Of ten thousand short ones behind the begin of a long one, a look sees as many as a tree has levels."""
    compared = list[int]()

    class End(int):
        def __lt__(self, other: int) -> bool:
            compared.append(other)
            return int(self) < other

    spans = [TimeSpan(0, End(10**6)), *(TimeSpan(number, End(number)) for number in range(1, 10_000))]
    tree = SpanTree(spans)
    compared.clear()

    assert [*tree.in_common(20_000, 20_001)] == [0]
    assert len(compared) < 50


def test_of_a_file_only_the_fields_for_an_answer_are_kept() -> None:
    """A hundred thousand may be listed, and an entry of the journal has 5 KB."""
    fields = {"linktype": "1", "left_out": "{}", "begin_bytes": "24", "finished": "x" * 5000, "name": "x"}
    file = replace(fed("1", "a", 1, 10), fields=fields)

    by_time, by_number = located([file], timed(101), numbered(3))

    [listed] = by_time.files
    assert by_number.place is not None
    assert listed is by_number.place.file
    assert listed.fields == {"linktype": "1", "left_out": "{}", "begin_bytes": "24"}
    assert listed == replace(file, fields=listed.fields)
