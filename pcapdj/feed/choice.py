"""Which outlet a dispatcher has: the launcher's where its socket is named, else a pipe read by hand."""

from pathlib import Path

from pcapdj.feed.analyzer_link import AnalyzerLink, LauncherLink, Say
from pcapdj.feed.manual_link import ManualLink
from pcapdj.runtime.signals import Waits


def analyzer_link(pipe: Path, launcher: Path | None, signals: Waits, say: Say) -> AnalyzerLink:
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
        return LauncherLink(launcher, signals, say)
    return ManualLink(pipe, signals, say)
