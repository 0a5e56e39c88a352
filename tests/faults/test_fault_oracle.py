"""The oracle itself: it finds what is wrong in doctored streams, and nothing in good ones."""

from pathlib import Path

import pytest

from faults.oracle import Books, Judgement, Stream, judge_journal, judge_names, judge_order, judge_stream
from faults.packets import FORMS, STREAM_HEADER, Numbered, body_of, frame, write_numbered
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import StreamFormat

BODIES = {number: body_of(number, 5, 100) for number in (1, 2, 3)}
FILES = {number: Numbered(Path(f"/in/{number}"), number, body, 5) for number, body in BODIES.items()}
GOOD = STREAM_HEADER + BODIES[1] + BODIES[2] + BODIES[3]
FIRST_BYTES, LAST_BYTES = (16 + len(frame(1, number, 100)) for number in (0, 4))


def judged(data: bytes, *, was_killed: bool = False) -> Judgement:
    """Return what the oracle says of a stream."""
    return judge_stream(Stream("s", data, was_killed), FILES)


def test_a_good_stream_is_good() -> None:
    """Every packet once, in order; each file counts as complete."""
    found = judged(GOOD)

    assert found.sentences == []
    assert found.complete == [1, 2, 3]
    assert found.packets == 15


@pytest.mark.parametrize("end", [0, 1, 23, 24, 30, 24 + FIRST_BYTES, 24 + len(BODIES[1]) + 70])
def test_a_killed_analyzers_stream_may_break_off_anywhere(end: int) -> None:
    """But only if it was killed, and only at its end."""
    assert judged(GOOD[:end], was_killed=True).sentences == []


@pytest.mark.parametrize(
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
    found = judged(data)

    assert found.sentences
    assert {"torn": found.torn, "lost": found.lost, "doubled": found.doubled}.get(count, 1) > 0


def test_in_the_middle_even_a_killed_stream_is_whole() -> None:
    """What one analyzer left unread and the next one got is found."""
    assert judged(GOOD[:100] + GOOD[130:], was_killed=True).sentences


def test_names_are_in_one_place() -> None:
    """Forgotten and doubled names are found, whichever list they should be in."""
    good = Books([b"c"], [b"b"], [b"a"], [b"d"])

    assert judge_names(good, [b"a", b"b", b"c", b"d"]).sentences == []
    assert judge_names(good, [b"a", b"b", b"c", b"d", b"e"]).forgotten == 1
    assert judge_names(good, [b"a", b"b", b"c"]).doubled == 1


def test_processed_means_fed() -> None:
    """A file that PROCESSED has and the stream has not is a lost file."""
    streams = {"s": Stream("s", GOOD[: 24 + len(BODIES[1])])}
    judgements = {"s": judged(streams["s"].data)}

    good = judge_journal(Books([], [], [], [], [(1, "s", "processed")]), judgements, streams, FILES)
    bad = judge_journal(Books([], [], [], [], [(2, "s", "processed")]), judgements, streams, FILES)

    assert good.sentences == []
    assert bad.lost == 5


def test_a_later_stream_does_not_go_back() -> None:
    """Behind what an earlier one had finished."""
    assert judge_order([Judgement(complete=[1, 2]), Judgement(complete=[2, 3])]).sentences == []
    assert judge_order([Judgement(complete=[1, 2]), Judgement(complete=[1])]).sentences


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
