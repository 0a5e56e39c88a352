"""What a dispatcher counts, and the eight lines that SIGUSR2 prints, in the original's wording."""

import time
from dataclasses import asdict

import pytest

from pcapdj.capture.pcap import StreamFormat, Totals
from pcapdj.feed.progress import FileProgress
from pcapdj.feed.statistics import WAITING, Statistics

JUMP = "begins 5 ns before the end of the previous file"
ORIGINAL = """\
[STATS] Start time:2013-06-09 09:17:50
[STATS] Uptime:322 (seconds)
[STATS] Internal state:Waiting for authorization
[STATS] Number of suspensions:0
[STATS] Number of files:1
[STATS] Number of packets:2968
[STATS] Number of cap_lengths:330581
[STATS] Number of lengths:330581
"""


def test_a_new_dispatcher_has_counted_nothing() -> None:
    """Every number is 0, every text empty; it runs, and nothing suspends it."""
    statistics = Statistics(started_s=5, pid=7, pipe="p")
    published = statistics.published()

    assert {"progress": FileProgress(), **published} == asdict(statistics) | {"progress": FileProgress()}
    named = {name: published.pop(name) for name in ("started_s", "pid", "pipe", "state")}
    assert named == {"started_s": 5, "pid": 7, "pipe": "p", "state": "Running"}
    assert set(published.values()) == {0, "", b""}


def test_the_lines_are_those_of_the_original() -> None:
    """Scripts read them; the start is in local time."""
    started_s = time.mktime((2013, 6, 9, 9, 17, 50, 0, 0, -1))
    statistics = Statistics(started_s=started_s, pid=1, pipe="/tmp/pcapbuffer", state=WAITING, files=1)  # noqa: S108 - the original's

    statistics.progress.add(Totals(2968, 330581, 330581), 0, 0, {})

    assert statistics.lines(started_s + 322.9) == ORIGINAL


def in_flight(jump: str = "") -> FileProgress:
    """Return the progress of a file with one packet in the stream."""
    progress = FileProgress()
    progress.begin(1000, 1, StreamFormat(1, nanosecond=False), None, jump)
    progress.add(Totals(1, 2, 3), 18, 500, {})
    return progress


def test_the_file_in_flight_is_counted_in_a_copy() -> None:
    """It is counted for good when it is finished."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", packets=5, cap_lengths=6, lengths=7)
    statistics.begin_pass(in_flight())

    counted = statistics.counted()

    assert (counted.packets, counted.cap_lengths, counted.lengths) == (6, 8, 10)
    assert (counted.stream_bytes, counted.done_bytes) == (1018, 500)
    assert (statistics.packets, statistics.cap_lengths, statistics.lengths) == (5, 6, 7)


@pytest.mark.parametrize("is_processed", [True, False])
def test_a_finished_file_is_counted_once_and_no_longer_shown(*, is_processed: bool) -> None:
    """As processed or failed; what it gave to the stream counts in both cases."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", packets=5)
    statistics.begin_file(b"/in/b.pcap")
    statistics.begin_pass(in_flight(JUMP))

    statistics.finish_file(is_processed=is_processed)

    counted = statistics.counted()
    assert (counted.packets, counted.cap_lengths, counted.lengths, counted.stream_bytes) == (6, 2, 3, 1018)
    assert (counted.files, counted.failed) == (is_processed, not is_processed)
    assert (counted.name, counted.done_bytes, counted.total_bytes) == (b"", 0, 0)
    assert (counted.jumps, counted.last_jump_name) == (1, b"/in/b.pcap")


def test_the_file_in_flight_counts_with_its_jump() -> None:
    """At once; what is counted for good is not touched."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", jumps=1, last_jump="..", name=b"/in/b.pcap")
    statistics.begin_pass(in_flight(JUMP))

    counted = statistics.counted()

    assert (counted.packets, counted.jumps, counted.last_jump_name) == (1, 2, b"/in/b.pcap")
    assert counted.last_jump == JUMP
    assert (statistics.jumps, statistics.last_jump, statistics.last_jump_name) == (1, "..", b"")


def test_a_file_without_a_jump_leaves_the_last_one() -> None:
    """It stays on the screen until there is another."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", jumps=1, last_jump="..", last_jump_name=b"a")
    statistics.begin_pass(in_flight())

    counted = statistics.counted()

    assert (counted.jumps, counted.last_jump, counted.last_jump_name) == (1, "..", b"a")


def test_anomalies_add_up_and_the_last_one_has_its_file() -> None:
    """A file without one leaves the last one; the file in flight counts at once, its words at its end."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", stream="s1")
    for name, anomaly in ((b"a", ".."), (b"b", "")):
        statistics.begin_file(name)
        statistics.begin_pass(FileProgress(anomaly=anomaly))
        odd = Totals(9, steps_back=2, largest_step_back_ns=5, beyond_snaplen=1, wrapped_times=3)
        left_out = {1: 2, 101: 3} if anomaly else {}
        statistics.progress.add(odd._replace(has_times_after_2038=bool(anomaly)), 0, 0, left_out)
        statistics.finish_file(is_processed=True)
        statistics.begin_stream("s2")
    statistics.begin_pass(FileProgress(left_out={1: 1}))

    counted = statistics.counted()

    assert (counted.left_out, counted.wrapped_times, counted.beyond_snaplen) == (6, 6, 2)
    assert (counted.steps_back, counted.largest_step_back_ns) == (4, 5)
    assert (counted.after_2038_stream, counted.last_anomaly, counted.last_anomaly_name) == ("s1", "..", b"a")


def test_what_a_file_has_counted_stays_when_it_is_finished() -> None:
    """Only the file itself is not shown any more, and is among the files."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", stream="s1", name=b"/in/a.pcap", total_bytes=700)
    progress = in_flight(JUMP)
    odd = Totals(9, 8, 7, steps_back=2, largest_step_back_ns=5, beyond_snaplen=1, wrapped_times=3)
    progress.add(odd._replace(has_times_after_2038=True), 6, 600, {1: 2})
    progress.end({1: 2}, "is odd", 1.5)
    statistics.begin_pass(progress)
    before = statistics.published()

    statistics.finish_file(is_processed=True)

    after = statistics.published()
    changed = {field: value for field, value in after.items() if before[field] != value}
    assert changed == {"files": 1, "name": b"", "done_bytes": 0, "total_bytes": 0}
    assert (before["read_bytes"], before["last_anomaly"], before["last_jump"]) == (600, "is odd", JUMP)


def test_what_is_set_is_published() -> None:
    """Each by its own field; what is waited for ends with the next state."""
    statistics = Statistics(started_s=0, pid=1, pipe="p")
    statistics.begin_file(b"/in/a.pcap")
    statistics.show_size(700)
    statistics.begin_stream("s1")
    statistics.show(WAITING, "a reader")
    statistics.hold("three files")
    statistics.wait_for_storage(b"/mnt", 5.0, 9)
    shown = statistics.published()
    statistics.wait_for("the gate")
    waited_for = statistics.waiting_for
    statistics.show("Running")

    names = ("name", "total_bytes", "stream", "state", "waiting_for", "at_fault")
    assert [shown[name] for name in names] == [b"/in/a.pcap", 700, "s1", WAITING, "a reader", "three files"]
    assert [shown[f"storage{part}"] for part in ("", "_since_s", "_queued")] == [b"/mnt", 5.0, 9]
    assert (waited_for, statistics.waiting_for) == ("the gate", "")


def test_only_another_loss_changes_when_names_were_lost() -> None:
    """A registration that was restored loses no name."""
    statistics = Statistics(started_s=0, pid=1, pipe="p")

    times_s = []
    for restored, lost_names, now_s in ((1, 0, 10.0), (1, 5, 20.0), (2, 5, 30.0), (2, 6, 40.0)):
        statistics.show_losses(restored, lost_names, now_s)
        times_s.append(statistics.lost_s)

    assert times_s == [0.0, 20.0, 20.0, 40.0]
    assert (statistics.restored, statistics.lost_names) == (2, 6)


def test_a_known_file_is_no_file_that_was_fed() -> None:
    """Each file is in one of the three numbers."""
    statistics = Statistics(started_s=0, pid=1, pipe="p")

    statistics.finish_file(is_processed=True, is_known=True)
    statistics.finish_file(is_processed=True)
    statistics.finish_file(is_processed=False)

    assert (statistics.files, statistics.known, statistics.failed) == (1, 1, 1)


def test_a_suspension_counts_when_it_begins_and_hides_the_state() -> None:
    """A second one that joins it is the same suspension."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", state=WAITING)

    counts = []
    for by in ("gate", "gate,operator", "operator", "", "gate"):
        statistics.suspend(by)
        counts.append(statistics.suspensions)

    assert (counts, statistics.shown_state) == ([1, 1, 1, 1, 2], "Suspended")
    assert statistics.published()["state"] == "Suspended"
    statistics.suspend("")
    assert statistics.published()["state"] == WAITING


def test_what_is_published_are_the_fields_of_the_documented_key() -> None:
    """Programs read them by these names; the progress itself is not among them."""
    assert set(Statistics(started_s=0, pid=1, pipe="p").published()) == {
        *(
            "started_s",
            "pid",
            "pipe",
            "queue",
            "place",
            "state",
            "waiting_for",
            "suspended_by",
            "suspensions",
            "at_fault",
        ),
        *("storage", "storage_since_s", "storage_queued"),
        *("files", "failed", "packets", "cap_lengths", "lengths", "name", "done_bytes", "total_bytes"),
        *("stream", "stream_bytes", "jumps", "last_jump", "last_jump_name"),
        *("left_out", "wrapped_times", "steps_back", "largest_step_back_ns", "beyond_snaplen"),
        *("after_2038_stream", "last_anomaly", "last_anomaly_name", "known"),
        *("restored", "lost_names", "lost_s", "read_bytes"),
    }
