"""The campaign's schedules, a few kills of each; `make faults` has more than a thousand."""

import sys
from collections.abc import Callable

import pytest

from faults import stops, storms
from faults.figures import Figures
from faults.kills import Schedule
from faults.scenario import COPY, SLOW_COPY, Scenario

SEED = "20260101"
# The first one closes the pipe and lives on; the others copy to the end.
_CLOSER = """
import os, shutil, sys, time
pipe, copy = open(sys.argv[1], "rb", buffering=0), open("copy", "wb", buffering=0)
if not os.path.exists("../closed"):
    copy.write(pipe.read(65536))
    pipe.close()
    open("../closed", "w").close()
    time.sleep(600)
shutil.copyfileobj(pipe, copy)
"""


def kill(
    method: Callable[[Schedule, int], None], times: int, command: tuple[str, ...] = SLOW_COPY
) -> Figures:
    """Run a schedule, and return what it found."""
    scenario, figures = Scenario(command), Figures()
    try:
        scenario.start_redis()
        scenario.start("consumer_launcher")
        scenario.start("controller")
        if method is not Schedule.dispatchers:
            scenario.start("dispatcher")
        method(Schedule(scenario, figures, SEED), times)
    finally:
        scenario.close()
    assert figures.kills.total() == times
    return figures


@pytest.mark.long
def test_dispatchers_are_killed_mid_record_and_the_analyzer_never_notices() -> None:
    """Ten deaths; every packet once, in order, in one stream for each round.

    Where in a record a kill comes is chance: there are more rounds until two came in the middle of one.
    """
    mid_file = mid_record = rounds = 0
    while mid_record < 2 and rounds < 5:
        figures = kill(Schedule.dispatchers, 10)
        assert figures.violations == []
        mid_file, mid_record, rounds = (
            mid_file + figures.mid_file,
            mid_record + figures.mid_record,
            rounds + 1,
        )

    assert mid_file >= 5
    assert mid_record >= 2


@pytest.mark.long
def test_stops_at_any_moment_lose_and_double_nothing() -> None:
    """Three, in any order, with a kill in one of them; only a kill has a file fed again."""
    scenario, figures = Scenario(SLOW_COPY), Figures()
    try:
        scenario.start_all()
        stops.stops(Schedule(scenario, figures, SEED, stops.findings), 3)
    finally:
        scenario.close()

    assert figures.violations == []
    assert figures.counts["stops with a recorded place"] >= 1


@pytest.mark.long
def test_no_byte_of_a_killed_analyzers_pipe_reaches_the_next_one() -> None:
    """Even while somebody else holds the old pipe open."""
    assert kill(lambda schedule, times: schedule.analyzers(times, packets=6000), 3).violations == []


@pytest.mark.long
def test_an_analyzer_that_closes_the_pipe_and_does_not_exit_is_replaced() -> None:
    """No process dies, but none reads: the launcher notices it, since it does not hold the pipe O_RDWR."""
    scenario, figures = Scenario((sys.executable, "-ISc", _CLOSER, "{pipe}")), Figures()
    try:
        scenario.start_all()
        schedule = Schedule(scenario, figures, SEED)
        scenario.add_files(2, 1500)
        schedule.watch.until((scenario.out / "closed").exists)
        scenario.mark_stream_killed()
        schedule.round()
    finally:
        scenario.close()

    assert figures.violations == []


def test_what_is_processed_was_read_by_the_analyzer() -> None:
    """PROCESSED comes after the pipe is drained, so that an analyzer's death loses no finished file (G5)."""
    assert kill(Schedule.finished_files, 2).violations == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "times"),
    [
        (Schedule.redises, 3),
        (Schedule.launchers, 2),
        (Schedule.controllers, 3),
        (Schedule.everything, 2),
    ],
)
def test_nothing_is_lost_or_doubled(method: Callable[[Schedule, int], None], times: int) -> None:
    """Redis, launcher, controller, or all of them and the dispatcher within a millisecond."""
    assert kill(method, times).violations == []


@pytest.mark.long
def test_redis_is_killed_in_storms_of_names_and_loses_none() -> None:
    """It is killed when it owes its file what it has acknowledged; it never does."""
    scenario, figures = Scenario(), Figures()
    try:
        storms.redises(scenario, figures, SEED, 3)
    finally:
        scenario.close()

    assert figures.counts["names pushed in storms"] > 100
    assert figures.violations == []


@pytest.mark.long
def test_a_fast_analyzer_changes_nothing() -> None:
    """Nothing depends on how fast the pipe is read."""
    assert kill(Schedule.dispatchers, 3, COPY).violations == []
