"""What inotify reports about a folder: files closed by their writer or moved in, and files just created.

inotify watches single folders, so each folder inside is watched, too. One that was made or moved in may have
files before it is watched: it is listed, and what is there counts as created. One that was renamed below the
watched folder keeps its watches, which get its new path, and its files count as moved in. Of one that was
moved out the watches are removed.

There is no thread: what the kernel has noted is read when the role looks. Trees are walked folder after
folder, not one inside the other: thousands of levels end a program that recurses. Below `most_levels` a tree
is not watched.

Source: inotify(7).
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pcapdj.inbox.folder import open_to_look
from pcapdj.runtime.signals import Waits, between

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE_SELF = 0x8, 0x40, 0x80, 0x100, 0x400
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLY_FOLDERS, _IS_FOLDER = 0x0100_0000, 0x4000_0000
_WATCHED: Final = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE_SELF | _ONLY_FOLDERS
_HEADER: Final = struct.Struct("=iIII")  # struct inotify_event: watch, mask, cookie, length of the name
_READ_BYTES: Final = 1 << 16
_MOST_READ_BYTES: Final = 4 << 20  # at once: a busy neighbour shall not keep the role here
_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Event(NamedTuple):
    watch: int
    mask: int
    cookie: int  # the same for both sides of a rename
    name: bytes


@dataclass(slots=True)
class FolderEvents:
    """Paths since the last call, below the folder's path as it was given.

    Args:
        complete: closed by a writer, or moved in.
        created: they may be hard links, or still be written.
        are_incomplete: the kernel's queue overflowed: scan the folder.
    """

    complete: set[bytes] = field(default_factory=set)
    created: set[bytes] = field(default_factory=set)
    are_incomplete: bool = False


class FolderListener:
    """Listens to a folder; its descriptor is readable when there are events.

    Args:
        folder: absolute; may be a link.
        recursive: include folders inside it, also those created later.
        most_levels: of folders inside folders that are watched.
        roots: as `open_to_look`; of what lies outside nothing is watched.
        stops: a stop signal ends the walk through the folders.

    Raises:
        OSError: the folder is gone, or a limit of inotify or of descriptors is reached.
        Stopped: `stops` saw a stop signal.
    """

    def __init__(
        self,
        folder: bytes,
        *,
        recursive: bool,
        most_levels: int,
        roots: Sequence[bytes] = (),
        stops: Waits | None = None,
    ) -> None:
        self._folder = folder
        self._roots = roots
        self._most_levels = most_levels if recursive else 0
        self._stops = stops
        self._paths: dict[int, bytes] = {}  # of each watch
        self.is_listening = True  # False once the folder was removed, or a new one inside cannot be watched
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            top = open_to_look(folder, roots)
            try:
                self._root = self._watch(folder, top)
            finally:
                os.close(top)
            self._watch_tree(folder)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def take_events(self) -> FolderEvents:
        """Return the events since the last call.

        Raises:
            Stopped: `stops` saw a stop signal.
        """
        found = FolderEvents()
        moved: dict[int, bytes] = {}  # folders that were moved away, by the cookie of the rename
        try:
            for event in between(self._events(), self._stops):
                self._apply(event, found, moved)
            for path in moved.values():
                self._forget_tree(path)
            if found.are_incomplete:
                self._watch_tree(self._folder)
        except OSError:  # a limit of inotify: the next listener reports it
            self.is_listening = False
        return found

    def close(self) -> None:
        """Stop listening and close the descriptor."""
        os.close(self._fd)

    def _events(self) -> Iterator[_Event]:
        read_bytes = 0
        with suppress(BlockingIOError):
            while read_bytes < _MOST_READ_BYTES and (data := os.read(self._fd, _READ_BYTES)):
                read_bytes += len(data)
                at = 0
                while at < len(data):
                    watch, mask, cookie, length_bytes = _HEADER.unpack_from(data, at)
                    at += _HEADER.size + length_bytes
                    yield _Event(watch, mask, cookie, data[at - length_bytes : at].rstrip(b"\0"))

    def _apply(self, event: _Event, found: FolderEvents, moved: dict[int, bytes]) -> None:
        found.are_incomplete |= bool(event.mask & _OVERFLOW)
        if event.mask & (_IGNORED | _UNMOUNT | _DELETE_SELF):
            self.is_listening &= event.watch != self._root
        if event.mask & _IGNORED:
            self._paths.pop(event.watch, None)
        if not event.name or event.watch not in self._paths:
            return
        path = os.path.join(self._paths[event.watch], event.name)  # noqa: PTH118 - bytes
        if event.mask & _IS_FOLDER:
            if self._most_levels:
                self._apply_to_folder(event, path, found, moved)
        elif event.mask & (_CLOSE_WRITE | _MOVED_TO):
            found.complete.add(path)
        elif event.mask & _CREATE:
            found.created.add(path)

    def _apply_to_folder(
        self, event: _Event, path: bytes, found: FolderEvents, moved: dict[int, bytes]
    ) -> None:
        if event.mask & _MOVED_FROM:
            moved[event.cookie] = path
        elif event.mask & _MOVED_TO:
            was_inside = moved.pop(event.cookie, None) is not None
            (found.complete if was_inside else found.created).update(self._watch_tree(path))
        elif event.mask & _CREATE:
            found.created.update(self._watch_tree(path))

    def _watch_tree(self, top: bytes) -> list[bytes]:
        """Watch a folder and those inside it; return the files in them."""
        files: list[bytes] = []
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                for path, is_folder in self._entries_watched(folder):
                    if not is_folder:
                        files.append(path)
                    elif self._level_of(path) <= self._most_levels:
                        waiting.append(path)
            except OSError as exc:  # it has gone, or is closed to this user
                if exc.errno not in _GONE:
                    raise
        return files

    def _entries_watched(self, folder: bytes) -> Iterator[tuple[bytes, bool]]:
        """Watch a folder; yield what it has now, and whether that is a folder."""
        opened = open_to_look(folder, self._roots)  # where no descriptor is left for it, inotify is no help
        try:
            if folder != self._folder:
                self._watch(folder, opened)
            with os.scandir(opened) as entries:
                for entry in between(entries if self._most_levels else (), self._stops):
                    path = os.path.join(folder, os.fsencode(entry.name))  # noqa: PTH118 - bytes
                    yield path, entry.is_dir(follow_symlinks=False)
        finally:
            os.close(opened)

    def _watch(self, folder: bytes, opened: int) -> int:
        """Watch the folder that is open; its path may lead to another one meanwhile."""
        itself = ctypes.c_char_p(b"/proc/self/fd/%d" % opened)
        watch = _checked(_libc.inotify_add_watch(self._fd, itself, ctypes.c_uint32(_WATCHED)))
        self._paths[watch] = folder
        return watch

    def _forget_tree(self, top: bytes) -> None:
        for watch, path in list(self._paths.items()):
            if path == top or path.startswith(top + b"/"):
                del self._paths[watch]
                _libc.inotify_rm_watch(self._fd, watch)  # fails where the folder was removed meanwhile

    def _level_of(self, path: bytes) -> int:
        return path.count(b"/") - self._folder.rstrip(b"/").count(b"/")


def _checked(result: int) -> int:
    """Return the result of a system call; -1 is an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
