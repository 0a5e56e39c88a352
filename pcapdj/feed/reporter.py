"""The one thread of a dispatcher that uses Redis while a file is fed: statistics out, suspension in.

With each report it keeps the dispatcher registered, and notices what Redis has lost. A slow or absent Redis
delays this thread and nothing else; the main thread logs what is wrong with Redis.
"""

import threading
import time
from contextlib import suppress
from typing import Any, Final

from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.streams import Streams
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.log import EventLog
from pcapdj.store.client import Store
from pcapdj.store.registration import Registration
from pcapdj.store.samples import Sampler

events = EventLog("dispatcher")

_POLL_S: Final = 0.2  # a suspension has to be seen within 0.5 s
_REPORT_S: Final = 1.0  # `status` shows the age of the last report
_STOP_LIMIT_S: Final = 0.15  # for the last report; a hung Redis must not delay the exit


class Reporter:
    """Publishes PCAPDJ_STATS:<id> once a second and reads PCAPDJ_SUSPEND five times a second."""

    def __init__(  # noqa: PLR0913 - a collaborator each
        self,
        store: Store,
        dispatcher_id: str,
        *,
        statistics: Statistics,
        streams: Streams,
        suspension: Suspension,
        skips: SkipRequests,
        registration: Registration,
    ) -> None:
        self._store = store.another()
        self._key: Final = store.keys.stats(dispatcher_id)
        self._sampler = Sampler(store.keys.samples_of(dispatcher_id))
        self._statistics = statistics
        self._streams = streams
        self._suspension = suspension
        self._skips = skips
        self._registration = registration
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin reporting."""
        self._thread.start()

    def stop(self) -> None:
        """Report once more and end; a hung Redis is not waited for."""
        self._stop.set()
        self._thread.join(timeout=_STOP_LIMIT_S)

    def _work(self) -> None:
        next_report_s = 0.0
        while not self._stop.is_set():
            with suppress(PcapdjError):
                self._suspension.sync(self._store)
                self._skips.sync(self._store)
                if time.monotonic() >= next_report_s:
                    self._report()
                    self._registration.keep(self._store)
                    self._note_losses()
                    next_report_s = time.monotonic() + _REPORT_S
            self._stop.wait(_POLL_S)
        with suppress(PcapdjError):
            self._report()

    def _note_losses(self) -> None:
        """Log and show what Redis has lost of this dispatcher and of the queue."""
        restored, lost = self._registration.restored, self._registration.lost_names
        if restored > self._statistics.restored:
            sentence = "Redis had lost this dispatcher or its current file. It is written again."
            events.warning("registration_restored", sentence, times=restored)
        if lost > self._statistics.lost_names:
            names = lost - self._statistics.lost_names
            sentence = (
                "Redis has lost the queue: import the files again. It may have restarted without its data."
            )
            events.error("queue_lost", sentence, names=names)
        self._statistics.show_losses(restored, lost, time.time())

    def _report(self) -> None:
        fields = dict[Any, Any](self._statistics.published())
        fields |= {"stalled_s": round(self._streams.stalled_s()), "heartbeat_s": f"{time.time():.3f}"}
        with self._store.redis.pipeline(transaction=False) as batch:
            batch.hset(self._key, mapping=fields)
            if self._sampler.is_due():
                self._sampler.add(batch, {"read_bytes": fields["read_bytes"]})
            self._store.call(lambda _: batch.execute())
