"""When the command before a file runs, and what the gate decides from how it ended."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.disk.between import AGAIN_S, BetweenRuns, RunState, run_variables
from pcapdj.disk.gate import Cause, Decision, Measurement, State
from pcapdj.disk.limits import Thresholds
from pcapdj.disk.next_files import next_files
from pcapdj.disk.output_ratio import OutputRatios, ReserveFactor
from pcapdj.disk.reserve import ExpectedFile, Fit, Reserve, ReserveNumbers

OPEN = Decision(State.OPEN, "open")
OFF = Reserve(ReserveFactor(), OutputRatios(), None)
FILES = [ExpectedFile(b"/in/1"), ExpectedFile(b"/in/2")]
NAMES = [b"/in/1", b"/in/2"]


def run(runs: BetweenRuns, last_exit: str = "", now_s: float = 0.0, line: str = "") -> BetweenRuns:
    """Return the runs after one more for the first file."""
    return runs.begun(b"/in/1", 1000.0).ended(last_exit, line, now_s, 1001.0)


def test_it_runs_once_before_the_first_requested_file_and_that_one_is_authorized() -> None:
    """Not without a request, and not while it runs."""
    idle = BetweenRuns()
    assert idle.due([], 0) is None
    assert idle.due(NAMES, 0) == b"/in/1"
    assert idle.begun(b"/in/1", 1000.0).due(NAMES, 0) is None

    succeeded = run(idle)

    assert succeeded.due(NAMES, 1) is None
    assert next_files(OFF, FILES, [], succeeded).authorizable() == [b"/in/1"]
    assert next_files(OFF, FILES, [], idle).authorizable() == []
    assert next_files(OFF, FILES, [], succeeded).decision(OPEN) is OPEN


def test_it_runs_again_for_the_next_file_and_for_a_file_that_still_waits_after_a_minute() -> None:
    """The disks hold: it may make room once more."""
    succeeded = run(BetweenRuns())

    assert succeeded.due([b"/in/2"], 1) == b"/in/2"
    assert succeeded.due(NAMES, AGAIN_S - 1) is None
    assert succeeded.due(NAMES, AGAIN_S) == b"/in/1"


def test_a_failure_holds_the_gate_with_its_reason_until_a_run_succeeds() -> None:
    """Also while it runs again: the gate does not open and close with each try."""
    failed = run(BetweenRuns(), "exited 23", line="rsync: connection refused")
    decision = next_files(OFF, FILES, [], failed).decision(OPEN)

    assert (decision.state, decision.cause) == (State.HOLD, Cause.BETWEEN)
    assert decision.reason == (
        "The command of --between exited 23 (rsync: connection refused) before '1'. It runs again, at least"
        " once a minute; 'pcapdj gate open' authorizes without it."
    )
    assert next_files(OFF, FILES, [], failed).authorizable() == []
    again = failed.begun(b"/in/1", 1002.0)
    assert next_files(OFF, FILES, [], again).decision(OPEN).state is State.HOLD
    assert next_files(OFF, FILES, [], run(failed)).decision(OPEN) is OPEN


def test_the_pause_after_failures_doubles_up_to_a_minute() -> None:
    """1, 2, 4 .. 60 s."""
    runs, pauses = BetweenRuns(), []
    for _ in range(12):
        runs = run(runs, "exited 1")
        pauses.append(runs.due_s)

    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[7:]) == {60}
    assert runs.due(NAMES, 59.9) is None
    assert runs.due(NAMES, 60) == b"/in/1"


def test_a_file_that_is_not_requested_any_more_takes_its_failure_with_it() -> None:
    """It was removed by hand, or authorized by another controller; a run that goes on is waited for."""
    failed, running = run(BetweenRuns(), "exited 1"), BetweenRuns().begun(b"/in/1", 1000.0)

    assert failed.after_look([b"/in/2"]).failures == 0
    assert failed.after_look(NAMES) == failed
    assert running.after_look([]).state is RunState.RUNNING
    assert run(BetweenRuns()).after_look([]).state is RunState.IDLE


def test_a_file_whose_output_fits_is_before_one_whose_does_not() -> None:
    """A file that waits for room does not hold the others up."""
    small = Reserve(ReserveFactor(1.0), OutputRatios(), None)
    numbers = [ReserveNumbers(FILES[0], Fit.WAITS), ReserveNumbers(FILES[1], Fit.FITS)]

    files = next_files(small, FILES, [])

    assert type(files)(small, numbers).in_turn == [b"/in/2", b"/in/1"]


def test_what_is_published_shows_when_it_runs_again() -> None:
    """As JSON, with names as they are in JSON everywhere."""
    failed = BetweenRuns().begun(b"/in/\xff", 1000.0).ended("exited 1", "", 10.0, 1001.0)

    shown = json.loads(next_files(OFF, [], [], failed).as_fields(10.25)["between"])

    assert shown == {
        "state": "failed",
        "name": "/in/\udcff",
        "since_s": 1001.0,
        "last_exit": "exited 1",
        "last_line": "",
        "again_in_s": 0.8,
    }


def test_a_run_gets_the_file_its_numbers_and_the_disks() -> None:
    """A disk that cannot be measured has nothing free; a line break in a path is escaped."""
    numbers = ReserveNumbers(ExpectedFile(b"/in/a\nb", 1000), Fit.FITS, 2.0, 0, 2000)
    limits = Thresholds(5, 10, 15)
    disks = [
        Measurement("/out", "", 70, limits, "/out", total=100),
        Measurement("/x", "", None, limits, "/x\n1 2 3 /"),
    ]

    variables = run_variables(numbers, disks, State.HOLD, "lane", "ab12")

    assert variables == {
        "PCAPDJ_FILE": "/in/a\nb",
        "PCAPDJ_FILE_BYTES": "1000",
        "PCAPDJ_NEEDS_BYTES": "2000",
        "PCAPDJ_DISKS": "70 10 100 /out\n0 10 0 /x\\n1 2 3 /",
        "PCAPDJ_GATE_STATE": "hold",
        "PCAPDJ_LANE": "lane",
        "PCAPDJ_STREAM": "ab12",
    }
    unknown = ReserveNumbers(ExpectedFile(b"/in/1"), Fit.UNKNOWN)
    assert run_variables(unknown, [], State.OPEN, "", "")["PCAPDJ_FILE_BYTES"] == ""


@given(exits=st.lists(st.sampled_from(["", "exited 1"]), min_size=1, max_size=20))
def test_a_file_is_allowed_exactly_after_a_run_that_ended_in_order(exits: list[str]) -> None:
    """Whatever happened before, and only that file."""
    runs = BetweenRuns()
    for number, each in enumerate(exits):
        runs = run(runs, each, float(number))

    assert runs.allows(b"/in/1") is (exits[-1] == "")
    assert not runs.allows(b"/in/2")
    assert bool(runs.failures) is (exits[-1] != "")
