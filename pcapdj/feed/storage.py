"""Opens a dispatcher's files, and waits while their storage is away, before the announcement and in mid-file.

`capture.storage` decides whether file or storage is at fault. Statistics and log show what the dispatcher
waits for, and how many queued names wait for it, too. The wait ends when the file can be opened again, or
with `pcapdj skip`.
"""

import errno
import os
import time
from contextlib import suppress
from typing import Final

from pcapdj.capture.capture import Capture
from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.identity import QueuedFile
from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.roots import root_of
from pcapdj.capture.storage import FileMount, FolderState, StorageFault, storage_fault_of
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.skips import SKIPPED, SkipRequests
from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.errors import CaptureError, PcapdjError
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.mount_list import boot_id
from pcapdj.runtime.mounts import mount_of
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted, to_name, to_text
from pcapdj.runtime.units import rough_duration
from pcapdj.store.client import Store
from pcapdj.store.job_queue import QueueEntry
from pcapdj.store.snapshot import queued_below

_POLL_S: Final = 0.5  # a file system that is mounted again is noticed after this long
_TRIES: Final = 3  # of a file whose disk may have a bad block

events = EventLog("dispatcher")


class CaptureStorage:
    """The storage of one dispatcher's files; it has one file at a time.

    Args:
        store: the lane; read only for the number of queued names that wait, too.
        opener: opens files; a request to skip the file ends its waits.
        roots: files must lie below one of them; none: anywhere.
        skips: an operator's requests.
        interrupts: every wait goes through it.
        statistics: show what is waited for.
        timeout_s: for a folder that is gone from a file system that is there; 0: without limit.
    """

    def __init__(  # noqa: PLR0913 - a collaborator each
        self,
        store: Store,
        opener: FileOpener,
        roots: tuple[bytes, ...],
        skips: SkipRequests,
        interrupts: Interrupts,
        statistics: Statistics,
        timeout_s: float,
    ) -> None:
        self.waits: Final = opener.waits
        self._store = store
        self._opener = opener
        self._roots = roots
        self._skips = skips
        self._interrupts = interrupts
        self._statistics = statistics
        self._timeout_s = timeout_s
        self._name, self._token = b"", ""
        self._recorded: FileMount | None = None
        self._fault: StorageFault | None = None  # why it waits; None: it does not
        self._place, self._reason = b"", ""  # what it waits for, and what is wrong with it
        self._since_s = self._begun_s = 0.0  # wall clock, monotonic clock
        self._tries = 0
        self._was_at_fault = False  # the file, as far as the last look showed
        self._others = ""  # how many queued names wait for the same place, as a sentence
        self._count = Reminder()

    def begin(self, entry: QueueEntry, recorded: FileMount | None) -> None:
        """Begin with a queue entry's file.

        Args:
            entry: whose file it is.
            recorded: where the file was; None: nothing is recorded of it.
        """
        self._name, self._token, self._recorded = entry.name, entry.token, recorded
        self._skips.watch(entry.token)
        self._clear()

    def finish(self) -> None:
        """End with the file: it has its result."""
        self._skips.watch("")

    def refuse_skipped(self) -> None:
        """Let an operator's request end the file that is fed; call it between two pieces.

        Raises:
            CaptureError: it is skipped.
        """
        self._skips.refuse_skipped(self._token)

    def end(self, capture: Capture) -> FileMount | None:
        """End the wait, if there was one: the file is open. Return where it is; None: unknown."""
        if capture.file.mount:
            self._recorded = FileMount(capture.file.mount, capture.identity.dev, boot_id())
        if self._fault:
            waited_s = round(time.monotonic() - self._begun_s)
            events.info("storage_back", "The file can be opened again.", name=self._name, waited_s=waited_s)
        self._clear()
        return self._recorded

    def open(self, *, refuse_written: bool = True) -> OpenFile:
        """Open the file by its name.

        Raises:
            StillWritten, CaptureError, Stopped: as `FileOpener.open`; `wait` decides whose fault it is.
        """
        root, device = root_of(self._name, self._roots), None
        while True:
            file = self._opener.open(self._name, root=root, refuse_written=refuse_written)
            try:
                before, device = device, file.identity().dev
                if not self._is_elsewhere(device) or device == before:
                    return file
            except PcapdjError:
                file.close()
                raise
            file.close()  # opened before the disk was mounted, or on a disk with a new number: that stays

    def wait(self, error: CaptureError) -> None:
        """Wait a moment after a failed call; then look after the open stream, and open the file again.

        Raises:
            CaptureError: the file is at fault, its folder does not come back, or the operator skips it.
            Stopped: a stop signal arrived.
        """
        try:
            self._wait(error)
        except BaseException:
            self._clear()
            raise

    def _wait(self, error: CaptureError) -> None:
        fault = self._fault_of(error)
        if fault is StorageFault.FILE:
            if self._recorded is None or self._was_at_fault:
                raise error
            self._was_at_fault = True  # unless its storage came back between the failed call and the look
            return
        self._was_at_fault = False
        if fault is not self._fault:
            self._begin_wait(fault, error)
        self._tries += fault is StorageFault.BAD_BLOCK
        if self._tries >= _TRIES:
            raise error
        if fault is StorageFault.FOLDER_GONE and 0 < self._timeout_s <= time.monotonic() - self._begun_s:
            raise CaptureError("its folder was removed") from error
        if fault is not StorageFault.BAD_BLOCK:
            self._count_queued()
        self._interrupts.wait(_POLL_S, self._skips, waiting_for=self._sentence())
        if self._skips.is_requested(self._token):
            raise CaptureError(SKIPPED) from error

    def _is_elsewhere(self, device: int) -> bool:
        """Report whether an open file has another device than the recorded one.

        That alone is no reason to refuse it: NFS, FUSE and others get a new number at each mount.

        Raises:
            CaptureError: it is from below the mount point, and nothing is mounted there.
        """
        recorded = self._recorded
        if recorded is None or not recorded.mount or recorded.device == device:
            return False
        if not self._look().mount_type:
            raise CaptureError("is not on the file system that it was queued from", error_number=errno.ENODEV)
        return True

    def _fault_of(self, error: CaptureError) -> StorageFault:
        """Return whose fault it is.

        Raises:
            CaptureError: that of the file, whatever its storage does: no call failed.
        """
        if not error.error_number:
            raise error
        return storage_fault_of(error.error_number, self._recorded, self._look())

    def _look(self) -> FolderState:
        """Look at the place of the file, with no step out of its root: a link there may lead anywhere."""
        mount = self._recorded.mount if self._recorded else b""
        return self._opener.folder_state(self._name, mount, root_of(self._name, self._roots))

    def _begin_wait(self, fault: StorageFault, error: CaptureError) -> None:
        self._fault, self._since_s, self._begun_s, self._tries = fault, time.time(), time.monotonic(), 0
        self._reason = os.strerror(error.error_number)
        self._place = os.path.dirname(self._name)  # noqa: PTH120 - bytes
        if fault is StorageFault.STORAGE_GONE:
            self._place = self._recorded.mount if self._recorded else mount_of(self._name).place
            if error.error_number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENODEV):
                self._reason = "its file system is not mounted there"
        elif fault is StorageFault.FOLDER_GONE:
            self._reason = "the folder is gone"
        self._count.reset()
        if fault is StorageFault.BAD_BLOCK:
            sentence = f"It {error}; it is opened {_TRIES} times before it fails."
            events.info("opening_failed", sentence, name=self._name)
        else:
            sentence = f"The file is not at fault: {self._reason}. Waiting; 'pcapdj skip' gives it up."
            events.warning("storage_gone", sentence, name=self._name, place=self._place)

    def _count_queued(self) -> None:
        """Once a minute, count the queued names that wait for the same place."""
        if not self._count.is_due(self._place, time.monotonic()):
            return
        names, is_complete = 0, True
        with suppress(PcapdjError):  # it is only a number for people
            names, is_complete = queued_below(self._store, self._place)
        self._others = others_text(names, is_complete=is_complete)
        self._statistics.wait_for_storage(self._place, self._since_s, names)

    def _sentence(self) -> str:
        """Return what it waits for, for people."""
        if self._fault is StorageFault.BAD_BLOCK:
            return f"Waiting for the next try to open the file: {self._reason}."
        since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self._since_s))
        limit = ""
        if self._fault is StorageFault.FOLDER_GONE and self._timeout_s:
            limit = f", for at most {rough_duration(self._timeout_s)}"
        return f"Waiting for {quoted(self._place)} since {since}{limit}: {self._reason}.{self._others}"

    def _clear(self) -> None:
        self._fault, self._others, self._was_at_fault = None, "", False
        self._statistics.wait_for_storage(b"", 0, 0)


def recorded_in(queued: str) -> FileMount | None:
    """Return where a queued file was, as it stands in PCAPDJ_CURRENT; None: that is not recorded."""
    file = QueuedFile.from_line(queued, or_again=True)
    return FileMount(to_name(file.mount), file.identity.dev, file.boot) if file else None


def line_about(identity: Identity, place: FileMount) -> str:
    """Return what PCAPDJ_CURRENT gets about a file that another program pushed: it is fed whole anyway."""
    return QueuedFile(identity, 0, "", to_text(place.mount), place.boot).as_line(again=True)


def others_text(names: int, *, is_complete: bool) -> str:
    """Return how many queued names wait, too, as a sentence behind a blank; empty: none.

    Args:
        names: that were counted.
        is_complete: all queued names were looked at.
    """
    if not names:
        return ""
    waiting = counted(names, "queued file waits", "queued files wait")
    return f" {'' if is_complete else 'At least '}{waiting} for it, too."
