"""How far a file came: what is stored for the next dispatcher, and what the journal keeps."""

import json
from dataclasses import asdict
from typing import Any

from pcapdj.capture.pcap import OTHER_LINKTYPES, StreamFormat, Totals
from pcapdj.feed.progress import FileProgress, ResumeNote, packets_before
from pcapdj.launcher_protocol import KEYS, LauncherReply, decode_reply, encode_reply
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES

FORMAT = StreamFormat(1, nanosecond=False, rewrites=True)
LONGEST = b"\xff" * NAME_LIMIT_BYTES


def test_the_longest_names_fit_into_one_message() -> None:
    """The next dispatcher gets the notes of header and file at once, each with the previous file."""
    before = ResumeNote("t" * 16, LONGEST).as_previous(1 << 63, 1 << 63)
    of_file: dict[str, Any] = {"identity": [1 << 63] * 4, "digest": "d" * 64, "rewrites": True}
    of_file |= {"earlier_parts": [[1 << 63, 1 << 63]] * 100, "earlier_packets": 1 << 63}
    note = ResumeNote("u" * 16, LONGEST).note(1 << 62, before, **of_file, earlier_streams=["s" * 8] * 100)
    header: dict[str, Any] = {"linktype": 1, "nanosecond": True, "before": before}
    notes = [header, note, {}, {}, {}]

    message = encode_reply(LauncherReply(stream="s", entries=tuple(zip(KEYS, notes, strict=True))))

    assert [stored for _, stored in decode_reply(message).entries] == notes


def test_the_next_dispatcher_gets_what_it_needs_of_the_file() -> None:
    """The entry's token and name, where in the stream the file begins, and the file before it."""
    before = {"name": "/in/0.pcap", "last_ts_ns": 7}

    note = ResumeNote("t", b"/in/\xff").note(24, before, digest="d", rewrites=False)

    assert note == {
        "token": "t",
        "name": "/in/\udcff",
        "stream_start": 24,
        "before": before,
        "digest": "d",
        "rewrites": False,
    }


def test_a_file_that_has_not_begun_is_all_zero() -> None:
    """Whoever looks at it before its first byte sees nothing."""
    begun = {name: value for name, value in asdict(FileProgress()).items() if value}

    assert begun.keys() == {"totals"}
    assert FileProgress().totals == Totals()


def test_the_log_has_the_numbers_and_times_of_a_file_with_packets() -> None:
    """Of a file without packets only that."""
    progress = FileProgress(Totals(3, 40, 50, 10**9, 2 * 10**9), fed_s=1.23456)

    assert progress.log_fields("s1") == {
        "packets": 3,
        "bytes": 40,
        "seconds": 1.235,
        "stream": "s1",
        "first": "1970-01-01T00:00:01.000000Z",
        "last": "1970-01-01T00:00:02.000000Z",
    }
    assert FileProgress().log_fields("s1") == {"packets": 0}


def test_a_pass_without_a_packet_has_no_places_in_the_journal() -> None:
    """Programs take an empty field for unknown, and zero for a number."""
    empty = {name for name, value in FileProgress().journal().items() if value == ""}

    assert empty == {
        *("first_ts_ns", "last_ts_ns", "first_packet", "linktype"),
        *("earlier_parts", "step_ns", "jump", "left_out"),
    }


def test_the_previous_file_is_stored_with_its_last_time_and_its_name() -> None:
    """Of a very long path the end; and how many packets the stream has up to it."""
    previous = ResumeNote("t", b"/in/1.pcap").as_previous(7, 20)

    assert previous == {"name": "/in/1.pcap", "last_ts_ns": 7, "packets": 20}
    assert ResumeNote("t", b"/in/" + b"x" * 300).as_previous(7, 20)["name"] == "x" * 255
    assert (packets_before(previous), packets_before({})) == (20, 0)


def test_the_packets_of_a_stream_are_counted_without_those_of_earlier_streams() -> None:
    """Of a file that an orderly stop has cut, the journal has where its first packets are, as JSON."""
    progress = FileProgress(Totals(5), earlier_packets=5, earlier_parts=[(11, 5)])
    progress.begin(24, 1, FORMAT, None, "")
    progress.add(Totals(3), 152, 176, {})

    entry = progress.journal()

    assert (entry["packets"], entry["first_packet"], entry["earlier_parts"]) == (8, 1, "[[11, 5]]")
    assert progress.stream_packets == 3


def test_the_journal_has_the_step_of_every_file_and_the_description_of_a_jump() -> None:
    """Programs filter by the one or the other; both are empty where there is nothing."""
    first, usual, back = (
        FileProgress(),
        FileProgress(step_ns=0),
        FileProgress(step_ns=-5, jump="begins 5 ns before the end of the previous file"),
    )

    shown = [(entry["step_ns"], entry["jump"]) for entry in (each.journal() for each in (first, usual, back))]

    assert shown == [("", ""), (0, ""), (-5, "begins 5 ns before the end of the previous file")]


def test_the_journal_has_the_times_of_the_first_and_the_last_packet() -> None:
    """Of all pieces; both are empty for a file without packets."""
    progress = FileProgress()
    assert [progress.journal()[name] for name in ("first_ts_ns", "last_ts_ns")] == ["", ""]

    progress.begin(24, 101, FORMAT, None, "")
    assert progress.has_begun
    progress.add(Totals(2, 120, 130, first_ts_ns=5, last_ts_ns=7), 152, 176, {})
    progress.add(Totals(1, 60, 60, first_ts_ns=8, last_ts_ns=8), 76, 252, {})

    assert progress.journal() == {
        "packets": 3,
        "cap_lengths": 180,
        "lengths": 190,
        "first_ts_ns": 5,
        "last_ts_ns": 8,
        "stream_start": 24,
        "stream_end": 252,
        "first_packet": 101,
        "earlier_parts": "",
        "linktype": 1,
        "rewrites": 1,
        "fed_s": "0.000",
        "step_ns": "",
        "jump": "",
        "left_out": "",
        "wrapped_times": 0,
        "steps_back": 0,
        "largest_step_back_ns": 0,
        "beyond_snaplen": 0,
        "after_2038": 0,
    }
    assert progress.source_bytes == 252


def test_the_journal_has_a_field_for_each_kind_of_anomaly() -> None:
    """Packets left out by link type, as JSON."""
    progress = FileProgress()
    progress.add(Totals(9, steps_back=4, largest_step_back_ns=5, beyond_snaplen=6, wrapped_times=7), 0, 0, {})
    progress.add(Totals(1, has_times_after_2038=True), 0, 0, {113: 2, 101: 3})

    entry = progress.journal()

    assert entry["left_out"] == '{"101": 3, "113": 2}'
    counts = ("steps_back", "largest_step_back_ns", "beyond_snaplen", "wrapped_times", "after_2038")
    assert [entry[name] for name in counts] == [4, 5, 6, 7, 1]


def test_the_journal_stays_short_whatever_a_file_has() -> None:
    """Of 65536 link types the 16 most frequent; the packets of all others are one number."""
    entry = FileProgress(left_out={linktype: linktype + 1 for linktype in range(65_536)}).journal()

    counts = json.loads(str(entry["left_out"]))
    assert len(counts) == 17
    assert sum(counts.values()) == 65_536 * 65_537 // 2


def test_counts_that_a_note_did_not_keep_apart_are_others() -> None:
    """After the death of a dispatcher."""
    entry = FileProgress(left_out={101: 2, OTHER_LINKTYPES: 3}).journal()

    assert entry["left_out"] == '{"101": 2, "other": 3}'
