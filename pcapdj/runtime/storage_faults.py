"""Errors of storage that may end without an action of pcapdj: a full disk, a read-only or missing mount.

If a role under supervisord meets one at its start, it waits and tries again, four times a second. It must not
exit: supervisord gives up a program that ends early too often, and never restarts one that ends with code 73.
So all roles run again as soon as there is room. A role that was started by hand exits with the reason.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Final

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.log import EventLog, Reminder

_PASSING: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT, errno.ENODEV, errno.ENXIO),
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EREMOTEIO),
    }
)
_PAUSE_S: Final = 0.25


def passes_by_itself(error: BaseException) -> bool:
    """Report whether something could not be made because of storage that may be written to later."""
    cause = error.__cause__
    return isinstance(error, CannotCreate) and isinstance(cause, OSError) and cause.errno in _PASSING


def started_once_writable(role: str, start: Callable[[], int | None]) -> int | None:
    """Return what the role returns; under supervisord start it again until its storage can be written to.

    Args:
        role: as its log names it.
        start: runs the whole role; it releases everything before it raises an error.

    Raises:
        CannotCreate: for another reason, or not under supervisord.
    """
    reminder = Reminder()
    while True:
        try:
            return start()
        except CannotCreate as exc:
            if not (os.environ.get("SUPERVISOR_ENABLED") and passes_by_itself(exc)):
                raise
            if reminder.is_due(str(exc), time.monotonic()):
                EventLog(role).warning("waiting_for_storage", f"{exc} The role starts as soon as that works.")
        time.sleep(_PAUSE_S)  # a stop signal ends the process here
