"""When the controller measures the disks, publishes the gate, and begins its next round. Rules only.

    round      on a message, else every second; four times a second while AUTH is occupied
    measure    every second while a file is requested or fed or a disk fills, for five seconds after that and
               after each message, and while the gate is not open; else every five seconds; a grant or a
               changed limit needs a measurement of the last quarter second
    publish    after each measurement and each change, else every second as a heartbeat

All ages are seconds on a clock that never steps.
"""

from typing import Final

ROUND_S: Final = 1.0  # the latency of dispatchers that send no message; and the heartbeat's period
OCCUPIED_S: Final = 0.25  # our dispatchers send a message when they consume an authorization, others do not
BUSY_S: Final = 1.0  # a full disk suspends within 1.5 s: this, and half a second for the dispatcher
IDLE_S: Final = 5.0
FRESH_S: Final = 0.25  # how old a measurement may be for a grant
AFTERMATH_S: Final = 5.0  # an analyzer may begin to write this long after its last input
_SLACK_S: Final = 0.02  # a timer may fire this much early without skipping a period


def is_measurement_due(age_s: float, *, is_decisive: bool, is_busy: bool) -> bool:
    """Report whether to measure the disks now.

    Args:
        age_s: of the last measurement.
        is_decisive: a grant or a changed limit depends on it.
        is_busy: a file is requested, a dispatcher has one, or the gate is not open.
    """
    period_s = FRESH_S if is_decisive else BUSY_S if is_busy else IDLE_S
    return age_s >= period_s - _SLACK_S


def is_publication_due(age_s: float, *, is_changed: bool) -> bool:
    """Report whether to publish the gate now.

    Args:
        age_s: of the last publication.
        is_changed: the disks were measured, or the limits changed.
    """
    return is_changed or age_s >= ROUND_S - 2 * _SLACK_S  # a round may begin a slack early, and be shorter


def pause_s(*, is_occupied: bool) -> float:
    """Return how long to wait for a message; less while a grant waits for the consumption of another."""
    return OCCUPIED_S if is_occupied else ROUND_S - _SLACK_S
