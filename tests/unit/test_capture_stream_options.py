"""What the operator wants of streams, and what that makes of a capture."""

from typing import get_args

import pytest

from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.stream_options import OnLinktype, Precision, StreamOptions

RAW_US, RAW_NS = StreamFormat(101, nanosecond=False), StreamFormat(101, nanosecond=True)
ETHERNET = StreamFormat(1, nanosecond=False)


@pytest.mark.parametrize(
    ("precision", "expected"), [("first", (False, True)), ("us", (False, False)), ("ns", (True, True))]
)
def test_the_time_resolution_is_forced_or_the_first_files(
    precision: Precision, expected: tuple[bool, bool]
) -> None:
    """Of a capture in microseconds, and of one in nanoseconds."""
    wish = StreamOptions(precision, "fail")

    assert tuple(wish.format_of_first(native).nanosecond for native in (RAW_US, RAW_NS)) == expected


@pytest.mark.parametrize("on_linktype", get_args(OnLinktype))
def test_only_one_answer_rewrites_and_only_one_parts(on_linktype: OnLinktype) -> None:
    """A stream of raw IP is one, but where it shall be Ethernet."""
    wish = StreamOptions("us", on_linktype)

    first = wish.format_of_first(RAW_NS)

    assert (first.linktype, first.rewrites) == ((1, True) if on_linktype == "ethernet" else (101, False))
    assert wish.parts(RAW_US, ETHERNET) == (on_linktype == "new-stream")
    assert not wish.parts(RAW_US, RAW_NS)
