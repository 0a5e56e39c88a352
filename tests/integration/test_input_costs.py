"""What an input costs for each of its bytes: the measurement of `make fuzz`, and inputs that it has found."""

import random
import time
from typing import Final

import pytest
from fuzz.__main__ import Cost, Finding, cost_of
from fuzz.inputs import Input, one_byte_segments
from support.captures import interface, section, simple
from support.frames import header, record, tcp_frame

from pcapdj.summary.analysis import Analysis

SEGMENTS: Final = 8000  # half of the longest head, in segments of one byte


MOST_TIMES: Final = 5  # before the repair it was seven; a busy machine makes two of one
TRIES: Final = 5


def summary_cost_s(payload: bytes) -> float:
    """Return the CPU time that a connection takes that comes in segments of one byte."""
    frames = [tcp_frame(to_server=True, seq=at, payload=payload[at : at + 1]) for at in range(len(payload))]
    data = header() + b"".join(map(record, frames))
    began_s = time.process_time()
    Analysis().feed(data)
    return time.process_time() - began_s


def times_as_much_as_other_bytes(payload: bytes) -> float:
    """Return how many times the CPU time of other bytes a payload takes: the least of some tries in turn."""
    other = b"\x00" * len(payload)
    ratios = list[float]()
    while len(ratios) < TRIES and (not ratios or min(ratios) >= MOST_TIMES):
        ratios.append(summary_cost_s(payload) / summary_cost_s(other))
    return min(ratios)


@pytest.mark.parametrize(
    "first", [b"GET /", b"GET /x HTTP/1.1\r\na: ", b"HTTP/1.1 200 OK\r\na: "], ids=["line", "field", "answer"]
)
def test_a_head_in_segments_of_one_byte_costs_as_much_as_other_bytes(first: bytes) -> None:
    """What was looked at once is not searched again with each byte; before, it cost seven times as much."""
    payload = first + b"a" * (SEGMENTS - len(first))

    assert times_as_much_as_other_bytes(payload) < MOST_TIMES


def test_a_head_of_many_lines_costs_as_much_as_one_of_a_long_line() -> None:
    """Neither the first line is looked at again, nor the end of the head searched in all of it."""
    first = b"GET /x HTTP/1.1\r\n"

    assert times_as_much_as_other_bytes(first + b"a:b\r\n" * ((SEGMENTS - len(first)) // 5)) < MOST_TIMES


def test_a_cost_that_grows_faster_than_the_input_is_a_finding() -> None:
    """The oracle sees what takes time with the square of the size, and what takes too long at any size."""
    plain = Input("blocks", section() + interface(), lambda _: simple(b"x" * 100))

    with pytest.raises(Finding, match="times as many bytes took"):
        cost_of(plain, lambda data: Cost(len(data) ** 2 / 1e11, len(data), None))
    with pytest.raises(Finding, match="s of CPU time"):
        cost_of(plain, lambda data: Cost(len(data) / 1e3, len(data), None))
    with pytest.raises(Finding, match="were read"):
        cost_of(plain, lambda data: Cost(0.0, 5 * len(data) + (1 << 20), None))
    assert cost_of(plain, lambda data: Cost(len(data) / 1e6, len(data), None))[0] < 1.1


def test_an_input_is_the_same_for_the_same_seed() -> None:
    """So a finding can be repeated."""
    first, second = (one_byte_segments(random.Random(5)) for _ in range(2))  # noqa: S311 - no secret

    assert first[0] == second[0]
    assert first[1](7) == second[1](7)
