"""The copy of a capture that replaces it: compressed beside it, or in another folder on another disk.

It is written under a hidden name, synced, and read back: decompressed, it has length and checksum of what was
fed. Only then it gets its name, which no other file has. Owner, mode and times are those of the capture.

Its hidden name stays beside that one until the capture is gone. So the folder shows whether a copy is one of
a process that died: any program can write into Redis what it likes, but not this second name.

    compress    DIR/1.pcap            -->  DIR/1.pcap.zst
    move:OTHER  ROOT/sub/1.pcap       -->  OTHER/sub/1.pcap      folders are made
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from pcapdj.capture.compressing import SUFFIX, compressed_parts_of, parts_of
from pcapdj.capture.files import OpenFile, open_in
from pcapdj.reclaim.bound_file import BoundFile
from pcapdj.reclaim.folder import Withheld, hidden_copy, hidden_moved
from pcapdj.reclaim.selection import Candidate, Present, Selected
from pcapdj.reclaim.target import target_of
from pcapdj.runtime.errors import CannotCreate, CaptureError
from pcapdj.runtime.renaming import rename_new, sync_folder
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.signals import Waits

_SYNC_BYTES: Final = 32 << 20  # so that no sync takes long: a stop signal has to end it within a second
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # of a file system: FAT, CIFS
_NEW_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

COMPRESSED: Final = "compressed already"
TAKEN: Final = "whose copy would need a name that another file has"
NO_SPACE: Final = "whose copy does not fit above suspend-free"
NOT_SMALLER: Final = "that do not get smaller by compression"
SAME_DISK: Final = "on the disk that they would be moved to: that frees nothing"
NOT_COPIED: Final = "whose copy failed"
NO_TARGET: Final = "whose folder below that of move cannot be used"
GONE: Final = "another program has removed or replaced it"


class Copy:
    """The copy of one capture.

    Args:
        folder: descriptor of its folder, which this closes.
        name: that it gets there.
        to: its path.
        file: the capture.
        hidden: its hidden name there.
        is_compressed: it is compressed.
        keep_bytes: that must stay free on its disk.
    """

    def __init__(  # noqa: PLR0913 - what makes a copy
        self,
        folder: int,
        name: bytes,
        to: bytes,
        file: Candidate,
        *,
        hidden: bytes,
        is_compressed: bool,
        keep_bytes: int,
    ) -> None:
        self.to: Final = to_text(to)
        self.taken_bytes = 0  # on the disk that it is to free
        self._folder = folder
        self._name = name
        self._hidden: Final = hidden
        self._file = file
        self._is_compressed = is_compressed
        self._keep_bytes = keep_bytes
        self._inode = 0
        self._held = -1  # descriptor: so no other file gets this inode's number until the capture is gone

    def as_fields(self) -> dict[str, Any]:
        """Return what Redis gets of it, for people."""
        return {"to": self.to}

    def write(self, source: OpenFile, stops: Waits) -> OpenFile:
        """Write it under its hidden name, and sync it; return it, opened again.

        Args:
            source: the capture, open.
            stops: a stop signal ends writing.

        Raises:
            Withheld: it does not fit, cannot be written, or is not smaller.
            Stopped: a stop signal arrived.
        """
        size_bytes = self._file.present.identity.size_bytes
        parts = (compressed_parts_of if self._is_compressed else parts_of)(source, size_bytes, stops)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._hidden, dir_fd=self._folder)  # of a process that was killed
            descriptor = os.open(self._hidden, _NEW_FLAGS, 0o600, dir_fd=self._folder)
            try:
                self._inode = os.fstat(descriptor).st_ino
                self._write_parts(descriptor, parts)
                _take_over_attributes(descriptor, source.status())
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is read
            finally:
                os.close(descriptor)
            if self._is_compressed:
                self._check_smaller()
            written = OpenFile(open_in(self._folder, self._hidden))
            self._held = os.dup(written.descriptor)
            self._inode = written.status().st_ino
        except (OSError, CaptureError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc.reason
            raise Withheld(f"{NOT_COPIED}: {reason}") from exc
        return written

    def status(self) -> Present:
        """Return the file that was written.

        Raises:
            Withheld: it is not there any more.
        """
        try:
            return Present.of(os.stat(self._hidden, dir_fd=self._folder, follow_symlinks=False))
        except OSError as exc:
            raise Withheld(f"{NOT_COPIED}: {exc.strerror}") from exc

    def give_name(self) -> None:
        """Give the copy its own name, beside the hidden one.

        Raises:
            Withheld: another file has the name, or the folder refuses it.
        """
        try:
            self._link()
            sync_folder(self._folder)
        except FileExistsError as exc:
            raise Withheld(TAKEN) from exc
        except OSError as exc:
            raise Withheld(f"{NOT_COPIED}: {exc.strerror}") from exc

    def check_named(self) -> None:
        """Refuse to continue if the copy's name is gone, or leads to another file.

        Raises:
            Withheld: the name is not the copy's.
        """
        if inode_at(self._folder, self._name) != self._inode:
            raise Withheld(f"{NOT_COPIED}: {GONE}")

    def complete(self) -> None:
        """Remove its hidden name: the capture is gone."""
        complete(self._folder, self._hidden, self._name)

    def discard(self) -> None:
        """Remove it, under either of its names."""
        discard(self._folder, self._hidden, self._name, self._inode)

    def close(self) -> None:
        """Close it, and its folder."""
        if self._held >= 0:
            os.close(self._held)
        os.close(self._folder)

    def check_space(self, size_bytes: int) -> None:
        """Refuse to write so much more if less would stay free than has to.

        Raises:
            Withheld: it is so.
        """
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize - size_bytes < self._keep_bytes:
            raise Withheld(NO_SPACE)

    def _link(self) -> None:
        try:
            os.link(
                self._hidden,
                self._name,
                src_dir_fd=self._folder,
                dst_dir_fd=self._folder,
                follow_symlinks=False,
            )
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            rename_new(self._folder, self._hidden, self._name)  # left behind, it would not be removed

    def _check_smaller(self) -> None:
        self.taken_bytes = self.status().disk_bytes
        if self.taken_bytes >= self._file.present.disk_bytes:
            raise Withheld(NOT_SMALLER)

    def _write_parts(self, descriptor: int, parts: Iterator[bytes]) -> None:
        unsynced_bytes = 0
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
            unsynced_bytes += len(part)
            if unsynced_bytes >= _SYNC_BYTES:
                os.fdatasync(descriptor)
                self.check_space(0)
                unsynced_bytes = 0


def copy_for(file: Candidate, bound: BoundFile, selected: Selected) -> Copy | None:
    """Return the copy that is to replace a capture, of which nothing is written yet; None: there is none.

    Args:
        file: the capture.
        bound: the same, open.
        selected: what is done with it.

    Raises:
        Withheld: there can be no copy.
    """
    if selected.how == "delete":
        return None
    if selected.how == "compress":
        folder, name, to = os.dup(bound.folder), bound.base + SUFFIX, file.name + SUFFIX
        hidden = hidden_copy(name)
    else:
        try:
            folder, name, to = target_of(file.name, selected)
            hidden = hidden_moved(name, file.name, bound.folder)
        except CannotCreate as exc:
            raise Withheld(NO_TARGET, hint=str(exc)) from exc
    try:
        device = os.fstat(folder).st_dev
        _check_place(folder, name, is_on_it=selected.how == "move" and device == file.present.identity.dev)
        keep_bytes = selected.keep_free.get(device, 0)
        is_compressed = selected.how == "compress"
        copy = Copy(
            *(folder, name, to, file), hidden=hidden, is_compressed=is_compressed, keep_bytes=keep_bytes
        )
        copy.check_space(file.present.identity.size_bytes)
    except BaseException:
        os.close(folder)
        raise
    return copy


def _check_place(folder: int, name: bytes, *, is_on_it: bool) -> None:
    if is_on_it:
        raise Withheld(SAME_DISK)
    if _is_there(folder, name):
        raise Withheld(TAKEN)


def discard(folder: int, hidden: bytes, name: bytes, inode: int | None) -> None:
    """Remove a copy from its folder: under its own name, if that is this inode, and under its hidden one."""
    with suppress(OSError):
        if inode and inode_at(folder, name) == inode:
            os.unlink(name, dir_fd=folder)
        os.unlink(hidden, dir_fd=folder)  # last: by it the next process knows the other one


def complete(folder: int, hidden: bytes, name: bytes) -> None:
    """Remove the hidden name of a copy that has its own name."""
    with suppress(OSError):
        inode = inode_at(folder, hidden)
        if inode and inode == inode_at(folder, name):
            os.unlink(hidden, dir_fd=folder)
            sync_folder(folder)


def inode_at(folder: int, name: bytes) -> int | None:
    """Return the inode of a name in an open folder; None: there is none.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None


def _is_there(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _take_over_attributes(descriptor: int, of: os.stat_result) -> None:
    """Give a file mode, times and, where this user may, owner and group of another one."""
    with suppress(PermissionError):
        os.fchown(descriptor, of.st_uid, of.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(of.st_mode) & 0o777)
    os.utime(descriptor, ns=(of.st_atime_ns, of.st_mtime_ns))
