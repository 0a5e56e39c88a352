"""Follows one run to its end: progress from the journal, and the reasons to abort.

A run is complete when the dispatcher has removed `PCAPDJ_FINISH`, as the queue is empty, and the analyzer
of the last stream has ended. It is aborted when waiting cannot bring that about.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pcapdj.analyzer.process import LOG_NAME
from pcapdj.console.status_lines import without_exact_bytes
from pcapdj.disk.gate import Cause
from pcapdj.disk.reserve import ANYWAY, Fit
from pcapdj.run.interrupted import interrupted_file
from pcapdj.run.private_service import PrivateService, RoleEnd, shown_role
from pcapdj.run.record import RECORD, FileResult, RunRecord, result_from_journal
from pcapdj.run.view import ProgressView, WaitReason, wait_reason
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped
from pcapdj.runtime.foreign_files import is_file
from pcapdj.runtime.process import end_predicate
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.store.bounded import read_stream
from pcapdj.store.notifier import Notifier
from pcapdj.store.snapshot import read_snapshot

_POLL_S: Final = 0.1
_ROLES_POLL_S: Final = 1.0
_MOST_RESTARTS: Final = 6  # of the analyzer without a finished file in between: it reads nothing of one
_MOST_UNSTARTED: Final = 3  # starts that ended before the analyzer opened the pipe


@dataclass(slots=True)
class RunProgress:
    """How far a run is.

    Args:
        results: of the finished files, in order.
        streams: the ids of the streams that files were sent to.
        analyzer: the last PCAPDJ_CONSUMER.
        exits: how the analyzer of each stream ended, by the stream's id.
        suspects: the streams whose output may be incomplete, and why.
        at_fault: why the dispatcher holds the lane; empty: it does not.
        restarts_before: the analyzer's restarts when the last file was finished.
        interrupted: the file that the next run goes on with, after a stop.
        role_ends: which processes of the private service ended and were started again.
    """

    results: list[FileResult] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    analyzer: Mapping[str, Any] = field(default_factory=dict)
    exits: dict[str, str] = field(default_factory=dict)
    suspects: Mapping[str, str] = field(default_factory=dict)
    at_fault: str = ""
    restarts_before: int = 0
    interrupted: FileResult | None = None
    role_ends: Sequence[RoleEnd] = ()


@dataclass(frozen=True, slots=True)
class AbortReason:
    """Why a run was aborted: a sentence for the user, and the command's exit code."""

    sentence: str
    exit_code: ExitCode


STOPPED_BY_USER: Final = AbortReason("Stopped by the user.", ExitCode.INTERRUPTED)
_SERVICE_DIED: Final = AbortReason("The process that runs the private service died.", ExitCode.ERROR)


class RunMonitor:
    """Watches one run: keeps the results of finished files in the record, shows progress in the view."""

    def __init__(self, service: PrivateService, record: RunRecord, view: ProgressView) -> None:
        self.progress = RunProgress()
        self._service = service
        self._record = record
        self._view = view
        self._journal_position = "-"
        self._is_last_file = False
        self._done_bytes = 0
        self._gate: Mapping[str, Any] = {}
        self._finished_names: set[str] = set()
        self._current: tuple[int, str, WaitReason | None] = (0, "", None)
        self._next_roles_poll_s = 0.0
        self._is_write_error_shown = bool(record.write_error)
        self._shown_ends: set[RoleEnd] = set()  # since a file was fed

    def watch(self, signals: Signals) -> AbortReason | None:
        """Wait until the run is over; return why it was aborted, None if it came to its end."""
        notifier = Notifier(self._service.store)
        try:
            return self._watch(signals, notifier)
        finally:
            notifier.close()

    def _watch(self, signals: Signals, notifier: Notifier) -> AbortReason | None:
        while True:
            notifier.clear()
            self.show_role_ends()
            try:
                self.update()
                if self._is_complete():
                    return None
                reason = self._abort_reason()
                if not reason:  # the summary shows what ends the run
                    self.show()
            except PcapdjError:  # Redis is started again in a moment
                reason = None if self._service.is_alive else _SERVICE_DIED
            if reason:
                return reason
            try:
                signals.wait(_POLL_S, *([notifier] if self._is_last_file else []))
            except Stopped:
                return STOPPED_BY_USER

    def add(self, results: Sequence[FileResult]) -> None:
        """Add the results of files that are finished."""
        for result in results:
            self._done_bytes += result.size_bytes
            self._finished_names.add(result.name)
            self._view.show_result(result)
            if result.is_processed:
                self._shown_ends.clear()
            if result.stream and result.stream not in (*self.progress.streams, *result.earlier_streams):
                self.progress.streams.append(result.stream)
        self.progress.results += results
        self._record.add(results)

    def update(self) -> None:
        """Read what the roles published since the last update, and save the record.

        Raises:
            PcapdjError: Redis does not answer.
        """
        snapshot = read_snapshot(self._service.store, time.time())
        self._gate = snapshot.get("gate") or {}
        self._read_journal()
        self.progress.suspects = snapshot["suspects"]
        self._save_record()
        analyzer = self.progress.analyzer = snapshot.get("consumer") or {}
        for line in str(analyzer.get("last_exits") or "").splitlines():  # a stream may be shorter than a poll
            stream, _, self.progress.exits[stream] = line.partition(" ")
        self._is_last_file = not snapshot.get("queued")  # a message for each of many files would cost more
        dispatcher: dict[str, Any] = next(iter(snapshot.get("dispatchers") or ()), {})
        self.progress.at_fault = str(dispatcher.get("at_fault") or "")
        name, done_bytes = str(dispatcher.get("name") or ""), int(dispatcher.get("done_bytes") or 0)
        if name in self._finished_names:  # the journal is newer than the dispatcher's statistics
            name, done_bytes = "", 0
        self._current = (self._done_bytes + done_bytes, name, wait_reason(snapshot))

    def read_end(self) -> None:
        """After the roles have ended, read what they wrote last, and where the file in flight goes on."""
        service = self._service
        with suppress(PcapdjError):
            self.update()
            found = interrupted_file(service.store, service.dispatcher_id, service.launcher_socket)
            if found:
                self.progress.interrupted = found
                self._record.add([found])

    def show(self) -> None:
        """Show the progress, and why nothing is fed, as of the last update."""
        self._view.show_progress(*self._current)

    def show_role_ends(self) -> None:
        """Show which processes of the service have died; the same end again only after a file was fed."""
        ends = list(self._service.role_ends())
        for end in ends[len(self.progress.role_ends) :]:
            if end not in self._shown_ends:
                self._shown_ends.add(end)
                last_line = self._service.last_log_line(end.role) if end.code > 0 else ""
                how = f"The {end.shown_role} {end_predicate(end.code)} and is started again."
                self._view.show_warning(f"{how} {last_line}".rstrip())
        self.progress.role_ends = ends

    def _read_journal(self) -> None:
        store = self._service.store
        for entry in read_stream(store, store.keys.journal, self._journal_position):
            self._journal_position = f"({entry.id}"
            self.add([result_from_journal(entry.fields)])
            self.progress.restarts_before = int(self.progress.analyzer.get("restarts") or 0)

    def _save_record(self) -> None:
        self._record.save()
        if self._record.write_error and not self._is_write_error_shown:
            self._is_write_error_shown = True
            self._view.show_warning(write_error_sentence(self._record))

    def _is_complete(self) -> bool:
        store = self._service.store
        if store.call(lambda client: client.exists(store.keys.finish)):
            return False
        self._read_journal()
        streams, analyzer = self.progress.streams, self.progress.analyzer
        # behind the last stream with a result come those in which a file of no packet has killed the analyzer
        ended = {analyzer.get("last_stream"), *self.progress.exits}
        has_died = bool(self.progress.role_ends) and not analyzer.get("last_stream")  # with its stream
        return not streams or ((has_died or streams[-1] in ended) and not analyzer.get("stream"))

    def _abort_reason(self) -> AbortReason | None:
        if not self._service.is_alive:
            return _SERVICE_DIED
        if self.progress.at_fault:  # the dispatcher holds the lane; a run has no operator who resumes it
            return self._analyzer_failure("The analyzer is at fault: it died on one file after another.")
        return self._file_that_never_fits() or self._failing_analyzer() or self._failed_role()

    def _file_that_never_fits(self) -> AbortReason | None:
        """Return why the run ends before a file whose output is larger than the disk: no wait would help."""
        reserve = self._gate.get("reserve")
        if self._gate.get("cause") != Cause.RESERVE or not isinstance(reserve, dict):
            return None
        if reserve.get("fit") != Fit.NEVER:
            return None
        reason = without_exact_bytes(str(self._gate.get("reason") or "")).partition(ANYWAY)[0].strip()
        hint = "Feed the rest with a smaller --reserve, or with another disk's folder as --logdir."
        return AbortReason(f"{reason} {hint}", ExitCode.ERROR)

    def _failing_analyzer(self) -> AbortReason | None:
        analyzer = self.progress.analyzer
        if analyzer.get("state") != "failing":
            return None
        restarts = int(analyzer.get("restarts") or 0)
        verdict = analyzer.get("last_verdict")
        is_hopeless = (
            (not verdict and restarts == 0)
            or (verdict == "unstarted" and restarts >= _MOST_UNSTARTED)
            or restarts - self.progress.restarts_before >= _MOST_RESTARTS
        )
        return self._analyzer_failure() if is_hopeless else None

    def _analyzer_failure(self, lead: str = "") -> AbortReason:
        """Return the analyzer's reason, with the path of its log if there is one."""
        analyzer = self.progress.analyzer
        log = Path(str(analyzer.get("logdir") or "")) / LOG_NAME
        sentence = f"{lead} {analyzer.get('reason') or ''}".strip()
        if is_file(log) and quoted(str(log)) not in sentence:
            sentence = f"{sentence.rstrip('.')}; its log is {quoted(str(log))}."
        return AbortReason(sentence, ExitCode.UNAVAILABLE)

    def _failed_role(self) -> AbortReason | None:
        if time.monotonic() < self._next_roles_poll_s:
            return None
        self._next_roles_poll_s = time.monotonic() + _ROLES_POLL_S
        for role in self._service.failed_roles():
            sentence = f"The {shown_role(role)} is not started again. {self._service.last_log_line(role)}"
            return AbortReason(sentence, ExitCode.ERROR)
        return None


def write_error_sentence(record: RunRecord) -> str:
    """Return what to show when the record cannot be written while the run continues."""
    return (
        f"{quoted(str(record.logdir / RECORD))} cannot be written: {record.write_error}. Feeding continues;"
        " the record is kept in memory and written as soon as that is possible."
    )
