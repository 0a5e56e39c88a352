"""A capture that is about to go: bound to one inode, whatever its name leads to meanwhile.

The folder is opened component by component from its root, without following links, and the file in it. From
then on both are descriptors. To unlink a file, one has to name it: between a last look and unlink(2) another
program could put another file there. So the file first gets a name that no other program uses, and is looked
at under that:

    NAME --rename, replacing nothing--> .pcapdj-reclaim.NAME --the same inode?--> unlink
                                                |
                                                '-- another one, or wanted again: renamed back

A process that dies in between leaves the file under the second name; the next one finds it
(`reclaim.recovery`). Importers skip hidden names.
"""

import os
from contextlib import suppress
from typing import Final

from pcapdj.capture.files import OpenFile, has_writer, open_in
from pcapdj.reclaim.folder import (
    PREFIX,
    UNREADABLE,
    WRITTEN,
    Withheld,
    folder_of,
    lock_folder,
    refusal,
    status_of,
)
from pcapdj.reclaim.selection import CHANGED, Candidate, Present
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.renaming import rename_new, sync_folder


class BoundFile:
    """An open capture in an open folder, which is locked against other processes that make room in it.

    Args:
        file: as it was planned.
        roots: below which it has to lie.

    Raises:
        Withheld: it is not that file any more, or its folder is locked.
    """

    def __init__(self, file: Candidate, roots: tuple[bytes, ...]) -> None:
        self._name = file.name
        try:
            self.folder, self.base = folder_of(file.name, roots)
        except FileNotFoundError as exc:
            raise Withheld(CHANGED) from exc
        self.hidden: Final = PREFIX + self.base
        self.file, self._lock = OpenFile(-1), -1
        try:
            self._lock = lock_folder(self.folder)
            self.file = OpenFile(_opened(self.folder, self.base))
            self.present: Final = Present.of(self.file.status())
            self._check_planned(file)
        except BaseException:
            self.close()
            raise

    def _check_planned(self, file: Candidate) -> None:
        if self.present != file.present:
            raise Withheld(CHANGED)
        if has_writer(self.file.descriptor):
            raise Withheld(WRITTEN)

    def close(self) -> None:
        """Close file and folder, and end the lock."""
        self.file.close()
        os.close(self.folder)
        if self._lock >= 0:
            os.close(self._lock)

    def check_unchanged(self) -> None:
        """Compare the file with what it was when it was opened.

        Raises:
            Withheld: it has changed, or got another name.
        """
        if self._now() != self.present:
            raise Withheld(CHANGED)

    def hide(self) -> None:
        """Give the file the name that no other program uses.

        Raises:
            Withheld: it has changed, or another file had its name: that one has it again.
        """
        self.check_unchanged()
        try:
            rename_new(self.folder, self.base, self.hidden)
        except OSError as exc:
            raise Withheld(refusal(exc)) from exc
        try:
            self._check_hidden()
        except Withheld:
            self.put_back()
            raise

    def put_back(self) -> str:
        """Give what has that name its old name again; return why it keeps that, as `put_back`."""
        return put_back(self.folder, self.base)

    def unlink(self) -> None:
        """Remove the hidden file, and write that to the disk.

        Raises:
            Withheld: it has changed meanwhile, or cannot be removed; it has its old name again.
        """
        try:
            self._check_hidden()
            os.unlink(self.hidden, dir_fd=self.folder)
        except OSError as exc:
            self.put_back()
            raise Withheld(refusal(exc)) from exc
        except Withheld:
            self.put_back()
            raise
        with suppress(OSError):  # it is gone in any case
            sync_folder(self.folder)

    def _check_hidden(self) -> None:
        """Refuse another file than the open one, and a change; a rename changes ctime."""
        there = Present.of(status_of(self.folder, self.hidden))
        if there != self._now() or there._replace(ctime_ns=0) != self.present._replace(ctime_ns=0):
            raise Withheld(CHANGED)

    def _now(self) -> Present:
        try:
            return Present.of(self.file.status())
        except OSError as exc:
            raise Withheld(refusal(exc)) from exc


def put_back(folder: int, base: bytes) -> str:
    """Give a hidden file of an open folder its old name again; return why that fails, empty if it has it."""
    try:
        rename_new(folder, PREFIX + base, base)
    except FileNotFoundError:  # it has it already
        return ""
    except FileExistsError:
        return "another file has its name now"
    except OSError as exc:
        return f"its name cannot be given back: {exc.strerror}"
    return ""


def _opened(folder: int, base: bytes) -> int:
    try:
        return open_in(folder, base)
    except FileNotFoundError as exc:
        raise Withheld(CHANGED) from exc
    except (CaptureError, OSError) as exc:
        raise Withheld(UNREADABLE) from exc
