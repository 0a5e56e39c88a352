"""The checker itself: it finds what is wrong in doctored streams, and nothing in good ones."""

from pathlib import Path

import pytest
from support.rows import each_row

from faults.checker import Findings, RedisLists, Stream, check_journal, check_names, check_order, check_stream
from faults.packets import FORMS, STREAM_HEADER, Numbered, body_of, frame, write_numbered
from faults.stops import check_parts
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import StreamFormat

BODIES = {number: body_of(number, 5, 100) for number in (1, 2, 3)}
FILES = {number: Numbered(Path(f"/in/{number}"), number, body, 5) for number, body in BODIES.items()}
GOOD = STREAM_HEADER + BODIES[1] + BODIES[2] + BODIES[3]
FIRST_BYTES, LAST_BYTES = (16 + len(frame(1, number, 100)) for number in (0, 4))


def checked(data: bytes, *, was_killed: bool = False) -> Findings:
    """Return what the checker finds in a stream."""
    return check_stream(Stream("s", data, was_killed), FILES)


def test_a_good_stream_is_good() -> None:
    """Every packet once, in order; each file counts as complete."""
    found = checked(GOOD)

    assert found.sentences == []
    assert found.complete == [1, 2, 3]
    assert found.packets == 15


@each_row("end", [0, 1, 23, 24, 30, 24 + FIRST_BYTES, 24 + len(BODIES[1]) + 70])
def test_a_killed_analyzers_stream_may_break_off_anywhere(end: int) -> None:
    """But only if it was killed, and only at its end."""
    assert checked(GOOD[:end], was_killed=True).sentences == []


@each_row(
    ("data", "count"),
    [
        (GOOD[:-1], "torn"),
        (GOOD[1:], "torn"),
        (GOOD[: 24 + len(BODIES[1])] + b"\0" + GOOD[24 + len(BODIES[1]) :], "torn"),
        (STREAM_HEADER + STREAM_HEADER + BODIES[1], "torn"),
        (STREAM_HEADER + BODIES[1] + BODIES[1], "doubled"),
        (STREAM_HEADER + BODIES[2] + BODIES[1], "order"),
        (STREAM_HEADER + BODIES[1][:FIRST_BYTES] + BODIES[1], "doubled"),
        (STREAM_HEADER + BODIES[1] + BODIES[2][-LAST_BYTES:], "lost"),
        (STREAM_HEADER + BODIES[1].replace(b"pcapdj", b"PCAPDJ"), "invented"),
        (STREAM_HEADER + BODIES[1].replace(b"\4\4\4\4", b"\4\4\4\5", 1), "changed"),
    ],
)
def test_each_kind_of_damage_is_found(data: bytes, count: str) -> None:
    """Torn, lost, doubled, out of order, invented, changed."""
    found = checked(data)

    assert found.sentences
    assert {"torn": found.torn, "lost": found.lost, "doubled": found.doubled}.get(count, 1) > 0


def test_in_the_middle_even_a_killed_stream_is_whole() -> None:
    """What one analyzer left unread and the next one got is found."""
    assert checked(GOOD[:100] + GOOD[130:], was_killed=True).sentences


def test_names_are_in_one_place() -> None:
    """Forgotten and doubled names are found, whichever list they should be in."""
    good = RedisLists([b"c"], [b"b"], [b"a"], [b"d"])

    assert check_names(good, [b"a", b"b", b"c", b"d"]).sentences == []
    assert check_names(good, [b"a", b"b", b"c", b"d", b"e"]).forgotten == 1
    assert check_names(good, [b"a", b"b", b"c"]).doubled == 1


def test_processed_means_fed() -> None:
    """A file that PROCESSED has and the stream has not is a lost file."""
    streams = {"s": Stream("s", GOOD[: 24 + len(BODIES[1])])}
    all_findings = {"s": checked(streams["s"].data)}

    good = check_journal(RedisLists([], [], [], [], [(1, "s", "processed")]), all_findings, streams, FILES)
    bad = check_journal(RedisLists([], [], [], [], [(2, "s", "processed")]), all_findings, streams, FILES)

    assert good.sentences == []
    assert bad.lost == 5


def test_a_later_stream_does_not_go_back() -> None:
    """Behind what an earlier one had finished."""
    assert check_order([Findings(complete=[1, 2]), Findings(complete=[2, 3])]).sentences == []
    assert check_order([Findings(complete=[1, 2]), Findings(complete=[1])]).sentences


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_records(tmp_path: Path, form: str) -> None:
    """The campaign's files are what the campaign believes they are."""
    numbered = write_numbered(tmp_path, 7, 50, form=form)

    with open_capture(str(numbered.path).encode()) as capture:
        wanted = StreamFormat(1, nanosecond=False)
        parts = [
            piece.data if piece.data is not None else numbered.path.read_bytes()[piece.offset :]
            for piece in capture.pieces(wanted)
        ]

    assert b"".join(bytes(part) for part in parts) == numbered.body


ALL = BODIES[1] + BODIES[2] + BODIES[3]
CUT = len(BODIES[1]) + FIRST_BYTES  # behind the first packet of the second file


def parts_checked(*parts: bytes, killed: tuple[int, ...] = ()) -> Findings:
    """Return what the checker finds in streams that have these records each."""
    streams = [Stream(str(n), STREAM_HEADER + part, n in killed) for n, part in enumerate(parts)]
    return check_parts(streams, [BODIES[1], BODIES[2], BODIES[3]])


def test_a_stop_cuts_the_files_at_a_record_and_doubles_nothing() -> None:
    """All streams together have each packet once; after a kill the file in flight may come again."""
    assert parts_checked(ALL[:CUT], ALL[CUT:]).sentences == []
    assert parts_checked(ALL[:CUT], b"", ALL[CUT:]).sentences == []
    assert parts_checked(ALL[: CUT + 3], ALL[len(BODIES[1]) :], killed=(0,)).sentences == []
    assert parts_checked(ALL[:CUT], ALL[CUT : CUT + 80], ALL[CUT:], killed=(1,)).sentences == []


@each_row(
    ("parts", "killed", "count"),
    [
        ((ALL[:CUT], ALL[CUT + 1 :]), (), "lost"),
        ((ALL[:CUT], ALL[len(BODIES[1]) :]), (), "doubled"),
        ((ALL[: CUT + 3], ALL[CUT + 3 :]), (), "torn"),
        ((ALL[:CUT],), (), "lost"),
        ((ALL[:CUT], ALL[CUT + LAST_BYTES :]), (0,), "lost"),
        ((ALL[:CUT], ALL[CUT : CUT + 80], ALL[len(BODIES[1]) :]), (1,), "doubled"),
    ],
)
def test_a_wrong_place_after_a_stop_is_found(
    parts: tuple[bytes, ...], killed: tuple[int, ...], count: str
) -> None:
    """Behind the right place packets are lost, before it they are doubled."""
    found = parts_checked(*parts, killed=killed)

    assert found.sentences
    assert {"torn": found.torn, "lost": found.lost, "doubled": found.doubled}[count] > 0
