"""When the controller measures, publishes and looks again: `pcapdj.disk.schedule`."""

from support.rows import each_row

from pcapdj.disk.schedule import is_measurement_due, is_publication_due, pause_s


@each_row(
    ("is_decisive", "is_busy", "period_s"),
    [(True, True, 0.25), (True, False, 0.25), (False, True, 1.0), (False, False, 5.0)],
    ids=["grant", "grant while idle", "feeding", "idle"],
)
def test_a_measurement_is_due_after_its_period(*, is_decisive: bool, is_busy: bool, period_s: float) -> None:
    """A quarter second for a grant or a changed limit, a second while a file is fed, five seconds else."""
    just_before, at_it = (
        is_measurement_due(age_s, is_decisive=is_decisive, is_busy=is_busy)
        for age_s in (period_s - 0.03, period_s)
    )

    assert (just_before, at_it) == (False, True)


def test_rounds_that_begin_a_little_early_do_not_skip_a_measurement() -> None:
    """Rounds come about every second: one that begins 10 ms early measures, or the next would be 2 s old."""
    assert is_measurement_due(pause_s(is_occupied=False) + 0.001, is_decisive=False, is_busy=True)
    assert is_publication_due(pause_s(is_occupied=False) - 0.01, is_changed=False)


def test_the_gate_is_published_every_second_and_after_each_change() -> None:
    """The heartbeat has to be younger than the five seconds after which a role counts as silent."""
    assert not is_publication_due(0.5, is_changed=False)
    assert is_publication_due(1.0, is_changed=False)
    assert is_publication_due(0.0, is_changed=True)


def test_the_next_round_is_sooner_while_a_grant_waits() -> None:
    """A foreign dispatcher that consumes its authorization sends no message."""
    assert pause_s(is_occupied=True) == 0.25
    assert 0.9 < pause_s(is_occupied=False) <= 1.0
