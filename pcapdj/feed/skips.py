"""Whether the operator wants the file in flight to be skipped: PCAPDJ_SKIP, dispatcher id -> token.

The token is that of the queue entry, so a request never skips another file. While the main thread has a file,
the reporter's thread reads the key (`sync`), and removes each request that it sees. A file that waits for its
storage or its authorization is skipped at once, also while its file system does not answer, a file that is
being fed after a whole record.
"""

import os
from contextlib import suppress
from typing import Final

from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.signals import HasFileno, Waits
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

SKIPPED: Final = "skipped by the operator"  # why a file fails then


class SkipRequests:
    """The requests to one dispatcher.

    Args:
        dispatcher_id: the hash's field.
    """

    def __init__(self, dispatcher_id: str) -> None:
        self._id: Final = dispatcher_id
        self._watched = ""  # token of the entry that may be skipped now
        self._seen = ""  # the last one that is to be skipped
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor that is readable after a request, until `is_requested` is called."""
        return self._event

    def watch(self, token: str) -> None:
        """Look for requests to skip this queue entry's file from now on; empty: for none."""
        self._watched = token

    def is_requested(self, token: str) -> bool:
        """Report whether this queue entry's file is to be skipped."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return self.is_skipped(token)

    def is_skipped(self, token: str) -> bool:
        """Report whether a request for this queue entry's file was seen; costs nothing."""
        return bool(token) and token == self._seen

    def refuse_watched(self) -> None:
        """Let a request end the file that may be skipped now, after `fileno` turned readable, too.

        Raises:
            CaptureError: it is skipped.
        """
        if self.is_requested(self._watched):
            raise CaptureError(SKIPPED)

    def refuse_skipped(self, token: str) -> None:
        """Let a request end the queue entry's file.

        Raises:
            CaptureError: it is skipped.
        """
        if self.is_skipped(token):
            raise CaptureError(SKIPPED)

    def sync(self, store: Store) -> None:
        """Look for a request, and remove it.

        Raises:
            As `Store.call`.
        """
        if not (token := self._watched):
            return
        key = store.keys.skip
        if requests := list(read_hash(store, key, [self._id]).values()):
            if token.encode() in requests:  # else it came too late for an earlier file
                self._seen = token
                os.eventfd_write(self._event, 1)
            store.call(lambda client: client.hdel(key, self._id))


class SkippableWaits:
    """Waits for a file's storage, its content or a comparison, which a request to skip the file ends.

    Args:
        waits: where it waits.
        skips: the requests.
    """

    def __init__(self, waits: Waits, skips: SkipRequests) -> None:
        self._waits = waits
        self._skips = skips

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait, as `Waits`.

        Raises:
            CaptureError: the file is skipped.
            Stopped: as `Waits.wait`.
        """
        self._waits.wait(timeout_s, *readable, self._skips, stops=stops, waiting_for=waiting_for)
        self._skips.refuse_watched()
