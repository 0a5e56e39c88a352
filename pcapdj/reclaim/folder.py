"""The folder of a capture that may be removed, and why a capture stays where it is.

The folder is opened component by component from its root, without following links. All later steps work in
the opened folder, even if another one takes its place meanwhile.

A capture is removed, and what a dead process left of that is ended, under a lock of the folder: the hidden
names are the same for every process, whatever its lane, user or Redis. Who may read a folder can lock it:
then the captures in it stay, with that user as the reason. Source: flock(2).
"""

import os
import stat
from hashlib import sha256
from typing import Final

from pcapdj.capture.files import open_folder_below
from pcapdj.capture.roots import root_of
from pcapdj.reclaim.selection import Present
from pcapdj.runtime.errors import CaptureError, PcapdjError
from pcapdj.runtime.lock import Holder, holder_of, locked
from pcapdj.runtime.mount_list import machine_id
from pcapdj.runtime.trust import owner_of

PREFIX: Final = b".pcapdj-reclaim."
COPY_PREFIX: Final = b".pcapdj-copy."
_DIGITS: Final = 8  # of the digest of a path
_LONGEST_NAME_BYTES: Final = 255 - len(COPY_PREFIX) - _DIGITS - len(b".")

OUTSIDE: Final = "outside of the roots, or behind a link"
UNREADABLE: Final = "not readable"
WRITTEN: Final = "open for writing in another process"
DAMAGED: Final = "different from what was fed: their checksum does not agree"
NO_FOLDER: Final = "in a folder that this user cannot write to"
LOCKED: Final = "in a folder in which another process makes room"
LONG: Final = "with a name that leaves no room for another one"


def hidden_copy(name: bytes) -> bytes:
    """Return the hidden name of a copy beside its capture."""
    return COPY_PREFIX + name


def hidden_moved(name: bytes, of: bytes, folder: int) -> bytes:
    """Return the hidden name of a copy in a folder that other captures are moved to, too.

    Captures of several roots, also in other containers and on other machines, may be moved to one name: what
    one process has left there must not be taken for what another one left. So the name has a digest of where
    the capture is.

    Args:
        name: of the copy.
        of: the path of the capture.
        folder: of the capture, open.
    """
    place = b"%b\n%d\n%b" % (of, os.fstat(folder).st_ino, machine_id())
    return COPY_PREFIX + sha256(place).hexdigest()[:_DIGITS].encode() + b"." + name


class Withheld(PcapdjError):
    """A file stays where it is: the message is the reason, as the lines of a preview have it.

    A hint is a sentence for the person who can change that.
    """


class FolderLocked(Withheld):
    """All captures of a folder stay where they are for now: another process has locked it."""


def look(name: bytes, roots: tuple[bytes, ...]) -> Present:
    """Return the file of a name, if it may be removed by what its folder is.

    Raises:
        FileNotFoundError: it is not there.
        Withheld: it lies outside of the roots, is no regular file, or its folder cannot be written.
    """
    folder, base = folder_of(name, roots)
    try:
        found = status_of(folder, base)
        if not os.access(b".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            raise Withheld(NO_FOLDER)
    finally:
        os.close(folder)
    return Present.of(found)


def folder_of(name: bytes, roots: tuple[bytes, ...]) -> tuple[int, bytes]:
    """Return the folder of a capture, open (O_PATH), and its name there.

    Raises:
        FileNotFoundError: the folder is not there.
        Withheld: it lies outside of the roots, or behind a link.
    """
    try:
        root = root_of(name, roots)
        if root is None:
            raise Withheld(OUTSIDE)
        folder, base = open_folder_below(root, name)
    except FileNotFoundError:
        raise
    except (CaptureError, OSError, ValueError) as exc:
        raise Withheld(OUTSIDE) from exc
    if len(base) > _LONGEST_NAME_BYTES:
        os.close(folder)
        raise Withheld(LONG)
    return folder, base


def lock_folder(folder: int) -> int:
    """Return a descriptor that locks a folder until it is closed.

    Args:
        folder: open (O_PATH).

    Returns:
        -1: the file system has no locks of folders, as NFS: another machine would not see one anyway.

    Raises:
        FolderLocked: another process has locked it.
        Withheld: this user may not read it.
    """
    try:
        descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as exc:
        raise Withheld(refusal(exc)) from exc
    try:
        is_ours = locked(descriptor)
    except OSError:
        os.close(descriptor)
        return -1
    if not is_ours:
        reason = _reason(holder_of(descriptor))
        os.close(descriptor)
        raise FolderLocked(reason)
    return descriptor


def _reason(holder: Holder) -> str:
    if holder.uid is None or not holder.is_of_another_user:
        return LOCKED
    return f"in a folder that a process of {owner_of(holder.uid)} has locked"


def status_of(folder: int, base: bytes) -> os.stat_result:
    """Return the status of a name in a folder: of a regular file.

    Raises:
        FileNotFoundError: it is not there.
        Withheld: it is something else.
    """
    try:
        found = os.stat(base, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise Withheld(refusal(exc)) from exc
    if not stat.S_ISREG(found.st_mode):
        raise Withheld(OUTSIDE)
    return found


def refusal(error: OSError) -> str:
    """Return the reason of a file that the system does not let us remove."""
    return f"on a disk or in a folder that refuses it: {error.strerror}"
