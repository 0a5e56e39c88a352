"""When the controller makes room, and how: rules on values."""

import pytest
from support.rows import each_row

from pcapdj.disk.gate import Gate, Measurement, ResourceState, State
from pcapdj.disk.limits import Thresholds
from pcapdj.disk.reclaim_rule import (
    LONG_PAUSE_S,
    PAUSE_S,
    ReclaimSetting,
    is_little,
    is_short,
    parse_reclaim,
    pause_after,
)
from pcapdj.runtime.errors import ConfigError, ExitCode


@each_row(
    ("text", "setting"),
    [
        ("", ReclaimSetting("none")),
        ("none", ReclaimSetting("none")),
        (" delete ", ReclaimSetting("delete")),
        ("compress", ReclaimSetting("compress")),
        ("move:/a:b", ReclaimSetting("move", "/a:b")),
    ],
)
def test_a_setting_is_one_of_four(text: str, setting: ReclaimSetting) -> None:
    """Its text is what was typed."""
    assert parse_reclaim(text) == setting
    assert str(setting) == (text.strip() or "none")


@each_row("text", ["move", "move:", "move:\0", "remove", "DELETE", "delete:/x"])
def test_anything_else_is_refused(text: str) -> None:
    """With the four words."""
    with pytest.raises(ConfigError, match="Write none, delete, move:DIR or compress"):
        parse_reclaim(text)


def measured(free: int | None, path: str = "/c") -> Measurement:
    """Return what was measured of a disk."""
    return Measurement(path or "memory", path, free, Thresholds(1, 2, 3), path)


@each_row(
    ("state", "was_short", "free", "path", "expected"),
    [
        (State.HOLD, True, 1, "/c", True),
        (State.SUSPENDED, True, 0, "/c", True),
        (State.OPEN, False, 9, "/c", False),
        (State.OPEN, True, 3, "/c", False),
        (State.HOLD, False, 1, "/c", False),  # it could not be measured before, and waits for resume-after
        (State.SUSPENDED, True, None, "/c", False),  # it cannot be measured now
        (State.HOLD, True, 1, "", False),  # memory: removing files frees none
    ],
)
def test_a_disk_is_short_from_min_free_to_resume_free(
    *, state: State, was_short: bool, free: int | None, path: str, expected: bool
) -> None:
    """Of what can be measured, and has files."""
    gate = Gate({path or "memory": ResourceState(state, was_short=was_short)})

    assert is_short([measured(free, path)], gate) is expected
    assert not is_short([measured(1, "/other")], gate)


def test_little_is_less_than_half_of_what_was_removed() -> None:
    """Small amounts are lost among what other programs write."""
    gib = 1 << 30
    assert is_little(4 * gib, 2 * gib - 1)
    assert not is_little(4 * gib, 2 * gib)
    assert is_little(4 * gib, -gib)
    assert not is_little(1 << 20, -gib)


def test_a_round_that_found_too_little_is_followed_by_a_long_pause() -> None:
    """A stop, a missing Redis or another process is tried again soon."""
    assert {pause_after(code) for code in (ExitCode.ERROR, ExitCode.CANNOT_CREATE)} == {LONG_PAUSE_S}
    assert {pause_after(code) for code in (0, ExitCode.UNAVAILABLE, ExitCode.BUSY, -9)} == {PAUSE_S}
