"""Files on which an importer died: they are queued unread, and the dispatcher decides about them.

The importer decompresses the beginning of each archive. A codec that crashes there would end every importer
at the same file, and nothing would be queued any more. So it notes which file it reads. If the note is still
there when an importer starts, the importer before died on that file: the file is a suspect until it
changes. The dispatcher counts its own deaths on a file and fails it at last (`feed.poison`).

    slot 0   digest, "1": a look at this file has begun; "0": and has ended
    slot n   digest, line feed: a suspect

The file is small, in the user's own folder, and survives a `kill -9` in the page cache. Without it the
importer works as well, until such a file comes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from pcapdj.runtime.errors import CannotCreate, PcapdjError
from pcapdj.runtime.mounts import any_may_hang
from pcapdj.runtime.places import private_folder, user_folder

MOST_SUSPECTS: Final = 1000  # the newest
_DIGEST_CHARS: Final = 32
_SLOT_BYTES: Final = _DIGEST_CHARS + 1


class Version(Protocol):
    """What changes when a file is written to."""

    @property
    def size_bytes(self) -> int:
        """Return its size."""

    @property
    def mtime_ns(self) -> int:
        """Return its modification time."""


class Suspects:
    """The suspects of one importer.

    Args:
        path: of the file about them; None: none is known, and none is remembered.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._fd = _opened(path) if path else None
        self._digests: list[bytes] = []
        if self._fd is not None:
            self._read(self._fd)

    def has(self, name: bytes, version: Version) -> bool:
        """Report whether an importer died in a look into this version of the file."""
        return _digest(name, version) in self._digests

    @contextmanager
    def looking(self, name: bytes, version: Version) -> Iterator[None]:
        """Note a look into the file for the block; an error that no code expects leaves it noted."""
        digest = _digest(name, version)
        self._write(digest + b"1", 0)
        try:
            yield
        except PcapdjError:
            self._write(digest + b"0", 0)
            raise
        self._write(digest + b"0", 0)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _read(self, fd: int) -> None:
        content = os.pread(fd, (MOST_SUSPECTS + 1) * _SLOT_BYTES, 0)
        slots = [content[at : at + _SLOT_BYTES] for at in range(0, len(content), _SLOT_BYTES)]
        self._digests = [slot[:-1] for slot in slots[1:] if len(slot) == _SLOT_BYTES]
        if slots and slots[0][_DIGEST_CHARS:] == b"1":
            self._digests = [*self._digests, slots[0][:_DIGEST_CHARS]][-MOST_SUSPECTS:]
            listed = b"".join(digest + b"\n" for digest in self._digests)
            self._write(listed, _SLOT_BYTES)
            self._write(slots[0][:_DIGEST_CHARS] + b"0", 0)

    def _write(self, data: bytes, position: int) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.pwrite(self._fd, data, position)


def suspects_of(lane: str, folders: list[bytes]) -> Suspects:
    """Return the suspects of the importer of these folders into this lane."""
    return Suspects(_path_of(lane, folders))


def forget_look(lane: str, folders: list[bytes]) -> None:
    """Forget the look that such an importer has noted: a hang ended it, and not the file.

    Where the note itself may hang it is left: the file is queued unread.
    """
    if any_may_hang([os.fsencode(os.environ.get("XDG_RUNTIME_DIR") or "/")]):
        return
    if (path := _path_of(lane, folders)) and (fd := _opened(path)) is not None:
        with suppress(OSError):
            os.pwrite(fd, b"0", _DIGEST_CHARS)
        os.close(fd)


def _path_of(lane: str, folders: list[bytes]) -> Path | None:
    """Return the path of the file about them; None: this user can have none."""
    digest = sha256(b"\0".join([lane.encode("utf-8", "surrogateescape"), *folders])).hexdigest()
    folder = user_folder()
    try:
        private_folder(folder)
    except CannotCreate:
        return None
    return folder / f"importer-{digest[:16]}.suspects"


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:
        return None


def _digest(name: bytes, version: Version) -> bytes:
    about = b"%s\0%d %d" % (name, version.size_bytes, version.mtime_ns)
    return sha256(about).hexdigest()[:_DIGEST_CHARS].encode("ascii")
