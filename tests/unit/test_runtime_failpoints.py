"""Faults on purpose: they happen where and when they were asked for, and never otherwise."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.rows import each_row

from pcapdj.runtime import failpoints

PACKAGE = Path(__file__).parent.parent.parent / "pcapdj"


def test_without_a_value_nothing_happens() -> None:
    """The function that stands in the hot path does nothing at all."""
    assert failpoints.armed("") is failpoints.no_fault

    failpoints.no_fault("splice.within")


def test_a_fault_comes_at_the_nth_time_and_only_there() -> None:
    """Other points do not count, and what comes later goes on."""
    reach = failpoints.armed("put.after:2:raise")

    reach("put.after")
    reach("splice.within")
    with pytest.raises(failpoints.FaultInjected):
        reach("put.after")
    reach("put.after")


@each_row("value", ["x", "put.after", "put.after:1", "put:1:kill", "done:x:kill", "done:1:no"])
def test_a_misspelt_fault_is_an_error(value: str) -> None:
    """It is refused at once, instead of never coming."""
    with pytest.raises(ValueError, match="PCAPDJ_FAULT"):
        failpoints.armed(value)


def test_kill_is_sigkill() -> None:
    """No handler, no cleaning up: the process is gone."""
    code = "from pcapdj.runtime import failpoints; failpoints.reach('done')"

    ended = subprocess.run([sys.executable, "-c", code], env={"PCAPDJ_FAULT": "done:1:kill"}, check=False)

    assert ended.returncode == -signal.SIGKILL


def test_every_point_stands_in_the_code_once() -> None:
    """No point is forgotten, and none is reached under a name that cannot be requested."""
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    found = [name for text in texts for name in re.findall(r'failpoints\.reach\("([a-z.]+)"\)', text)]

    assert sorted(found) == sorted(failpoints.POINTS)
