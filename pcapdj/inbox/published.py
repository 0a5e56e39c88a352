"""PCAPDJ_IMPORTER: what the watching importer does, how many names it skips, and what is unusual.

It is written once a second by a thread of its own, so that `status` also shows an importer whose look into a
folder does not return. It writes the latest numbers of the main thread.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pcapdj.inbox.problem_log import ProblemLog
from pcapdj.inbox.watcher import InboxCounts
from pcapdj.runtime.child_process import heartbeat_s
from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import RETRY_S, Store

_REPORT_S: Final = 1.0
_STOP_LIMIT_S: Final = 0.15  # for the last report; a hung Redis must not delay the exit


class Publisher:
    """Publishes the importer's state, and logs looks into folders that take long.

    Args:
        store: the lane; a client of its own is made of it.
        problem_logs: of the folders.
    """

    def __init__(self, store: Store, problem_logs: Sequence[ProblemLog]) -> None:
        self._store = store.another()
        self._problem_logs = problem_logs
        self._counts: Mapping[str, str | int] = {}
        self._event: Mapping[str, str | int] = {}
        self._lost_names = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin publishing."""
        self._thread.start()

    def stop(self) -> None:
        """Publish once more and end; a hung Redis is not waited for."""
        self._stop.set()
        self._thread.join(timeout=_STOP_LIMIT_S)

    def count(self, counts: Sequence[InboxCounts], known: int, overlaps: Sequence[str]) -> None:
        """Publish these numbers from now on.

        Args:
            counts: of each folder.
            known: captures that were not queued, because they were fed before under another name or time.
            overlaps: captures that overlap in time, in sentences.
        """
        skipped = sum((Counter(each.skipped) for each in counts), Counter[str]())
        self._counts = {
            "waiting": sum(each.waiting for each in counts),
            "written": sum(each.written for each in counts),
            "skipped": json.dumps(skipped),
            "known": known,
            "overlaps": json.dumps(list(overlaps)),
        }

    def note(self, event: str) -> None:
        """Publish that something happened."""
        self._event = {"last_event": event, "last_event_s": f"{time.time():.3f}"}

    def lose(self, names: int) -> None:
        """Publish that Redis has lost this many more names of the queue."""
        self._lost_names += names

    def _work(self) -> None:
        pause_s = _REPORT_S
        while not self._stop.wait(pause_s):
            for problem_log in self._problem_logs:
                problem_log.log_slow_look(time.monotonic())
            pause_s = self._report("watching")
        self._report("stopped")

    def _report(self, state: str) -> float:
        """Publish the state; return the pause until the next report, in seconds."""
        fields: dict[Any, Any] = {
            "state": state,
            "pid": os.getpid(),
            "heartbeat_s": f"{heartbeat_s():.3f}",
            "folders": json.dumps([to_text(each.folder) for each in self._problem_logs]),
            "problem": " ".join(each.problem for each in self._problem_logs if each.problem),
            "lost_names": self._lost_names,
            **self._counts,
            **self._event,
        }
        try:
            self._store.call(lambda client: client.hset(self._store.keys.importer, mapping=fields))
        except StoreUnavailable:  # the main thread logs what is wrong with Redis
            return RETRY_S
        except PcapdjError:
            pass
        return _REPORT_S
