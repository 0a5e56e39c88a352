"""Every error that pcapdj raises on purpose, and the exit code each one ends a command with.

A class exists because somebody treats it differently; otherwise it is one more message.
The codes above 63 are those of sysexits(3), so that scripts can tell them apart.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a pcapdj command ends; `docs/operations.md` lists them for operators."""

    OK = 0
    ERROR = 1  # a file was not fed whole, or a fault of ours (then with a traceback)
    USAGE = 2  # unknown option, nonsense size, thresholds out of order
    HOLD = 3  # `control --check`: the gate would hold
    UNAVAILABLE = 69  # Redis or the analyzer is not there
    CANNOT_CREATE = 73  # the pipe, a socket or a folder cannot be made, or is not ours
    BUSY = 75  # another process already has this role
    DENIED = 77  # Redis refuses the password, or asks for one
    INTERRUPTED = 130  # Ctrl-C


class PcapdjError(Exception):
    """What went wrong, in one sentence for the operator.

    Args:
        message: names the thing and the number.
        hint: what to do next; empty if the message says it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(PcapdjError):
    """An option, an environment variable or a live limit that makes no sense."""

    exit_code = ExitCode.USAGE


class Unavailable(PcapdjError):
    """Something outside that a command cannot do without is not there."""

    exit_code = ExitCode.UNAVAILABLE


class CannotCreate(PcapdjError):
    """A pipe, socket or folder cannot be made, or stands there and is not ours."""

    exit_code = ExitCode.CANNOT_CREATE


class AlreadyRunning(PcapdjError):
    """Another process holds the lock of this role; the message names its pid."""

    exit_code = ExitCode.BUSY


class StoreUnavailable(Unavailable):
    """Redis does not answer, or cannot take writes now; waiting helps."""


class StoreFailed(PcapdjError):
    """Redis answers with an error that time alone does not cure: a key of another type, mostly."""


class StoreDenied(PcapdjError):
    """Redis asks for a password, refuses the one given, or forbids a command."""

    exit_code = ExitCode.DENIED


class CaptureError(PcapdjError):
    """This capture file is at fault: it is reported, and the next one goes on.

    Args:
        reason: a short sentence without the file's name.
        offset: byte in the (uncompressed) file where reading had to stop; None if it never began.
    """

    def __init__(self, reason: str, *, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return self.reason if self.offset is None else f"{self.reason} (at byte {self.offset})"


class ReaderGone(PcapdjError):
    """The analyzer closed the pipe or died; the file in flight goes to the next stream."""


class LauncherGone(PcapdjError):
    """The launcher does not answer on its socket; the stream ended with it."""


class Stopped(PcapdjError):
    """A stop signal arrived in the middle of a wait; the role leaves in order."""
