"""Writes a file whole or not at all: a reader, and who comes after a crash, finds the old one or the new one.

    1 write    under a hidden name beside it, which no other program takes for the file
    2 sync     so that the name never comes back without its content after a power loss
    3 rename   replaces the old file, or a link, in one step
    4 sync     the folder: the rename itself

The hidden file is always a new one: what a killed process left there is removed first, and a file or link of
another user is never written to. Nor is a link of another user followed on the way to the folder: it leads
where that user wants. What was written is removed where a step fails: half a file takes room from the
analyzer on a full disk.
Source: rename(2), fsync(2), open(2) "O_TMPFILE".
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import BinaryIO, Final, Self

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LINK_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_WAY_FLAGS: Final = _LINK_FLAGS | os.O_DIRECTORY
_UNNAMED_FLAGS: Final = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
_MOST_LINKS: Final = 40  # as the kernel


def write_whole(  # noqa: PLR0913 - what makes a file
    path: Path,
    content: bytes,
    *,
    mode: int = 0o666,
    is_synced: bool = True,
    hidden: str = "",
    before_rename: Callable[[], object] = lambda: None,
) -> None:
    """Write the file; one that is there is replaced.

    Args:
        path: of the file; its folder is there.
        content: all of it.
        mode: of the new file, less the umask.
        is_synced: after a power loss it is there; without it only after the death of processes.
        hidden: its name while it is written; empty: `.NAME`.
        before_rename: called when the content is on the disk and the name is not.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    folder = open_folder(path.parent)
    try:
        write_whole_in(
            folder,
            path.name,
            content,
            mode=mode,
            is_synced=is_synced,
            hidden=hidden,
            before_rename=before_rename,
        )
    finally:
        os.close(folder)


def write_whole_in(  # noqa: PLR0913 - as above
    folder: int,
    name: str,
    content: bytes,
    *,
    mode: int = 0o666,
    is_synced: bool = True,
    hidden: str = "",
    before_rename: Callable[[], object] = lambda: None,
) -> None:
    """Write the file of this name in a folder that is open, wherever its path leads now; else as above."""
    hidden, descriptor = _opened_new(folder, hidden or f".{name}", mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        before_rename()
        os.replace(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
        if is_synced:
            os.fsync(folder)
    except BaseException:  # also Ctrl-C
        with suppress(OSError):
            os.unlink(hidden, dir_fd=folder)
        raise


def _opened_new(folder: int, name: str, mode: int) -> tuple[str, int]:
    """Return the name and descriptor of a new file, under another name where this one is taken.

    In a folder such as /tmp another user's folder of that name cannot be removed, nor another user's file.
    """
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
    try:
        return name, os.open(name, _FLAGS, mode, dir_fd=folder)
    except FileExistsError:
        name = f"{name}.{token_hex(8)}"
        return name, os.open(name, _FLAGS, mode, dir_fd=folder)


def open_folder(path: Path) -> int:
    """Open a folder for reading, and return its descriptor; errors as `open_way`."""
    folder = open_way(path)
    try:
        return os.open(".", _FOLDER_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def open_inside(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file, as os.open; no link at its name is followed, and none of another user on the way to it.

    Whoever owns a folder above can exchange the next one while a process of root works there, as under sudo.

    Raises:
        OSError: there is such a link, or the file cannot be opened.
    """
    with _folder_of(path) as (folder, name):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)


def keep_name(path: Path) -> None:
    """Make an empty file where there is none: then no other user takes its name, in a folder such as /tmp."""
    with suppress(OSError):
        os.close(open_inside(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600))


def unlink_inside(path: Path) -> None:
    """Remove a file if it is there; on the way to it as `open_inside`."""
    with _folder_of(path) as (folder, name), suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def mkdir_inside(path: Path, mode: int = 0o777, above: int = 0o777) -> None:
    """Make a folder, and those above it that are missing; on the way to it as `open_inside`.

    Args:
        path: of the folder.
        mode: of it, less the umask.
        above: the mode of those above it.

    Raises:
        FileExistsError: something has the name already.
        OSError: it cannot be made.
    """
    missing = [each for each in path.parents if not os.path.exists(each)]  # noqa: PTH110 - as `is_there`
    for each in reversed(missing):
        with suppress(FileExistsError):
            _mkdir(each, above)
    _mkdir(path, mode)


def _mkdir(path: Path, mode: int) -> None:
    with _folder_of(path) as (folder, name):
        os.mkdir(name, mode, dir_fd=folder)


def rmdir_inside(path: Path) -> None:
    """Remove a folder that is empty, if that works; on the way to it as `open_inside`."""
    with suppress(OSError), _folder_of(path) as (folder, name):
        os.rmdir(name, dir_fd=folder)


@contextmanager
def _folder_of(path: Path) -> Iterator[tuple[int, str]]:
    """Open the folder of a file as `open_way`; yield it and the file's name. The root is in itself."""
    folder = open_way(path.parent)
    try:
        yield folder, path.name or "."
    finally:
        os.close(folder)


def open_way(path: Path) -> int:
    """Return a descriptor (O_PATH) of a folder; a link of another user on the way is not followed.

    Raises:
        OSError: there is one, or the folder cannot be opened.
    """
    begin = path.anchor or "."  # the current folder may be closed to this user
    folder, waiting, links = os.open(begin, _WAY_FLAGS), [*reversed(path.parts)], 0
    try:
        while waiting:
            part = waiting.pop()
            try:
                inner = os.open(part, _WAY_FLAGS, dir_fd=folder)
            except NotADirectoryError:
                waiting += reversed(Path(_target_of(part, folder)).parts)
                if (links := links + 1) > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
            else:
                os.close(folder)
                folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def _target_of(name: str, folder: int) -> str:
    """Return where a link of an open folder leads.

    Raises:
        OSError: it is no link, or belongs to another user.
    """
    link = os.open(name, _LINK_FLAGS, dir_fd=folder)
    try:
        found = os.fstat(link)
        if not stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if found.st_uid not in (0, os.geteuid()):
            raise OSError(errno.ELOOP, f"a link of another user (uid {found.st_uid}) is on the way to it")
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


class NewFile:
    """A file that gets its name once it is whole, and replaces none; what is not kept is removed.

    Until then it has no name, so that a `kill -9` leaves nothing; or a hidden one, on a file system where
    every file has a name.

    Args:
        path: of the file; its folder is there.

    Raises:
        FileExistsError: something has the name already.
        OSError: it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._hidden = ""
        self._folder = open_folder(path.parent)
        try:
            self._check_name()
            descriptor = self._unnamed() or self._with_hidden_name()
        except BaseException:
            os.close(self._folder)
            raise
        self.file: BinaryIO = os.fdopen(descriptor, "wb")

    def _unnamed(self) -> int | None:
        with suppress(OSError):
            return os.open(".", _UNNAMED_FLAGS, 0o666, dir_fd=self._folder)
        return None

    def _with_hidden_name(self) -> int:
        self._hidden = f".pcapdj-new.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(self._hidden, dir_fd=self._folder)
        return os.open(self._hidden, _FLAGS, 0o666, dir_fd=self._folder)

    def keep(self) -> None:
        """Write out the rest, and give the file its name.

        Raises:
            FileExistsError: something has got the name meanwhile.
            OSError: it cannot be written.
        """
        self.file.flush()
        if not self._hidden:
            os.link(f"/proc/self/fd/{self.file.fileno()}", self._name, dst_dir_fd=self._folder)
            return
        self.file.close()
        # no file of others is replaced, and every file system can do that
        os.close(os.open(self._name, _FLAGS, 0o666, dir_fd=self._folder))
        try:
            os.replace(self._hidden, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            os.unlink(self._name, dir_fd=self._folder)  # the empty one that keeps the name
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file unless it was kept."""
        with suppress(OSError):
            self.file.close()
        if self._hidden:
            with suppress(OSError):
                os.unlink(self._hidden, dir_fd=self._folder)
        os.close(self._folder)

    def _check_name(self) -> None:
        with suppress(FileNotFoundError):
            os.lstat(self._name, dir_fd=self._folder)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._name)
