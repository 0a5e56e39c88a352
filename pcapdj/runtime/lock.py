"""A role runs only once: it holds a lock on a file, which the kernel releases however the process ends.

Some lock files lie in folders where other users can make files, as /tmp. What stands at the name is used only
if it is a lock file of this user: regular, with one name, and not longer than a pid. A link, a pipe, a folder
or a file of another user is refused before it is opened, and again after it, and is never written to.

Who holds a lock is read from /proc/locks, since the text in a file may be anyone's. It shows who made a lock:
where that process has ended, the one that inherited it is found by its open files (in a PID namespace the
kernel does not show such a lock in /proc/locks at all, and only they tell). A folder that other users
may read can be locked by them, too: then the message names that user, and not a second run of ours.

Source: flock(2), proc_locks(5), proc_pid_fdinfo(5).
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate, PcapdjError
from pcapdj.runtime.mount_list import true_owner
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.ownership import ROOT
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import described, owner_of, present_at

_PID_BYTES: Final = 32  # a pid has 7 digits
_MOST_LINES: Final = 16  # of a description: an flock stands before what may have no end
_LOCKS: Final = Path("/proc/locks")
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Holder(NamedTuple):
    """A process that holds a lock; None: not known.

    Args:
        pid: its number.
        uid: its user.
        is_hidden: there is one, and none that this user may look at has the lock.
    """

    pid: int | None
    uid: int | None
    is_hidden: bool = False

    @property
    def is_of_another_user(self) -> bool:
        """Report whether it is neither of this user nor, if it can be seen, of root."""
        return self.is_hidden or self.uid not in (None, ROOT, os.geteuid())

    def __str__(self) -> str:
        return f"pid {self.pid}" if self.pid else "pid unknown"


class Lock:
    """A lock file that this process holds until `close` or its death; it contains the holder's pid.

    Args:
        path: the lock file; made if missing, never removed (or two processes could hold two inodes).
        role: the role's name in the message to a second process.

    Raises:
        AlreadyRunning: another process holds it; the message has its pid.
        CannotCreate: the file cannot be made, or something else stands there; the message has its owner.
    """

    def __init__(self, path: Path, role: str) -> None:
        self._fd = _opened(path)
        if error := self._failure(path, role):
            os.close(self._fd)
            raise error
        with suppress(OSError):  # a full disk: the kernel shows who holds it, too
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Release the lock."""
        with suppress(OSError):
            os.close(self._fd)

    def _failure(self, path: Path, role: str) -> PcapdjError | None:
        """Lock the file; return why that failed."""
        try:
            if locked(self._fd):
                return None
        except OSError as exc:
            return CannotCreate(f"The lock file {quoted(str(path))} cannot be locked: {exc.strerror}.")
        holder = holder_of(self._fd, whole_number(os.pread(self._fd, _PID_BYTES, 0).strip()))
        return held_by_another_user(path, holder) or AlreadyRunning(
            f"Another {role} ({holder}) holds {quoted(str(path))}.", hint="Stop it first, or use another id."
        )


def locked(descriptor: int) -> bool:
    """Lock the open file, and report whether that worked: it does not while another process has the lock.

    Raises:
        OSError: its file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_of(descriptor: int, written_pid: int | None = None) -> Holder:
    """Return the process that holds the lock of what is open here.

    Args:
        descriptor: of a file or folder.
        written_pid: what the file has, where the kernel does not show the holder.
    """
    found = os.fstat(descriptor)
    shown = _locks_on(found)
    places = frozenset(place for _, place in shown) or frozenset({f"{_device(found)}:{found.st_ino}"})
    lockers = (pid for pid, _ in shown if _has_lock(pid, places) is not False)
    pid = next(lockers, None) or next((each for each in _processes() if _has_lock(each, places)), None)
    if pid:
        return Holder(pid, _user_of(pid))
    if not shown:
        return Holder(written_pid, _user_of(written_pid) if written_pid else None)
    return Holder(None, None, is_hidden=os.geteuid() != ROOT and bool(_locks_on(found)))  # it may have ended


def held_by_another_user(path: Path, holder: Holder) -> AlreadyRunning | None:
    """Return the error about another user's lock on a file or folder of ours; None if it is not that."""
    if not holder.is_of_another_user:
        return None
    who = "" if holder.uid is None else f", {owner_of(holder.uid)}, {holder},"
    return AlreadyRunning(
        f"A process of another user{who} has locked {quoted(str(path))}.",
        hint=f"{'' if who else 'Root can find it. '}End it, and remove the permission of other users to read"
        f" that place.",
    )


def _opened(path: Path) -> int:
    try:
        with suppress(FileNotFoundError):
            _check(path, path.lstat())
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as exc:
        raise CannotCreate(
            f"The lock file {quoted(str(path))} cannot be made: {exc.strerror}{present_at(path)}."
        ) from exc
    try:
        _check(path, os.fstat(descriptor))
    except CannotCreate:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, found: os.stat_result) -> None:
    is_ours = true_owner(found) in (os.geteuid(), ROOT)
    if stat.S_ISREG(found.st_mode) and is_ours and found.st_nlink <= 1 and found.st_size <= _PID_BYTES:
        return
    raise CannotCreate(
        f"No lock file can be made at {quoted(str(path))}: there is {described(found)}.",
        hint="Nothing was written to it. Move it away.",
    )


def _locks_on(found: os.stat_result) -> list[tuple[int, str]]:
    """Return who made each flock on this inode, and its place; first those with the device of the status.

    On btrfs and overlayfs the kernel shows another device than stat(2).
    """
    locks: list[tuple[bool, int, str]] = []
    with suppress(OSError, ValueError, IndexError), _LOCKS.open(encoding="utf-8") as lines:
        for line in lines:  # one by one: any user may have a million locks
            fields = line.split()
            place = fields[5].rpartition(":")
            if fields[1] == "FLOCK" and place[2] == str(found.st_ino) and int(fields[4]) > 0:
                locks.append((place[0] != _device(found), int(fields[4]), fields[5]))
    return [(pid, place) for _, pid, place in sorted(locks)]


def _device(found: os.stat_result) -> str:
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"


def _processes() -> Iterator[int]:
    with os.scandir("/proc") as entries:
        yield from filter(None, (whole_number(each.name) for each in entries))


def _has_lock(pid: int, places: frozenset[str]) -> bool | None:
    """Report whether a process has open what is locked at one of these places; None: it cannot be seen."""
    try:
        with os.scandir(f"/proc/{pid}/fdinfo") as entries:
            return any(_is_locked(each.path, places) for each in entries)
    except PermissionError:
        return None
    except OSError:  # it has ended
        return False


def _is_locked(described: str, places: frozenset[str]) -> bool:
    """Report whether an open file has a lock of its own, as proc_pid_fdinfo(5) describes it."""
    with suppress(FileNotFoundError), Path(described).open(encoding="utf-8", errors="replace") as file:
        lines = (line.split() for line in islice(file, _MOST_LINES))
        return any("FLOCK" in words and not places.isdisjoint(words) for words in lines)
    return False  # it was closed meanwhile


def _user_of(pid: int) -> int | None:
    """Return the effective user of a process; /proc/PID itself may belong to root."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Uid:")).split()[2])
    return None
