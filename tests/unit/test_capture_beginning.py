"""What the beginning of a capture shows: once opened, it has the same time as a reader of the whole file."""

import gzip
import os
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.captures import (
    MODIFIED,
    NANO,
    Record,
    block,
    classic,
    enhanced,
    file_header,
    interface,
    record,
    section,
)

from pcapdj.capture.beginning import look_at
from pcapdj.capture.files import OpenFile, open_regular
from pcapdj.capture.opening import first_packet_time_ns, open_capture
from pcapdj.inbox.listing import list_captures
from pcapdj.runtime.errors import CaptureError

Write = Callable[[bytes], bytes]
LONG = Record(7, 8, b"x" * 200_000)
CAPTURES = {
    "classic": classic([Record(7, 8), Record(3, 4)]),
    "big endian, nanoseconds": classic([Record(7, 8)], NANO, ">"),
    "old version": file_header(version=(2, 3)) + record(Record(7, 8), swapped=True),
    "modified": file_header(MODIFIED) + record(Record(7, 8), extra=bytes(8)),
    "long first record": classic([LONG, Record(9, 9)]),
    "record without bytes": classic([Record(7, 8, b"")]),
    "pcapng": section() + interface() + enhanced(7_000_008),
    "pcapng, first packet after 1 MB": section()
    + interface()
    + block(0xBAD, bytes(1 << 20))
    + enhanced(7_000_008),
    "compressed": gzip.compress(classic([Record(7, 8)])),
    "compressed, long": gzip.compress(classic([LONG] * 3)),
    "no packet": file_header(),
    "cut off in the first record": classic([Record(7, 8)])[:-1],
    "damaged first record": file_header() + struct.pack("<IIII", 7, 8, 1 << 30, 60) + bytes(100),
    "unsupported version": file_header(version=(9, 9)) + record(Record(7, 8)),
    "cut off in the file header": file_header()[:10],
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file and returns its name."""

    def write_file(content: bytes) -> bytes:
        (tmp_path / "x").write_bytes(content)
        return os.fsencode(tmp_path / "x")

    return write_file


def time_by_reader(name: bytes) -> int | None:
    """Return the time that a reader of the whole file finds."""
    try:
        with open_capture(name, refuse_written=False) as capture:
            return first_packet_time_ns(capture)
    except CaptureError:
        return None


@pytest.mark.parametrize("content", CAPTURES.values(), ids=CAPTURES)
def test_the_first_time_is_the_one_that_a_reader_of_the_file_finds(write: Write, content: bytes) -> None:
    """Whatever the format, and wherever the packet is."""
    name = write(content)
    file = OpenFile(open_regular(name))

    found = look_at(name, file)
    file.close()

    assert found.first_time_ns == time_by_reader(name)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_the_first_bytes_are_those_of_the_decompressed_capture(
    write: Write, compress: Callable[[bytes], bytes]
) -> None:
    """64 KiB, or all of a shorter capture."""
    for content in (classic([Record()]), classic([Record(data=os.urandom(1000))] * 100)):
        name = write(compress(content))
        file = OpenFile(open_regular(name))

        assert look_at(name, file).first == content[: 1 << 16]
        file.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: 0 bytes"),
        (b"hello", "is not a supported capture format"),
        (b"snoop\0\0\0" + bytes(16), "which is not a supported format"),
        (gzip.compress(b"hello"), "is not a supported capture format"),
        (gzip.compress(gzip.compress(classic([]))), "is compressed twice"),
    ],
    ids=["empty", "text", "snoop", "compressed text", "compressed twice"],
)
def test_what_is_no_supported_capture_is_refused(write: Write, content: bytes, reason: str) -> None:
    """With the reason that the dispatcher would give."""
    name = write(content)
    file = OpenFile(open_regular(name))

    with pytest.raises(CaptureError, match=reason):
        look_at(name, file)
    file.close()


opened: list[object] = []
is_counted = False


def note_opened(event: str, arguments: tuple[object, ...]) -> None:
    """Note the path of each file that is opened."""
    if is_counted and event == "open":
        opened.append(arguments[0])


sys.addaudithook(note_opened)


@pytest.mark.parametrize("kind", ["classic", "pcapng", "compressed"])
def test_a_listing_opens_each_file_once(tmp_path: Path, kind: str) -> None:
    """For its format, its order and its identity; of a few next to each other the end is read, too."""
    global is_counted  # noqa: PLW0603 - an audit hook cannot be removed
    names = [os.fsencode(tmp_path / str(number)) for number in range(20)]
    for name in names:
        Path(os.fsdecode(name)).write_bytes(CAPTURES[kind])
    opened.clear()

    is_counted = True
    list_captures([os.fsencode(tmp_path)], recursive=False)
    is_counted = False

    counts = Counter(path for path in opened if isinstance(path, bytes))
    assert counts.pop(os.fsencode(tmp_path)) == 1
    assert counts.keys() == set(names)
    assert counts.total() <= len(names) + 8
