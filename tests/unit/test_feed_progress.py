"""What is told of a file on its way: to a successor, to the journal, in the statistics."""

from pcapdj.capture.pcap import Totals
from pcapdj.capture.timestamps import TimestampJump
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.statistics import Statistics
from pcapdj.launcher_protocol import KEYS, LauncherReply, decode_reply, encode_reply
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES

LONGEST = b"\xff" * NAME_LIMIT_BYTES


def test_the_longest_names_fit_into_one_message() -> None:
    """A successor gets the notes of header, file and batch at once, each with the file before."""
    before = ResumeNote("t" * 16, LONGEST).as_before(1 << 63)
    note = ResumeNote("u" * 16, LONGEST).note(1 << 62, before, rewrites=True)
    notes = ({"linktype": 1, "nanosecond": True, "sent_bytes": 1 << 62, "before": before}, note, note)

    message = encode_reply(LauncherReply(stream="s", entries=tuple(zip(KEYS, notes, strict=True))))

    assert [told for _, told in decode_reply(message).entries] == list(notes)


def test_the_file_before_is_known_by_its_last_packet_and_its_name() -> None:
    """Of a very long path the end."""
    assert ResumeNote("t", b"/in/1.pcap").as_before(7) == {"name": "/in/1.pcap", "last_ts_ns": 7}
    assert ResumeNote("t", b"/in/" + b"x" * 300).as_before(7)["name"] == "x" * 255


def test_the_journal_has_the_step_of_every_file_and_the_words_of_a_jump() -> None:
    """Programs filter by the one or the other; both are empty where there is nothing."""
    first, usual, back = (
        FileProgress(),
        FileProgress(step_ns=0),
        FileProgress(step_ns=-5, jump=TimestampJump(-5)),
    )

    told = [(entry["step_ns"], entry["jump"]) for entry in (each.journal() for each in (first, usual, back))]

    assert told == [("", ""), (0, ""), (-5, "begins 5 ns before the end of the previous file")]


def test_the_file_in_flight_counts_with_its_jump() -> None:
    """At once; what is counted for good is not touched."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", jumps=1, last_jump="..", name=b"/in/b.pcap")
    back = FileProgress(Totals(packets=3), jump=TimestampJump(-5))

    counted = back.counted_in(statistics)

    assert (counted.packets, counted.jumps, counted.last_jump_name) == (3, 2, b"/in/b.pcap")
    assert counted.last_jump == "begins 5 ns before the end of the previous file"
    assert (statistics.jumps, statistics.last_jump, statistics.last_jump_name) == (1, "..", b"")


def test_a_file_without_a_jump_leaves_the_last_one() -> None:
    """It stays on the screen until there is another."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", jumps=1, last_jump="..", last_jump_name=b"a")

    counted = FileProgress(step_ns=5).counted_in(statistics)

    assert (counted.jumps, counted.last_jump, counted.last_jump_name) == (1, "..", b"a")
