"""What the controller logs of the gate: the number and the threshold, in the unit of the resource."""

import pytest

from pcapdj.disk.gate import Decision, Measurement, State
from pcapdj.disk.gate_report import log_transition
from pcapdj.disk.limits import Thresholds
from pcapdj.runtime import log
from pcapdj.runtime.log import EventLog

LIMITS = Thresholds(suspend=10, minimum=20, resume=30)


@pytest.mark.parametrize(
    ("measurement", "numbers"),
    [
        (Measurement("/out", "'/out'", 15, LIMITS, "/out"), "path=/out free_bytes=15 needed_bytes=30"),
        (
            Measurement("/out (inodes)", "'/out'", 15, LIMITS, "/out", unit="inodes"),
            "path=/out free_inodes=15 needed_inodes=30",
        ),
        (Measurement("memory", "The memory", 15, LIMITS), "path=memory free_bytes=15 needed_bytes=30"),
        (Measurement("/out", "'/out'", None, LIMITS, "/out", failure="is not there"), "path=/out"),
    ],
    ids=["space", "inodes", "memory", "gone"],
)
def test_a_transition_is_logged_with_the_numbers_of_the_resource_that_decides(
    measurement: Measurement, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk without inodes may have much space: those bytes would only mislead."""
    log_transition(EventLog("controller"), Decision(State.HOLD, "It is short.", measurement, needed=30))
    log.flush()

    assert f"controller gate_hold {numbers}: It is short.\n" in capsys.readouterr().err
