"""Live limits applied over the options: `pcapdj.disk.live_limits`."""

import json

import pytest
from support.rows import each_row

from pcapdj.disk.gate import Override
from pcapdj.disk.limits import DEFAULTS, Watch
from pcapdj.disk.live_limits import KEPT, LiveLimits, live_limits_json
from pcapdj.disk.measurements import Memory, Sample, Samples
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.units import Amount

ANY = Samples((), Memory(300, 1000))  # no mounts: any limits are in order


def percent(live: LiveLimits) -> float | None:
    """Return the min-free in force."""
    return live.in_force.min_free.percent


def test_a_live_value_takes_precedence_over_the_option_until_it_is_removed() -> None:
    """Set it, change it, remove it."""
    live = LiveLimits({"min-free": "5%"})

    assert live.apply({"min-free": "8%"}, ANY)
    assert percent(live) == 8
    assert not live.apply({"min-free": "8%"}, ANY)
    assert live.apply({}, ANY)
    assert percent(live) == 5


def test_other_options_stay_in_force_beside_a_live_value() -> None:
    """Only the field that was set changes."""
    live = LiveLimits({"resume-free": "20%"})

    live.apply({"min-free": "8%"}, ANY)

    assert live.in_force.resume_free == Amount(percent=20)


@each_row("text", ["98%", "nonsense", "1" * 100_000, "\x1b[2J"])
def test_a_bad_live_value_is_refused_and_the_old_one_kept(text: str) -> None:
    """Old means the last valid live value, not the option."""
    live = LiveLimits({"min-free": "5%"})
    live.apply({"min-free": "8%"}, ANY)

    live.apply({"min-free": text}, ANY)

    assert percent(live) == 8
    assert live.refused.startswith("min-free")
    assert len(live.refused) < 300


def test_the_operators_force_allows_a_large_min_free_while_it_is_set() -> None:
    """It need not be the controller's; without it the same value is refused."""
    live = LiveLimits({"min-free": "5%"})

    live.apply({"min-free": "60%", "force": "yes"}, ANY)
    assert percent(live) == 60
    assert not live.refused
    live.apply({"min-free": "70%"}, ANY)

    assert percent(live) == 60
    assert "--force" in live.refused


def test_a_force_field_of_another_value_has_no_effect() -> None:
    """Only what the command writes counts."""
    live = LiveLimits({})

    live.apply({"min-free": "60%", "force": "no"}, ANY)

    assert live.refused


def test_a_limit_that_does_not_fit_the_mounts_is_refused() -> None:
    """The reason has the mount and its numbers."""
    mount = (Watch("/out"), Sample(1, free_bytes=500, total_bytes=1000, free_inodes=0, total_inodes=0))
    live = LiveLimits({})

    live.apply({"min-free": "8%", "resume-free": "70"}, Samples((mount,), Memory(300, 1000)))

    assert percent(live) == 10
    assert live.refused.startswith("On '/out' (1000 B) min-free is 80 B (80 bytes) and resume-free is 70 B")


def test_two_limits_may_be_set_one_after_the_other() -> None:
    """What is out of order for a moment comes into force once the second one is there."""
    live = LiveLimits({"min-free": "10%", "resume-free": "15%"})

    live.apply({"min-free": "20%"}, ANY)
    assert percent(live) == 10
    live.apply({"min-free": "20%", "resume-free": "25%"}, ANY)

    assert percent(live) == 20
    assert not live.refused


def test_an_unknown_field_is_refused() -> None:
    """A typing error must not look like a limit in force."""
    live = LiveLimits({})

    live.apply({"minfree": "8%"}, ANY)

    assert "'minfree'" in live.refused


def test_the_override_is_independent_of_bad_limits() -> None:
    """Opening by hand works whatever the other fields are; a bad override is refused alone."""
    live = LiveLimits({})

    live.apply({"gate": "open", "min-free": "x"}, ANY)
    live.apply({"gate": "ajar", "min-free": "8%"}, ANY)

    assert live.override is Override.OPEN
    assert percent(live) == 8
    assert "'ajar'" in live.refused


def test_an_override_that_is_removed_leaves_the_gate_to_the_disks() -> None:
    """No field is `auto`."""
    live = LiveLimits({})
    live.apply({"gate": "hold"}, ANY)

    live.apply({}, ANY)

    assert live.override is Override.AUTO
    assert not live.refused


def test_bad_options_are_refused_at_once() -> None:
    """A role does not start with invalid options."""
    with pytest.raises(ConfigError):
        LiveLimits({"min-free": "x"})


def test_a_refusal_names_the_limits_that_it_is_about() -> None:
    """`pcapdj limits` sees whether its own limits are refused; the override is not among them."""
    live = LiveLimits({"resume-free": "20%"})
    written = {"resume-after": "5s", "min-free": "25%", "gate": "hold"}

    live.apply(written, ANY)

    assert live.gate_fields["live"] == live_limits_json(dict(reversed(written.items())))
    assert live.gate_fields["live"] != live_limits_json({"min-free": "25%"})
    assert KEPT in live.gate_fields["refused"]


def test_the_limits_in_force_are_published_as_typed() -> None:
    """Live beats option beats default; what is refused is not in force, what is derived has no text."""
    live = LiveLimits({"min-free": "20GiB", "resume-after": ""})

    live.apply({"min-free-inodes": "7%"}, ANY)
    live.apply({"min-free-inodes": "7%", "min-free": "nonsense"}, ANY)

    assert json.loads(live.gate_fields["limits"]) == {
        **DEFAULTS, "min-free": "20GiB", "min-free-inodes": "7%"
    }  # fmt: skip
    assert json.loads(live.gate_fields["limits"])["resume-free"] == ""


def test_a_bad_override_does_not_refuse_the_limits() -> None:
    """They are in force."""
    live = LiveLimits({})

    live.apply({"gate": "ajar", "min-free": "8%"}, ANY)

    assert live.gate_fields["refused"]
    assert KEPT not in live.gate_fields["refused"]
