"""The eight lines that SIGUSR2 prints, in the original's wording."""

import time

from pcapdj.feed.statistics import WAITING, Statistics

ORIGINAL = """\
[STATS] Start time:2013-06-09 09:17:50
[STATS] Uptime:322 (seconds)
[STATS] Internal state:Waiting for authorization
[STATS] Number of suspensions:0
[STATS] Number of files:1
[STATS] Number of packets:2968
[STATS] Number of cap_lengths:330581
[STATS] Number of lengths:330581
"""


def test_the_lines_are_those_of_the_original() -> None:
    """Scripts read them; the start is in local time."""
    started_s = time.mktime((2013, 6, 9, 9, 17, 50, 0, 0, -1))
    statistics = Statistics(started_s=started_s, pid=1, pipe="/tmp/pcapbuffer", state=WAITING, files=1)  # noqa: S108 - the original's

    lines = statistics.counted(2968, 330581, 330581).lines(started_s + 322.9)

    assert lines == ORIGINAL


def test_the_file_in_flight_is_counted_in_a_copy() -> None:
    """It is counted for good when it is finished."""
    statistics = Statistics(started_s=0, pid=1, pipe="p", packets=5, cap_lengths=6, lengths=7)

    counted = statistics.counted(1, 2, 3)

    assert (counted.packets, counted.cap_lengths, counted.lengths) == (6, 8, 10)
    assert (statistics.packets, statistics.cap_lengths, statistics.lengths) == (5, 6, 7)
