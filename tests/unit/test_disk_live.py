"""Live limits over the options: `pcapdj.disk.live`."""

import json

import pytest

from pcapdj.disk.gate import Override
from pcapdj.disk.limits import DEFAULTS, Limits
from pcapdj.disk.live import KEPT, LiveLimits, spelled
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.units import Amount


def fits(_limits: Limits) -> None:
    """Take any limits: no mount objects."""


def refuse(_limits: Limits) -> None:
    """Object, as a mount would on which the order is wrong."""
    raise ConfigError("On '/out' the order is wrong.")


def percent(live: LiveLimits) -> float | None:
    """Return the min-free in force."""
    return live.in_force.min_free.percent


def test_a_live_value_beats_the_flag_and_gives_way_again() -> None:
    """Set it, change it, remove it."""
    live = LiveLimits({"min-free": "5%"})

    assert live.lay({"min-free": "8%"}, fits)
    assert percent(live) == 8
    assert not live.lay({"min-free": "8%"}, fits)
    assert live.lay({}, fits)
    assert percent(live) == 5


def test_other_flags_stay_under_a_live_value() -> None:
    """Only the field that was set changes."""
    live = LiveLimits({"resume-free": "20%"})

    live.lay({"min-free": "8%"}, fits)

    assert live.in_force.resume_free == Amount(percent=20)


@pytest.mark.parametrize("text", ["98%", "nonsense", "1" * 100_000, "\x1b[2J"])
def test_a_bad_live_value_is_refused_and_the_old_one_kept(text: str) -> None:
    """Old means the last good live value, not the flag."""
    live = LiveLimits({"min-free": "5%"})
    live.lay({"min-free": "8%"}, fits)

    live.lay({"min-free": text}, fits)

    assert percent(live) == 8
    assert live.refused.startswith("min-free")
    assert len(live.refused) < 300


def test_the_operators_force_takes_a_large_min_free_as_long_as_it_stands() -> None:
    """It need not be the controller's; without it the same value is refused."""
    live = LiveLimits({"min-free": "5%"})

    live.lay({"min-free": "60%", "force": "yes"}, fits)
    assert percent(live) == 60
    assert not live.refused
    live.lay({"min-free": "70%"}, fits)

    assert percent(live) == 60
    assert "--force" in live.refused


def test_a_force_of_another_word_forces_nothing() -> None:
    """Only what the command writes counts."""
    live = LiveLimits({})

    live.lay({"min-free": "60%", "force": "no"}, fits)

    assert live.refused


def test_a_limit_that_does_not_fit_the_mounts_is_refused() -> None:
    """The mounts' objection is the reason."""
    live = LiveLimits({})

    live.lay({"min-free": "8%"}, refuse)

    assert percent(live) == 10
    assert "'/out'" in live.refused


def test_two_limits_may_be_set_one_after_the_other() -> None:
    """What is out of order for a moment comes into force once the second one is there."""
    live = LiveLimits({"min-free": "10%", "resume-free": "15%"})

    live.lay({"min-free": "20%"}, fits)
    assert percent(live) == 10
    live.lay({"min-free": "20%", "resume-free": "25%"}, fits)

    assert percent(live) == 20
    assert not live.refused


def test_an_unknown_field_is_said() -> None:
    """A typing error must not look like a limit in force."""
    live = LiveLimits({})

    live.lay({"minfree": "8%"}, fits)

    assert "'minfree'" in live.refused


def test_the_override_is_taken_apart_from_bad_limits() -> None:
    """Opening by hand works whatever else stands there; a bad word is refused alone."""
    live = LiveLimits({})

    live.lay({"gate": "open", "min-free": "x"}, fits)
    live.lay({"gate": "ajar", "min-free": "8%"}, fits)

    assert live.override is Override.OPEN
    assert percent(live) == 8
    assert "'ajar'" in live.refused


def test_an_override_that_is_removed_leaves_the_gate_to_the_disks() -> None:
    """No field is `auto`."""
    live = LiveLimits({})
    live.lay({"gate": "hold"}, fits)

    live.lay({}, fits)

    assert live.override is Override.AUTO
    assert not live.refused


def test_bad_options_are_refused_at_once() -> None:
    """A role does not start on nonsense."""
    with pytest.raises(ConfigError):
        LiveLimits({"min-free": "x"})


def test_the_verdict_names_the_limits_it_is_about() -> None:
    """Who has written limits sees whether the refusal speaks of them; the override is no part of it."""
    live = LiveLimits({"resume-free": "20%"})
    written = {"resume-after": "5s", "min-free": "25%", "gate": "hold"}

    live.lay(written, fits)

    assert live.verdict["live"] == spelled(dict(reversed(written.items())))
    assert live.verdict["live"] != spelled({"min-free": "25%"})
    assert KEPT in live.verdict["refused"]


def test_what_is_in_force_is_told_as_typed() -> None:
    """Live beats option beats default; what is refused is not in force, what is derived has no text."""
    live = LiveLimits({"min-free": "20GiB", "resume-after": ""})

    live.lay({"min-free-inodes": "7%"}, fits)
    live.lay({"min-free-inodes": "7%", "min-free": "nonsense"}, fits)

    assert json.loads(live.verdict["limits"]) == {
        **DEFAULTS, "min-free": "20GiB", "min-free-inodes": "7%"
    }  # fmt: skip
    assert json.loads(live.verdict["limits"])["resume-free"] == ""


def test_a_bad_override_is_no_objection_to_the_limits() -> None:
    """They are in force."""
    live = LiveLimits({})

    live.lay({"gate": "ajar", "min-free": "8%"}, fits)

    assert live.verdict["refused"]
    assert KEPT not in live.verdict["refused"]
