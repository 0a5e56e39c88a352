"""Which packets are in the time of a session, however many sessions are asked about."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.trace.sessions import SessionTimes

TIMES = st.integers(0, 30)


@given(spans=st.lists(st.tuples(TIMES, TIMES), max_size=6), time_ns=TIMES, spare_ns=st.integers(0, 3))
def test_a_time_is_in_a_session_or_a_little_before_it(
    spans: Sequence[tuple[int, int]], time_ns: int, spare_ns: int
) -> None:
    """Both ends are included; fragments are older than the packet that they make."""
    expected = any(begin - spare_ns <= time_ns <= end for begin, end in spans)

    assert SessionTimes(spans).has(time_ns, spare_ns) == expected


class Compared(int):
    """A time that counts how often it is compared."""

    count = 0

    def __lt__(self, other: int) -> bool:
        type(self).count += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        type(self).count += 1
        return int(self) <= int(other)


def test_ten_thousand_sessions_cost_a_packet_no_more_than_a_few() -> None:
    """A flood of alerts about a long capture would take hours: each packet was compared with each alert."""
    times = SessionTimes((Compared(number), Compared(number)) for number in range(0, 20_000, 2))
    Compared.count = 0

    assert not times.has(Compared(19_997))
    assert Compared.count < 40
