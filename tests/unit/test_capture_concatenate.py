"""Several captures written as one stream: into a pipe, a file, a device."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.captures import (
    ETHERNET,
    NANO,
    RAW_IP,
    Record,
    as_read,
    classic,
    cooked,
    enhanced,
    file_header,
    interface,
    record,
    records_of,
    section,
)

from pcapdj.capture.anomalies import Anomaly
from pcapdj.capture.concatenate import Precision, concatenate
from pcapdj.capture.pcap import StreamFormat, Totals
from pcapdj.runtime.errors import CaptureError

pytestmark = pytest.mark.usefixtures("both_forms")

ONE, TWO = [Record(1, 2, b"one")], [Record(3, 4, b"two" * 50_000), Record(5, 6, b"three", 77)]
HEADER = StreamFormat(ETHERNET, nanosecond=False).header()


class Reports:
    """Remembers the report of each file."""

    def __init__(self) -> None:
        self.reported: list[tuple[bytes, str | None, int]] = []
        self.warnings: list[str] = []

    def __call__(
        self, name: bytes, damage: CaptureError | None, totals: Totals, anomalies: Sequence[Anomaly]
    ) -> None:
        """Remember one file's report."""
        self.warnings += [each.sentence for each in anomalies]
        self.reported.append((name.rpartition(b"/")[2], damage.reason if damage else None, totals.packets))


def files(folder: Path, **contents: bytes) -> list[bytes]:
    """Write files and return their names, in the order given."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [os.fsencode(folder / name) for name in contents]


def to_file(
    folder: Path,
    names: list[bytes],
    reports: Reports,
    precision: Precision = None,
    *,
    rewrites: bool = False,
) -> tuple[bytes, bool]:
    """Return the output of concatenation into a regular file, and whether all files were complete."""
    with (folder / "out").open("wb") as out:
        whole = concatenate(names, out.fileno(), precision=precision, report=reports, rewrites=rewrites)
    return (folder / "out").read_bytes(), whole


def to_pipe(names: list[bytes], reports: Reports) -> tuple[bytes, bool]:
    """Return the same for a pipe that is read at the same time."""
    read_fd, write_fd = os.pipe()
    parts: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read_fd, "rb") as pipe:
            parts.append(pipe.read())

    reader = threading.Thread(target=drain)
    reader.start()
    whole = concatenate(names, write_fd, precision=None, report=reports)
    os.close(write_fd)
    reader.join(timeout=30)
    return b"".join(parts), whole


def test_files_of_any_format_become_one_capture(tmp_path: Path) -> None:
    """One header, then all records; the same into a pipe and into a file."""
    names = files(
        tmp_path,
        a=classic(ONE),
        b=classic(TWO, order=">"),
        c=classic(ONE, NANO),
        d=section() + interface() + enhanced(7_000_008, b"ng"),
        e=classic(TWO),
    )
    reports = Reports()

    stream, whole = to_pipe(names, reports)

    assert whole
    assert stream[:24] == HEADER
    converted = [Record(1, 0, b"one"), Record(7, 8, b"ng")]
    assert records_of(stream[24:]) == as_read(ONE + TWO + converted + TWO)
    assert reports.reported == [
        (b"a", None, 1),
        (b"b", None, 2),
        (b"c", None, 1),
        (b"d", None, 1),
        (b"e", None, 2),
    ]
    assert to_file(tmp_path, names, Reports()) == (stream, True)


def test_a_wrong_snaplen_is_a_warning_and_no_fault(tmp_path: Path) -> None:
    """The file is written whole."""
    cut = file_header(snaplen=2) + b"".join(map(record, ONE))
    reports = Reports()

    assert to_file(tmp_path, files(tmp_path, a=cut, b=classic(ONE)), reports) == (classic(ONE * 2), True)
    assert reports.warnings == ["snaplen 2 is wrong: 1 packet is longer"]


def test_times_after_2038_are_reported_once(tmp_path: Path) -> None:
    """They concern the whole output."""
    late = classic([Record(1 << 31, 0)])
    reports = Reports()

    assert to_file(tmp_path, files(tmp_path, a=late, b=late), reports)[1]
    assert reports.warnings == [
        "has times after 2038-01-19, which programs built on libpcap read as negative"
    ]


def test_packets_left_out_before_the_damage_are_reported_too(tmp_path: Path) -> None:
    """The damage does not hide them."""
    mixed = section() + interface() + interface(RAW_IP) + enhanced(1) + enhanced(1, number=1) + enhanced(1)
    reports = Reports()

    to_file(tmp_path, files(tmp_path, a=mixed[:-1]), reports)

    assert reports.reported == [(b"a", "file ends inside a block", 1)]
    assert reports.warnings == ["packets skipped because of their link type: 1 of raw IP (101)"]


def test_what_the_output_lacks_makes_it_incomplete(tmp_path: Path) -> None:
    """A packet, or the upper part of a time; a step back or a wrong snaplen does not."""
    left_out = section() + interface() + interface(RAW_IP) + enhanced(1) + enhanced(1, number=1)
    wrapped = section() + interface() + enhanced((1 << 32) * 1_000_000)
    odd = file_header(snaplen=2) + record(Record(9, 0)) + record(Record(8, 0))

    wholes = [to_file(tmp_path, files(tmp_path, a=each), Reports())[1] for each in (left_out, wrapped, odd)]

    assert wholes == [False, False, True]


def test_a_precision_may_be_forced(tmp_path: Path) -> None:
    """Also on the first file."""
    stream, whole = to_file(tmp_path, files(tmp_path, a=classic(ONE)), Reports(), "ns")

    assert whole
    assert stream == StreamFormat(ETHERNET, nanosecond=True).header() + stream[24:]
    assert records_of(stream[24:]) == as_read([Record(1, 2000, b"one")])


def test_a_file_without_packets_is_never_at_fault(tmp_path: Path) -> None:
    """It decides nothing, unless no file has a packet."""
    empty = {"raw": classic([], linktype=RAW_IP), "ng": section() + interface(105)}
    reports = Reports()

    assert to_file(tmp_path, files(tmp_path, **empty, a=classic(ONE)), reports) == (classic(ONE), True)
    assert to_file(tmp_path, files(tmp_path, a=classic(ONE), **empty), reports) == (classic(ONE), True)
    assert to_file(tmp_path, files(tmp_path, **empty), reports) == (empty["raw"], True)
    assert all(reason is None for _, reason, _ in reports.reported)


def test_other_link_types_become_ethernet_with_rewriting(tmp_path: Path) -> None:
    """Also if the first file is not Ethernet, in a forced resolution; skipped packets are reported."""
    names = files(
        tmp_path,
        raw=classic([Record(1, 2, b"\x45raw", 80)], linktype=RAW_IP),
        a=classic(ONE),
        cooked=classic(
            [Record(3, 4, cooked(0x86DD, b"\x60")), Record(5, 6, cooked(0x000C, b"can"))], linktype=113
        ),
        wireless=classic(ONE, linktype=105),
    )
    reports = Reports()

    stream, whole = to_file(tmp_path, names, reports, "ns", rewrites=True)

    assert not whole
    assert stream[:24] == StreamFormat(ETHERNET, nanosecond=True).header()
    assert records_of(stream[24:]) == [
        Record(1, 2000, bytes(12) + b"\x08\0\x45raw", 94),
        Record(1, 2000, b"one", 3),
        Record(3, 4000, bytes(6) + b"\2\1\2\3\4\5\x86\xdd\x60", 15),
    ]
    assert reports.reported == [
        (b"raw", None, 1),
        (b"a", None, 1),
        (b"cooked", None, 1),
        (b"wireless", "is 802.11 (105), but the stream is Ethernet (1)", 0),
    ]
    assert reports.warnings == [
        "packets skipped because they cannot be rewritten to Ethernet: 1 of Linux cooked (113)"
    ]


def test_bad_files_are_reported_and_all_others_are_written(tmp_path: Path) -> None:
    """Of a damaged file the good records, of another link type nothing."""
    names = files(
        tmp_path,
        bad=b"text",
        a=classic(ONE),
        raw=classic(ONE, linktype=RAW_IP),
        cut_off=classic(TWO)[:-1],
        several=section() + interface() + interface(RAW_IP) + enhanced(1) + enhanced(1, number=1),
        b=classic(ONE),
    )
    reports = Reports()

    stream, whole = to_file(tmp_path, [b"/nowhere", *names], reports)

    assert not whole
    assert records_of(stream[24:]) == as_read([*ONE, TWO[0], Record(0, 1), *ONE])
    assert [(name, packets) for name, _, packets in reports.reported] == [
        (b"nowhere", 0), (b"bad", 0), (b"a", 1), (b"raw", 0), (b"cut_off", 1), (b"several", 1), (b"b", 1),
    ]  # fmt: skip
    reasons = [reason for _, reason, _ in reports.reported]
    assert [reason is None for reason in reasons] == [False, False, True, False, False, True, True]
    assert reports.warnings == [
        "begins 3 s before the end of the previous file",
        "packets skipped because of their link type: 1 of raw IP (101)",
    ]


def test_no_readable_file_writes_nothing(tmp_path: Path) -> None:
    """Not even a header."""
    assert to_file(tmp_path, [b"/nowhere"], Reports()) == (b"", False)


def test_a_device_can_be_the_output(tmp_path: Path) -> None:
    """/dev/null is not a pipe."""
    with Path("/dev/null").open("wb") as null:
        assert concatenate(files(tmp_path, a=classic(TWO)), null.fileno(), precision=None, report=Reports())


def test_an_output_in_append_mode_is_written(tmp_path: Path) -> None:
    """Other calls that move bytes refuse it."""
    names = files(tmp_path, a=classic(TWO))
    with (tmp_path / "log").open("ab") as out:
        assert concatenate(names, out.fileno(), precision=None, report=Reports())

    assert (tmp_path / "log").read_bytes() == HEADER + classic(TWO)[24:]


@pytest.mark.parametrize("content", [classic(TWO), classic(TWO, order=">")])
def test_a_reader_that_closes_the_pipe_ends_the_output(tmp_path: Path, content: bytes) -> None:
    """Without a report: `pcapdj cat FILE | head` shows no fault of the file."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    reports = Reports()

    assert not concatenate(files(tmp_path, a=content), write_fd, precision=None, report=reports)

    os.close(write_fd)
    assert reports.reported == []


def test_a_file_that_becomes_shorter_leaves_whole_records(tmp_path: Path) -> None:
    """What was read before is written; the records of the next file stay readable."""
    packets = [Record(i, i, b"x" * 1000) for i in range(6000)]
    names = files(tmp_path, a=classic(packets), b=classic(ONE))
    read_fd, write_fd = os.pipe()
    reports = Reports()

    def work() -> None:
        concatenate(names, write_fd, precision=None, report=reports)
        os.close(write_fd)

    worker = threading.Thread(target=work)

    worker.start()
    with os.fdopen(read_fd, "rb") as pipe:
        start = pipe.read(100)
        os.truncate(names[0], 500)
        stream = start + pipe.read()
    worker.join(timeout=30)

    *found, last = records_of(stream[24:])
    # a read during the truncation may get zeros: the kernel empties what it keeps of a page, or of several
    same = [each._replace(data=each.data.replace(b"\0", b"x")) for each in found]
    assert [*same, last] == [*as_read(packets)[: len(found)], as_read(ONE)[0]]
    name, reason, written = reports.reported[0]
    assert (name, written) == (b"a", len(found))
    assert str(reason).startswith("changed while it was read")
    assert reports.reported[1] == (b"b", None, 1)
