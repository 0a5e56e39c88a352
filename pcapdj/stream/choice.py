"""Which outlet a dispatcher has: the launcher's where its socket is named, else a pipe read by hand."""

from pathlib import Path

from pcapdj.runtime.signals import Signals
from pcapdj.stream.by_hand import ByHandOutlet
from pcapdj.stream.outlets import LauncherOutlet, Outlet, Say


def outlet_of(pipe: Path, launcher: Path | None, signals: Signals, say: Say) -> Outlet:
    """Return the outlet.

    Args:
        pipe: where an analyzer started by hand reads.
        launcher: the launcher's socket; None: there is none.
        signals: end every wait.
        say: told what is waited for.

    Raises:
        CannotCreate: something else than a pipe of this user stands there, or the socket's path is too long.
    """
    if launcher:
        return LauncherOutlet(launcher, signals, say)
    return ByHandOutlet(pipe, signals, say)
