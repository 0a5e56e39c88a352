"""What an input costs for each of its bytes: how often each is looked at, and the oracle of `make fuzz`."""

import random
import re
from typing import Final

import pytest
from fuzz.__main__ import Cost, Finding, cost_of
from fuzz.inputs import Input, one_byte_segments
from support.captures import interface, section, simple

from pcapdj.summary import http1
from pcapdj.summary.http_message import BEGINNING_BYTES, HEAD_END, begins_message, may_begin_message

SEGMENTS: Final = 8000  # half of the longest head, in segments of one byte
MOST_LOOKS: Final = BEGINNING_BYTES + 10  # at each byte; thousands if each new one had all searched again


class CountedLooks:
    """The searches of a head, and how many bytes were given to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked_at_bytes = 0
        monkeypatch.setattr(http1, "HEAD_END", self)
        monkeypatch.setattr(http1, "begins_message", lambda data: begins_message(self._counted(data)))
        monkeypatch.setattr(http1, "may_begin_message", lambda data: may_begin_message(self._counted(data)))

    def search(self, data: bytes, start: int) -> re.Match[bytes] | None:
        """Look for the end of a head, from this place on."""
        self._counted(data[start:])
        return HEAD_END.search(data, start)

    def _counted(self, data: bytes) -> bytes:
        self.looked_at_bytes += len(data)
        return data


@pytest.mark.parametrize(
    ("first", "line"),
    [
        (b"GET /", b"a"),
        (b"GET /x HTTP/1.1\r\na: ", b"a"),
        (b"HTTP/1.1 200 OK\r\na: ", b"a"),
        (b"GET /x HTTP/1.1\r\n", b"a:b\r\n"),
    ],
    ids=["line", "field", "answer", "lines"],
)
def test_a_head_that_comes_byte_by_byte_is_not_searched_again_with_each_byte(
    monkeypatch: pytest.MonkeyPatch, first: bytes, line: bytes
) -> None:
    """Neither the first line, nor the end of the head; 8000 bytes cost as much as as many other bytes."""
    looks, conversation = CountedLooks(monkeypatch), http1.Conversation(lambda _: None)
    payload = first + line * ((SEGMENTS - len(first)) // len(line))

    for at in range(len(payload)):
        conversation.data(0, payload[at : at + 1], 0)

    assert conversation.held_bytes == len(payload)
    assert looks.looked_at_bytes < MOST_LOOKS * len(payload)


def test_a_cost_that_grows_faster_than_the_input_is_a_finding() -> None:
    """The oracle sees what takes time with the square of the size, and what takes too long at any size."""
    plain = Input("blocks", section() + interface(), lambda _: simple(b"x" * 100))

    with pytest.raises(Finding, match="times as many bytes took"):
        cost_of(plain, lambda data: Cost(len(data) ** 2 / 6.3e10, len(data), None))
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
