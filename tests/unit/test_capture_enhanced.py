"""The short way through enhanced packet blocks: it takes the good ones and stops in front of all others."""

import struct

import pytest
from capture_files import Record, as_read, block, enhanced, records_of, simple

from pcapdj.capture.enhanced import enhanced_run
from pcapdj.capture.interfaces import Interface
from pcapdj.capture.pcap import StreamFormat

STREAM = StreamFormat(1, nanosecond=False)
INTERFACES = [
    Interface(1, 262_144),
    Interface(1, 262_144, 10**9, 100),
    Interface(101, 262_144),
    Interface(1, 96, 1),
]


def test_good_blocks_of_several_interfaces_are_taken() -> None:
    """Each with its own resolution and offset."""
    data = (
        enhanced(1_000_002, b"a") + enhanced(3_000_004_999, b"bcdef", 1, length=99) + enhanced(5_000_006, b"")
    )

    run = enhanced_run(data, 0, "<", INTERFACES, STREAM)

    expected = [Record(1, 2, b"a"), Record(103, 4, b"bcdef", 99), Record(5, 6, b"")]
    assert records_of(b"".join(run.parts)) == as_read(expected)
    assert run.end == len(data)
    assert (run.totals.packets, run.totals.cap_lengths_bytes, run.totals.lengths_bytes) == (3, 6, 100)
    assert (run.totals.first_ts_ns, run.totals.last_ts_ns) == (1_000_002_000, 5_000_006_000)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        enhanced(2)[:-1],
        enhanced(2)[:-4] + b"what",
        enhanced(2, number=2),
        enhanced(2, number=4),
        enhanced(1 << 32, number=3),
        simple(),
        block(5, bytes(40)),
        block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9)),
        struct.pack("<IIIIIII", 6, 34, 0, 0, 0, 0, 0) + bytes(99),
        block(6, struct.pack("<IIIII", 0, 0, 0, 262_145, 9) + bytes(262_148)),
    ],
)
def test_the_run_ends_before_anything_else(other: bytes) -> None:
    """Torn, damaged, of another link type, outside of 32 bits, another kind: not decided here."""
    good = enhanced(1)

    run = enhanced_run(good + other, 0, "<", INTERFACES, STREAM)

    assert (run.end, run.totals.packets) == (len(good), 1)


def test_a_run_may_be_empty() -> None:
    """Nothing is taken, nothing is counted."""
    run = enhanced_run(simple(), 0, "<", INTERFACES, STREAM)

    assert (run.end, run.totals.packets, run.parts) == (0, 0, [])
