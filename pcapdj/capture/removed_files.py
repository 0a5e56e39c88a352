"""Which of many files are gone from their folders, without a wait for a file system that does not answer.

The names come from Redis, so they may be on any file system: a share that captures were imported from weeks
ago, or one that another program names because it hangs. The process that works for others makes no call about
these; `reading_process` does. One that does not answer in time is asked for nothing more.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from pcapdj.capture.folder_state import removed_files
from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.roots import root_of
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.mount_list import present_mounts
from pcapdj.runtime.mounts import mount_of
from pcapdj.runtime.signals import Waits

_ANSWER_LIMIT_S: Final = 2.0  # for some hundred names
_LOCAL: Final = b""

_Files = dict[bytes, tuple[int, bytes | None]]  # name -> device and root


class RemovedFiles:
    """Looks for files that are gone; `close` it.

    Args:
        waits: a stop signal ends each wait.
        roots: files outside of them are not looked at; none: all are.
    """

    def __init__(self, waits: Waits, roots: Sequence[bytes] = ()) -> None:
        self._opener = FileOpener(waits)
        self._roots = roots
        self._silent = set[bytes]()  # mount points

    def among(self, files: Mapping[bytes, int]) -> set[bytes]:
        """Return the names of the files of which it is certain that they are gone.

        Args:
            files: for each name the device of its folder; a folder on another one may be another folder.

        Raises:
            Stopped: a stop signal arrived during a wait.
        """
        mounts, by_mount = present_mounts(), dict[bytes, _Files]()
        for name, device in files.items():
            with suppress(CaptureError):  # outside of the roots
                root, mount = root_of(name, self._roots), mount_of(name, mounts)
                place = mount.place if mount.may_hang else _LOCAL
                by_mount.setdefault(place, {})[name] = (device, root)
        found = removed_files(by_mount.pop(_LOCAL, {}))
        for place in by_mount.keys() - self._silent:
            found |= self._asked(place, by_mount[place])
        return found

    def close(self) -> None:
        """End the process that looks."""
        self._opener.close()

    def _asked(self, place: bytes, files: _Files) -> set[bytes]:
        process = self._opener.take_process()
        try:
            found: set[bytes] = process.ask(("removed", files), place, limit_s=_ANSWER_LIMIT_S)
        except EOFError:
            self._silent.add(place)
            return set()
        self._opener.give_back(process)
        return found
