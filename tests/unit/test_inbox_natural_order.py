"""Natural order: numbers compare as numbers, then extensions, folder by folder."""

import pytest

from pcapdj.inbox.listing import natural_key


@pytest.mark.parametrize(
    "names",
    [
        [b"cap1", b"cap2", b"cap10"],
        [b"x.pcap", b"x.pcap1", b"x.pcap2", b"x.pcap10"],
        [b"x.pcap.gz", b"x.pcap1.gz", b"x.pcap10.gz"],
        [b"cap.pcap", b"cap1.pcap", b"cap10.pcap"],
        [b"a_00009_20260101.pcap", b"a_00010_20251231.pcap"],
        [b"/in/d2/z.pcap", b"/in/d10/a.pcap"],
        [b"/in/1/9", b"/in/1/10", b"/in/2/1"],
        [b"\xff9", b"\xff10"],
        [b"1" * 4999 + b"1", b"1" * 4999 + b"2"],
        [b"snort.log.1696000000", b"snort.log.1696003600"],
    ],
    ids=lambda names: names[0][:20].decode("ascii", "replace"),
)
def test_rotated_names_come_in_the_order_they_were_written(names: list[bytes]) -> None:
    """Each usual naming scheme of rotation sorts by its numbers."""
    assert sorted(sorted(names), key=natural_key) == names


def test_names_with_equal_numbers_have_a_fixed_order() -> None:
    """`01` and `1` are the same number; their bytes decide."""
    assert natural_key(b"cap01") != natural_key(b"cap1")
