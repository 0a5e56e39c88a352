"""The reassembly of one TCP direction."""

import pytest

from pcapdj.summary.tcp import SEGMENT_COST_BYTES, Gap, TcpDirection


@pytest.fixture
def direction() -> TcpDirection:
    """Return a direction whose first byte has sequence number 1000."""
    opened = TcpDirection()
    opened.open(999)
    return opened


def test_segments_in_order_are_delivered_at_once(direction: TcpDirection) -> None:
    """No byte is held."""
    assert direction.add(1000, b"ab") == [b"ab"]
    assert direction.add(1002, b"cd") == [b"cd"]
    assert direction.held_bytes == 0


def test_a_late_segment_releases_those_after_it(direction: TcpDirection) -> None:
    """Early segments are held, then delivered in order."""
    assert direction.add(1004, b"ef") == []
    assert direction.add(1002, b"cd") == []
    assert direction.held_bytes == 4 + 2 * SEGMENT_COST_BYTES

    assert direction.add(1000, b"ab") == [b"ab", b"cd", b"ef"]
    assert direction.held_bytes == 0


def test_a_retransmission_adds_nothing(direction: TcpDirection) -> None:
    """Its bytes are not delivered again."""
    direction.add(1000, b"abcd")

    assert direction.add(1000, b"abcd") == []
    assert direction.add(1001, b"bc") == []


def test_only_the_new_part_of_an_overlap_counts(direction: TcpDirection) -> None:
    """Delivered bytes never change."""
    direction.add(1000, b"abcd")

    assert direction.add(1002, b"XYef") == [b"ef"]


def test_overlaps_among_held_segments_are_resolved_in_stream_order(direction: TcpDirection) -> None:
    """The segment that begins first is used; of two that begin together the one captured first."""
    direction.add(1004, b"EFG")
    direction.add(1002, b"cde")
    direction.add(1002, b"XXX")

    assert direction.add(1000, b"ab") == [b"ab", b"cde", b"FG"]


def test_a_keep_alive_probe_is_no_data(direction: TcpDirection) -> None:
    """A probe repeats the byte before the next one."""
    direction.add(1000, b"ab")

    assert direction.add(1001, b"\x00") == []


def test_sequence_numbers_wrap_around() -> None:
    """After 2^32 - 1 follows 0, in order and out of order."""
    direction = TcpDirection()
    direction.open((1 << 32) - 4)

    assert direction.add(1, b"ef") == []
    assert direction.add((1 << 32) - 3, b"abcd") == [b"abcd", b"ef"]


def test_without_a_syn_the_first_segment_is_the_beginning() -> None:
    """The capture began inside the connection."""
    direction = TcpDirection()

    assert direction.add(7000, b"middle") == [b"middle"]
    assert direction.add(6990, b"before") == []


def test_the_limit_delivers_the_gap() -> None:
    """More than the limit is never held; the stream continues after the gap."""
    direction = TcpDirection(limit_bytes=2 * SEGMENT_COST_BYTES + 4)
    direction.open(999)
    direction.add(1003, b"de")
    direction.add(1007, b"hi")

    assert direction.add(1020, b"z") == [Gap(3), b"de"]
    assert direction.give_up() == [Gap(2), b"hi", Gap(11), b"z"]
    assert direction.held_bytes == 0


def test_a_fin_ends_a_direction_when_all_bytes_before_it_have_arrived(direction: TcpDirection) -> None:
    """An early FIN does not."""
    direction.add(1002, b"cd", fin=True)
    assert not direction.is_finished

    direction.add(1000, b"ab")

    assert direction.is_finished


def test_another_syn_differs_from_a_repeated_one(direction: TcpDirection) -> None:
    """Only another initial sequence number opens another connection."""
    assert not direction.is_other_connection(999)
    assert direction.is_other_connection(5)
    assert not TcpDirection().is_other_connection(5)
