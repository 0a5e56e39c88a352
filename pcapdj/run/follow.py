"""Following one run to its end: progress from the journal, and the reasons to give up.

A run is over when the operator's wish `PCAPDJ_FINISH empty` was fulfilled and the analyzer of the last stream
has ended. It is given up when nothing can bring it to that.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from pcapdj.analyzer.process import LOG_NAME
from pcapdj.run.private_service import PrivateService
from pcapdj.run.record import FedFile, RunRecord, fed_file
from pcapdj.run.view import Hold, View, hold_of
from pcapdj.runtime.errors import ExitCode, PcapdjError
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.store.snapshot import read_snapshot

_LOOK_S: Final = 0.1
_ROLES_LOOK_S: Final = 1.0
_MANY_RESTARTS: Final = 6  # of the analyzer without a file done with in between: it takes no byte of one
_UNSTARTED_LIMIT: Final = 3  # starts that ended before the analyzer opened the pipe


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Args:
        files: what became of files, in order.
        streams: the ids of the streams that files went into.
        analyzer: the last PCAPDJ_CONSUMER.
        exits: how the analyzer of each stream ended, by the stream's id.
        at_fault: why the dispatcher holds the lane; empty: it does not.
        restarts_before: the analyzer's restarts when the last file was done with.
    """

    files: list[FedFile] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    analyzer: Mapping[str, Any] = field(default_factory=dict)
    exits: dict[str, str] = field(default_factory=dict)
    at_fault: str = ""
    restarts_before: int = 0


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Why a run did not come to its end.

    Args:
        reason: a sentence.
        exit_code: of the command.
    """

    reason: str
    exit_code: ExitCode


class Running:
    """One run being followed.

    Args:
        session: the private service.
        record: where finished files are noted.
        view: where progress is shown.
    """

    def __init__(self, session: PrivateService, record: RunRecord, view: View) -> None:
        self.progress = Progress()
        self._session = session
        self._record = record
        self._view = view
        self._journal_at = b"-"
        self._done_bytes = 0
        self._finished: set[str] = set()
        self._shown: tuple[int, str, Hold | None] = (0, "", None)
        self._next_roles_look_s = 0.0

    def follow(self, signals: Signals) -> GaveUp | None:
        """Wait until the run is over; None if it came to its end."""
        while True:
            try:
                self.look()
                if self._is_over():
                    return None
                reason = self._reason_to_give_up()
                if not reason:  # what ends the run is said at its end
                    self.show()
            except PcapdjError as exc:
                reason = None if self._session.is_alive else GaveUp(str(exc), ExitCode.ERROR)
            if reason:
                return reason
            if signals.wait(_LOOK_S):
                return GaveUp("Stopped by the user.", ExitCode.INTERRUPTED)

    def look(self) -> None:
        """Take note of what was finished since the last look.

        Raises:
            PcapdjError: Redis does not answer.
        """
        board = read_snapshot(self._session.store, time.time())
        self._read_journal()
        self._record.save()
        analyzer = self.progress.analyzer = board.get("consumer") or {}
        if ended := analyzer.get("last_stream"):  # no stream is shorter than a look: its header takes 0.3 s
            self.progress.exits[str(ended)] = str(analyzer.get("last_exit"))
        current: dict[str, Any] = next(iter(board.get("dispatchers") or ()), {})
        self.progress.at_fault = str(current.get("at_fault") or "")
        name, done_bytes = str(current.get("name") or ""), int(current.get("done_bytes") or 0)
        if name in self._finished:  # the journal knows it already, the dispatcher's statistics come later
            name, done_bytes = "", 0
        self._shown = (self._done_bytes + done_bytes, name, hold_of(board))

    def show(self) -> None:
        """Show how far it is, and why nothing moves, as of the last look."""
        self._view.progress(*self._shown)

    def _read_journal(self) -> None:
        store = self._session.store
        entries = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            store.call(lambda client: client.xrange(store.keys.journal, min=self._journal_at)),
        )
        if not entries:
            return
        self._journal_at = b"(" + entries[-1][0]
        files = [fed_file(entry) for _, entry in entries]
        for file in files:
            self._done_bytes += file.numbers.get("size_bytes", 0)
            self._finished.add(file.name)
            self._view.finished(file.name, file.packets, file.reason)
            if file.stream and file.stream not in self.progress.streams:
                self.progress.streams.append(file.stream)
        self.progress.files += files
        self.progress.restarts_before = int(self.progress.analyzer.get("restarts") or 0)
        self._record.add(files)

    def _is_over(self) -> bool:
        store = self._session.store
        if store.call(lambda client: client.exists(store.keys.finish)):
            return False
        self._read_journal()
        streams, analyzer = self.progress.streams, self.progress.analyzer
        return not streams or (analyzer.get("last_stream") == streams[-1] and not analyzer.get("stream"))

    def _reason_to_give_up(self) -> GaveUp | None:
        if not self._session.is_alive:
            return GaveUp("supervisord died.", ExitCode.ERROR)
        return self._held_lane() or self._failing_analyzer() or self._failed_role()

    def _held_lane(self) -> GaveUp | None:
        """Give up where the dispatcher holds the lane: nobody is there to resume it."""
        if not self.progress.at_fault:
            return None
        return self._of_analyzer("The analyzer is at fault: it died on one file after another.")

    def _of_analyzer(self, lead: str = "") -> GaveUp:
        """Return that it is given up because of the analyzer: its last words, and where it has said more."""
        analyzer = self.progress.analyzer
        log = Path(str(analyzer.get("logdir") or "")) / LOG_NAME
        told = f"{lead} {analyzer.get('reason') or ''}".strip()
        if log.is_file():
            told = f"{told.rstrip('.')}; its log is {quoted(str(log))}."
        return GaveUp(told, ExitCode.UNAVAILABLE)

    def _failing_analyzer(self) -> GaveUp | None:
        analyzer = self.progress.analyzer
        if analyzer.get("state") != "failing":
            return None
        restarts = int(analyzer.get("restarts") or 0)
        verdict = analyzer.get("last_verdict")
        is_hopeless = (
            (not verdict and restarts == 0)
            or (verdict == "unstarted" and restarts >= _UNSTARTED_LIMIT)
            or restarts - self.progress.restarts_before >= _MANY_RESTARTS
        )
        return self._of_analyzer() if is_hopeless else None

    def _failed_role(self) -> GaveUp | None:
        if time.monotonic() < self._next_roles_look_s:
            return None
        self._next_roles_look_s = time.monotonic() + _ROLES_LOOK_S
        for role in self._session.failed_roles():
            return GaveUp(f"The {role} does not stay up. {self._session.last_words(role)}", ExitCode.ERROR)
        return None
