"""Stream options: the format of the first file's stream, and the handling of other link types."""

from typing import get_args

import pytest
from support.rows import each_row

from pcapdj.capture.linktypes import REWRITABLE
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.stream_options import (
    OnLinktype,
    Precision,
    StreamOptions,
    accepts,
    linktype_mismatch,
    skipped_packets,
    with_rewriting,
)

RAW_US, RAW_NS = StreamFormat(101, nanosecond=False), StreamFormat(101, nanosecond=True)
ETHERNET = StreamFormat(1, nanosecond=False)
REWRITING = StreamFormat(1, nanosecond=False, rewrites=True)


@pytest.mark.parametrize(
    ("precision", "expected"), [("first", (False, True)), ("us", (False, False)), ("ns", (True, True))]
)
def test_the_timestamp_resolution_is_forced_or_that_of_the_first_file(
    precision: Precision, expected: tuple[bool, bool]
) -> None:
    """For a first file in microseconds, and for one in nanoseconds."""
    options = StreamOptions(precision, "fail")

    assert tuple(options.format_of_first(native).nanosecond for native in (RAW_US, RAW_NS)) == expected


@pytest.mark.parametrize("on_linktype", get_args(OnLinktype))
def test_only_ethernet_rewrites_and_only_new_stream_needs_a_new_stream(on_linktype: OnLinktype) -> None:
    """A stream that starts with raw IP is raw IP, unless packets are rewritten to Ethernet."""
    options = StreamOptions("us", on_linktype)

    first = options.format_of_first(RAW_NS)

    assert (first.linktype, first.rewrites) == ((1, True) if on_linktype == "ethernet" else (101, False))
    assert options.needs_new_stream(RAW_US, ETHERNET) == (on_linktype == "new-stream")
    assert not options.needs_new_stream(RAW_US, RAW_NS)


@each_row("linktype", [*sorted(REWRITABLE), 1, 105, 239])
def test_a_stream_starts_with_the_link_type_that_its_first_packets_get(linktype: int) -> None:
    """Ethernet if they can be rewritten, else their own link type, and then nothing is rewritten."""
    native = StreamFormat(linktype, nanosecond=True)
    becomes_ethernet = linktype in REWRITABLE | {1}

    rewriting = StreamOptions("first", "ethernet").format_of_first(native)

    assert rewriting == StreamFormat(
        1 if becomes_ethernet else linktype, nanosecond=True, rewrites=becomes_ethernet
    )
    assert StreamOptions("first", "fail").format_of_first(native) == native


def test_only_an_ethernet_stream_with_rewriting_accepts_other_link_types() -> None:
    """Those that can be rewritten, and its own."""
    assert all(accepts(REWRITING, linktype) for linktype in REWRITABLE | {1})
    assert not accepts(REWRITING, 105)
    assert not accepts(with_rewriting(REWRITING, rewrites=False), 101)
    assert accepts(with_rewriting(RAW_US, rewrites=True), 101)
    assert not accepts(with_rewriting(RAW_US, rewrites=True), 228)


def test_rewriting_changes_no_ethernet_record() -> None:
    """Ethernet captures are still spliced."""
    assert REWRITING.takes_unchanged(StreamFormat(1, nanosecond=False))


def test_a_mismatch_names_both_link_types() -> None:
    """The operator sees what the file is and what the stream is."""
    assert linktype_mismatch(101, 1) == "is raw IP (101), but the stream is Ethernet (1)"


def test_left_out_packets_are_counted_by_link_type() -> None:
    """One sentence for any number of link types, and why."""
    assert skipped_packets({101: 1, 0: 2}, rewrites=False) == (
        "packets skipped because of their link type: 2 of BSD loopback (0), 1 of raw IP (101)"
    )
    assert skipped_packets({113: 3}, rewrites=True) == (
        "packets skipped because they cannot be rewritten to Ethernet: 3 of Linux cooked (113)"
    )


def test_of_very_many_link_types_the_most_frequent_are_shown() -> None:
    """A hostile file has 65536."""
    sentence = skipped_packets({linktype: linktype for linktype in range(1, 65_536)}, rewrites=False)

    assert sentence.count(" of link type ") == 16
    assert "65535 of link type 65535" in sentence
    assert sentence.endswith(f"{65_519 * 65_520 // 2} of others")
