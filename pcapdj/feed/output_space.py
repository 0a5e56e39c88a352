"""Whether the output disk has room for what an analyzer writes when its stream ends.

Suricata keeps open flows in memory, and writes all of them at the end of its input: tens of megabytes. (An
earlier version that could not pause the analyzer lost 45,000 flow records on a disk with 24 MiB free; without
a launcher nothing can pause it.) So a stream ends only while the controller's gate is open. If no controller
runs, the dispatcher does not wait: it works without one, too.
"""

from typing import Final

from pcapdj.runtime.safe_text import printable_sentence, to_text
from pcapdj.runtime.signals import Waits
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.notifier import Notifier
from pcapdj.store.snapshot import is_recent

_POLL_S: Final = 0.5
_REASON_LIMIT_BYTES: Final = 1000


class OutputSpace:
    """The controller's gate as the end of a stream sees it.

    Args:
        store: the lane.
        notifier: has a message when the gate has changed.
    """

    def __init__(self, store: Store, notifier: Notifier, waits: Waits) -> None:
        self._store = store
        self._notifier = notifier
        self._waits = waits

    def shortage(self) -> str:
        """Return why the gate is not open; empty: it is, or no controller runs.

        Raises:
            Stopped: a stop signal arrived while Redis was away.
        """
        names = ("state", "reason", "heartbeat_s", "cause")
        fields = read_hash(self._store, self._store.keys.gate, names, longest_bytes=_REASON_LIMIT_BYTES)
        is_closed = fields.get(b"state") in {b"hold", b"suspended"}
        is_about_next_file = fields.get(b"cause") in {b"reserve", b"between"}
        if not is_closed or is_about_next_file or not is_recent(fields.get(b"heartbeat_s")):
            return ""
        return printable_sentence(to_text(fields.get(b"reason", b""))) or "The gate is closed."

    def wait(self, shortage: str) -> None:
        """Wait until the gate may have changed, and show why.

        Raises:
            Stopped: a stop signal arrived: then the stream ends with what room there is.
        """
        sentence = f"Waiting for the gate to open before the stream ends: {shortage}"
        self._waits.wait(_POLL_S, self._notifier, waiting_for=sentence)
        self._notifier.clear()
