"""What a change of the limits means on the watched disks: `pcapdj.disk.limit_changes`."""

from typing import Any

import pytest

from pcapdj.disk.limit_changes import change_lines
from pcapdj.disk.limits import DEFAULTS
from pcapdj.runtime.errors import ConfigError

_GIB = 1 << 30
_DISK: dict[str, Any] = {
    "name": "/out",
    "unit": "bytes",
    "free": 12 * _GIB,
    "total": 100 * _GIB,
    "suspend_below": 5 * _GIB,
    "hold_below": 10 * _GIB,
    "open_from": 15 * _GIB,
}
_INODES = {"name": "/out (inodes)", "unit": "inodes", "free": 900, "total": 1000}
_INODES |= {"suspend_below": 25, "hold_below": 50, "open_from": 75}


def lines(*disks: dict[str, Any], **changes: str) -> list[str]:
    """Return what changes of the defaults mean."""
    after = {**DEFAULTS, **{name.replace("_", "-"): text for name, text in changes.items()}}
    return change_lines(disks, DEFAULTS, after)


def test_each_disk_is_shown_with_its_old_and_new_limits() -> None:
    """Derived limits change, too; a disk that is not concerned is left out."""
    assert lines(_DISK, _INODES, min_free="8%") == [
        "min-free  10% -> 8%",
        (
            "/out  hold below 10.0 GiB -> 8.0 GiB, open from 15.0 GiB -> 12.0 GiB,"
            " suspended below 5.0 GiB -> 4.0 GiB"
        ),
    ]


@pytest.mark.parametrize(("min_free", "what"), [("20%", "hold"), ("40%", "suspend")])
def test_it_is_shown_that_the_gate_would_close(min_free: str, what: str) -> None:
    """With what is free now."""
    assert lines(_DISK, min_free=min_free)[-1] == f"      the gate would {what}: 12.0 GiB are free"


def test_a_limit_of_inodes_has_no_bytes() -> None:
    """And the disk's space is not concerned."""
    assert lines(_DISK, _INODES, min_free_inodes="10%") == [
        "min-free-inodes  5% -> 10%",
        "/out (inodes)  hold below 50 -> 100, open from 75 -> 150, suspended below 25 -> 50",
    ]


def test_a_disk_with_a_limit_of_its_own_is_left_out() -> None:
    """`--watch PATH=MIN_FREE`: the change is not about it; neither about one that cannot be measured."""
    own = {**_DISK, "hold_below": 3 * _GIB}

    assert lines(own, {**_DISK, "free": None}, min_free="8%") == ["min-free  10% -> 8%"]


def test_a_derived_limit_is_shown_as_what_it_is_derived_from() -> None:
    """Where it was not typed before."""
    assert lines(resume_free="30%")[0] == "resume-free  1.5 x min-free -> 30%"
    assert lines(min_available_memory="1GiB")[0] == "min-available-memory  off -> 1GiB"
    assert lines() == []


def test_limits_that_would_be_out_of_order_are_refused() -> None:
    """On a disk of this size, with both numbers."""
    with pytest.raises(ConfigError, match="resume-free"):
        lines(_DISK, resume_free="1GiB")
