"""The folder of a capture that may be removed, and why a capture stays where it is.

The folder is opened component by component from its root, without following links. All later steps work in
the opened folder, even if another one takes its place meanwhile.
"""

import os
import stat
from typing import Final

from pcapdj.capture.files import open_folder_below
from pcapdj.capture.roots import root_of
from pcapdj.reclaim.selection import Present
from pcapdj.runtime.errors import CaptureError, PcapdjError

PREFIX: Final = b".pcapdj-reclaim."
COPY_PREFIX: Final = b".pcapdj-copy."
_LONGEST_NAME_BYTES: Final = 255 - len(PREFIX) - len(b".zst")

OUTSIDE: Final = "outside of the roots, or behind a link"
UNREADABLE: Final = "not readable"
WRITTEN: Final = "open for writing in another process"
DAMAGED: Final = "different from what was fed: their checksum does not agree"
NO_FOLDER: Final = "in a folder that this user cannot write to"
LONG: Final = "with a name that leaves no room for another one"


class Withheld(PcapdjError):
    """A file stays where it is: the message is the reason, as the lines of a preview have it.

    A hint is a sentence for the person who can change that.
    """


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
