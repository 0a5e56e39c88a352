"""Every error that pcapdj raises on purpose, and the exit code with which it ends a command.

A class exists where a caller treats it differently; otherwise it is one more message.
The codes above 63 are those of sysexits(3), so that scripts can distinguish them.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a pcapdj command ends; `docs/operations.md` lists them for operators."""

    OK = 0
    ERROR = 1  # a file was not fed whole, or an error in pcapdj itself (then with a traceback)
    USAGE = 2  # unknown option, invalid size, thresholds out of order
    HOLD = 3  # `control --check`: the gate holds
    UNAVAILABLE = 69  # Redis does not answer, or the analyzer or /proc is missing
    CANNOT_CREATE = 73  # the pipe, a socket or a folder cannot be made, or another user can replace it
    BUSY = 75  # another process already has this role
    DENIED = 77  # Redis refuses the login, or its ACL a command, key or channel; or it is another user's
    INTERRUPTED = 130  # Ctrl-C


class PcapdjError(Exception):
    """An error in one sentence for the operator.

    Args:
        message: names the thing and the number.
        hint: what to do next; empty if the message has it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(PcapdjError):
    """An option, an environment variable or a live limit that is not valid."""

    exit_code = ExitCode.USAGE


class Unavailable(PcapdjError):
    """A program or server that a command needs is missing."""

    exit_code = ExitCode.UNAVAILABLE


class CannotCreate(PcapdjError):
    """A pipe, socket or folder cannot be made, or another user can replace it."""

    exit_code = ExitCode.CANNOT_CREATE


class AlreadyRunning(PcapdjError):
    """Another process holds the lock of this role; the message names its pid."""

    exit_code = ExitCode.BUSY


class StoreUnavailable(Unavailable):
    """Redis does not answer, or cannot take writes now; waiting helps."""


class StoreFailed(PcapdjError):
    """Redis answers with an error that waiting does not cure, such as one of a Redis Cluster."""


class KeyUnusable(StoreFailed):
    """A key has another type than the one that belongs there: another program wrote it."""


class StoreDenied(PcapdjError):
    """Redis refuses the login, its ACL forbids a command, a key or the channel, or it is another user's."""

    exit_code = ExitCode.DENIED


class CaptureError(PcapdjError):
    """This capture file cannot be fed whole: it is reported, and the next one is fed.

    Args:
        reason: a short sentence without the file's name.
        offset: byte in the (uncompressed) file where reading stopped; None if it never began.
        error_number: the errno of the call that failed; 0: none did.
    """

    def __init__(self, reason: str, *, offset: int | None = None, error_number: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.error_number = error_number

    def __str__(self) -> str:
        return self.reason if self.offset is None else f"{self.reason} (at byte {self.offset})"


class CutOff(CaptureError):
    """The capture ends inside a record, or grew or was touched while it was read: it may go on from there."""


class Overwritten(CaptureError):
    """Another file has the name now: the capture that was queued under it is lost."""


class NotACapture(CaptureError):
    """It is no capture of any known format, or no regular file; in a folder such a file is skipped."""


class ReaderGone(PcapdjError):
    """The analyzer closed the pipe or died; the file in flight is fed to the next stream."""


class LauncherGone(PcapdjError):
    """The launcher does not answer on its socket; its stream has ended."""


class Stopped(PcapdjError):
    """A stop signal arrived during a wait; the role stops in order."""
