"""Which packets of a session are parts of an IP packet: `pcapdj.trace.cut`."""

import struct

from support.rows import each_row

from pcapdj.trace.cut import is_fragment

RECORD_HEADER = bytes(16)
MACS = bytes(12)
MORE_FRAGMENTS, LATER_FRAGMENT, DONT_FRAGMENT = 0x2000, 0x0010, 0x4000
FRAGMENT_HEADER, UDP = 44, 17
TAG = struct.pack(">HH", 0x8100, 7)
SERVICE_TAG = struct.pack(">HH", 0x88A8, 8)


def ipv4(fragment: int) -> bytes:
    """Return EtherType and IPv4 header; `fragment` is the field with flags and offset."""
    return struct.pack(">HBBHHHBBH", 0x0800, 0x45, 0, 20, 1, fragment, 64, UDP, 0) + bytes(8)


def ipv6(next_header: int) -> bytes:
    """Return EtherType and IPv6 header."""
    return struct.pack(">HIHBB", 0x86DD, 6 << 28, 8, next_header, 64) + bytes(32)


@each_row("tags", [b"", TAG, SERVICE_TAG + TAG], ids=["no tag", "a tag", "two tags"])
@each_row(
    ("packet", "expected"),
    [
        (ipv4(MORE_FRAGMENTS), True),
        (ipv4(LATER_FRAGMENT), True),
        (ipv4(DONT_FRAGMENT), False),
        (ipv6(FRAGMENT_HEADER), True),
        (ipv6(UDP), False),
        (struct.pack(">H", 0x0806) + bytes(28), False),
    ],
)
def test_a_fragment_is_known_behind_any_number_of_vlan_tags(
    tags: bytes, packet: bytes, *, expected: bool
) -> None:
    """Of IPv4 by its flag and offset, of IPv6 by its header."""
    record = RECORD_HEADER + MACS + tags + packet

    assert is_fragment(record, 1) is expected
    assert not is_fragment(record, 101)
    assert not is_fragment(record[:30], 1)
