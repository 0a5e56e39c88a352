"""One queue entry from take to finish: open the file, get it authorized, feed it, write down the result."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace

from pcapdj.capture.anomalies import TIMES_AFTER_2038, Anomaly, anomalies_of
from pcapdj.capture.fed_before import Found, SameCapture
from pcapdj.capture.identity import FedCapture
from pcapdj.capture.opening import Capture, StillWritten, capture_of
from pcapdj.capture.storage import is_gone
from pcapdj.capture.timestamps import find_jump, gap_ns
from pcapdj.feed.analyzer_link import AnalyzerLink
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.feeder import Feeder, FilePass
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.known_captures import (
    KnownCaptures,
    about_capture,
    anomalies_of_found,
    fed_before,
    fed_capture,
    start_behind,
)
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.start_point import (
    FIRST_PACKET,
    StartPoint,
    start_point_after,
    start_point_or_first,
)
from pcapdj.feed.statistics import FEEDING, WAITING, Statistics
from pcapdj.feed.storage import CaptureStorage, line_about, recorded_in
from pcapdj.feed.streams import Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, LauncherGone, Overwritten, ReaderGone
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.job_queue import Fields, JobQueue, QueueEntry, Result, failure_entry

events = EventLog("dispatcher")


@dataclass(slots=True)
class Job:
    """One taken queue entry, and how far its file came.

    Args:
        entry: as Redis has it.
        start: where its passes begin.
        progress: of the last pass.
        stream: of the last pass; empty before.
        identity: of the file; empty until it is open.
        anomalies: of the file, in the last pass.
        found: the capture fed before that its file is, begins with, or begins like.
        fed: its capture, and the digests that it becomes known under; None: it does not.
    """

    entry: QueueEntry
    start: StartPoint
    progress: FileProgress
    stream: str
    identity: Fields = field(default_factory=dict)
    anomalies: Sequence[Anomaly] = ()
    found: Found = None
    fed: tuple[str, FedCapture] | None = None

    @property
    def note(self) -> ResumeNote:
        """What the next dispatcher needs of it."""
        return ResumeNote(self.entry.token, self.entry.name)

    def result(self, error: CaptureError | None) -> Result:
        """Return what Redis gets of it."""
        name, packets, attempt = self.entry.name, self.progress.totals.packets, self.entry.attempt
        earlier = self.start.streams
        journal = self.progress.journal() | {"attempt": attempt, "reason": str(error or "")}
        journal["earlier_streams"] = json.dumps(earlier) if earlier else ""
        journal |= {"begin_bytes": self.start.begin_bytes or "", **about_capture(self.found, self.fed)}
        capture = self.fed and (self.fed[0], self.fed[1].as_fields())
        if error is None:
            return Result(name, "processed", self.identity, journal, earlier, capture)
        is_lost = isinstance(error, Overwritten)
        entry = failure_entry(name, error, packets, attempt, is_lost=is_lost)
        identity = {} if is_lost else self.identity  # that of the file which has its name now
        return Result(entry, "failed", identity, journal, earlier, capture, is_lost)


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs one job after another.

    Args:
        max_gap_ns: a longer pause between two files is reported; 0: none is.
    """

    queue: JobQueue
    authorization: Authorization
    link: AnalyzerLink
    streams: Streams
    feeder: Feeder
    known_captures: KnownCaptures
    poison: PoisonPolicy
    mark: ReadingMark
    storage: CaptureStorage
    interrupts: Interrupts
    statistics: Statistics
    max_gap_ns: int

    def run(self, entry: QueueEntry) -> None:
        """Feed the entry's file, and move the entry to PROCESSED or FAILED.

        Raises:
            Stopped: a stop signal arrived; the next dispatcher goes on with this entry.
        """
        start = start_point_or_first(entry.begin, entry.name)
        progress = self.feeder.delivered(entry.token, start)
        job = Job(entry, start, progress, entry.stream if progress.has_begun else "".join(start.streams[-1:]))
        is_resumed = self.streams.unfinished_token() == entry.token
        if entry.state == "feeding" and not is_resumed and not self.streams.is_open(entry.stream):
            self.link.wait_for_readers_to_close()
            self._begin_pass(job, died=False)
        self.statistics.begin_file(entry.name)
        self.storage.begin(entry, recorded_in(entry.queued))
        events.info("next_file", name=entry.name, attempt=job.entry.attempt)
        error: CaptureError | None = None
        try:
            self._begin_reading(job)
            is_done = None
            while is_done is None:
                is_done = self._open_and_feed(job, is_resumed=is_resumed)
            if not is_done:
                _log_forgotten(job)
                return
        except CaptureError as exc:
            was_begun = job.progress.has_begun or job.entry.attempt > 1 or job.start.streams
            error = exc if was_begun else self.known_captures.cause_of(job.entry, exc)
        self._finish(job, error)

    def _open_and_feed(self, job: Job, *, is_resumed: bool) -> bool | None:
        """Open the file and feed it, unless it is known; the result is that of `_feed_until_done`."""
        with self._open(job, is_resumed=is_resumed) as capture:
            self.statistics.show_size(capture.identity.size_bytes)
            return isinstance(job.found, SameCapture) or self._feed_until_done(job, capture)

    def _begin_reading(self, job: Job) -> None:
        """Refuse a file that killed three dispatchers; with its identity, or the importer queues it again.

        Raises:
            CaptureError: it did.
        """
        try:
            self.poison.begin(job.entry)
        except CaptureError:
            with suppress(CaptureError), closing(self.storage.open()) as file:
                job.identity = file.identity()._asdict()
            raise

    def _open(self, job: Job, *, is_resumed: bool) -> Capture:
        """Open the file, and look whether it is known; while its storage is away, wait for that."""
        while True:
            try:
                capture = self._opened(job, is_resumed=is_resumed)
            except CaptureError as exc:
                self.storage.wait(exc)
                if not is_resumed:
                    self.streams.lose_if_broken()
            else:
                break
        if (place := self.storage.end(capture)) and not recorded_in(job.entry.queued):
            # for the next dispatcher, if the storage goes away
            self.queue.mark(queued=line_about(capture.identity, place))
        return capture

    def _opened(self, job: Job, *, is_resumed: bool) -> Capture:
        with self.mark.reading():
            capture = self._open_file(job, is_resumed=is_resumed)
        with ExitStack() as undone:
            undone.callback(capture.close)
            job.identity = capture.identity._asdict()
            capture.digest()  # read now: it is compared if the storage goes away
            if not is_resumed:
                self._look(job, capture)
            undone.pop_all()
        return capture

    def _open_file(self, job: Job, *, is_resumed: bool) -> Capture:
        if is_resumed and (capture := self.feeder.unfinished_capture()):
            return capture
        try:
            return self._open_named(job.entry.name)
        except StillWritten as exc:
            if exc.settles_in_s is None:
                raise
            sentence = f"Waiting {exc.settles_in_s:.0f} s: the file may still be written."
            self.interrupts.sleep(exc.settles_in_s, waiting_for=sentence)
            return self._open_named(job.entry.name)

    def _open_named(self, name: bytes) -> Capture:
        return capture_of(name, self.storage.open(), self.storage.waits, has_checksums=True)

    def _look(self, job: Job, capture: Capture) -> None:
        """Find out whether the file was fed already, and set where its passes begin.

        Raises:
            CaptureError: it is not the file that was queued, or not the one that was fed in part.
        """
        if job.start.streams:
            if change := job.start.change(capture):
                _keep_fed_part(job, capture)
                raise change
            return
        with self.mark.reading():
            job.found = self.known_captures.find(job.entry, capture)
            job.start = start_behind(job.found, capture)
        begin = "" if job.start is FIRST_PACKET else job.start.as_json()
        if begin != job.entry.begin:
            self.queue.mark(begin=begin)
            job.entry = replace(job.entry, begin=begin)
        if isinstance(job.found, SameCapture):
            job.fed = ("", job.found.capture)

    def _feed_until_done(self, job: Job, capture: Capture) -> bool | None:
        """Feed the file into one stream after another.

        Returns:
            False if Redis does not have the entry any more; None if the file changed before its first pass.
        """
        while True:
            try:
                job.entry = self.poison.entry_to_feed(job.entry)
                self.feeder.prepare_stream(job.entry.token, capture)
                if not self._get_authorization(job, capture):
                    return False
                if self._has_changed(job, capture):
                    return None
                self._feed(job, capture)
            except (ReaderGone, LauncherGone) as exc:
                self._replay(job, exc)
            else:
                return True

    def _has_changed(self, job: Job, capture: Capture) -> bool:
        """Report whether the file has changed since it was opened; the authorization may have taken days.

        Raises:
            CaptureError: it has, and earlier streams have its beginning.
        """
        change = capture.change_since_opened()
        if change and is_gone(change.error_number):
            return False  # the pass waits for its storage, and compares it then
        if change and job.start.streams:
            _keep_fed_part(job, capture)
            raise change
        return bool(change) and job.entry.attempt == 1 and not job.progress.has_begun

    def _get_authorization(self, job: Job, capture: Capture) -> bool:
        self.streams.wait_for_peer()
        self.statistics.show(WAITING)
        events.info("waiting_for_authorization", name=job.entry.name)
        if is_granted := self.authorization.wait(job.entry, job.start.request_fields(capture)):
            events.info("authorized", name=job.entry.name)
        return is_granted

    def _feed(self, job: Job, capture: Capture) -> None:
        self.statistics.show(FEEDING)
        begun_s = time.monotonic()
        job.progress = self.feeder.delivered(job.entry.token, job.start)
        self.statistics.begin_pass(job.progress)
        try:
            if feed := self.feeder.begin(job.note, capture, job.start):
                self._begin(job, feed)
                try:
                    for piece in feed.send():
                        job.progress.add(piece.totals, len(piece.data), piece.source_end, piece.after.skipped)
                finally:
                    self._note_stop(job, feed)
            damage = feed.damage if feed else None
            job.fed = fed_capture(to_text(job.entry.name), capture, damage, time.time())
            if damage:
                raise damage
        finally:
            job.identity = capture.identity._asdict()  # another device, if its storage was away meanwhile
            job.anomalies = [*anomalies_of(job.progress.totals, capture), *anomalies_of_found(job.found)]
            anomaly = "; ".join(each.sentence for each in job.anomalies)
            job.progress.end(capture.skipped, anomaly, time.monotonic() - begun_s)

    def _note_stop(self, job: Job, feed: FilePass) -> None:
        """By hand, record in Redis where a stopped pass ended in order: the next stream goes on there."""
        if start := feed.start_behind(job.start):
            self.queue.mark(begin=start.as_json())

    def _begin(self, job: Job, feed: FilePass) -> None:
        """Record in Redis that the file is being fed; from here on its bytes may reach the analyzer."""
        step_ns = gap_ns(feed.previous.get("last_ts_ns"), feed.first_ts_ns)
        if jump := find_jump(step_ns, self.max_gap_ns):
            previous = feed.previous["name"]
            events.warning(
                "timestamps_jump", jump.message, name=job.entry.name, before=previous, step_ns=step_ns
            )
        job.stream = feed.stream.id
        self.statistics.begin_stream(job.stream)
        place: Fields = {"stream": job.stream, "first_packet": feed.first_packet}
        self.queue.mark(**{**job.identity, **place, "state": "feeding"})
        place_in_stream = (feed.start_bytes, feed.first_packet, feed.stream_format)
        job.progress.begin(*place_in_stream, step_ns, jump.description if jump else "")

    def _replay(self, job: Job, loss: ReaderGone | LauncherGone) -> None:
        packets = job.progress.totals.packets
        events.warning(
            "reader_gone", f"{loss} The file is requested again.", name=job.entry.name, packets=packets
        )
        was_sent = bool(job.entry.stream) or self.streams.has_packets_of(job.entry.token)
        self.streams.lose()
        # Asked only now: a killed launcher's socket may outlast its analyzer, but it does not answer END.
        is_the_analyzers = (
            isinstance(loss, ReaderGone) and self.link.outlives_dispatcher and self.link.is_alive()
        )
        died = is_the_analyzers and job.progress.has_begun
        if was_sent:
            self._begin_pass(job, died=died)
            return
        # The stream has nothing of the file: this was no attempt at it. The death counts all the same: an
        # analyzer that dies of each stream's header never comes further than this.
        job.entry = replace(job.entry, deaths=job.entry.deaths + died)
        self.queue.begin_pass(job.entry, "", "")
        job.progress = self.feeder.delivered(job.entry.token, job.start)

    def _begin_pass(self, job: Job, *, died: bool) -> None:
        """Prepare the entry for another pass: behind a stream that ended in order, else from where it began.

        Until Redis has that, CURRENT names the stream that is over, for the next dispatcher.
        """
        after = self._start_after_stop(job)
        again = replace(job.entry, attempt=job.entry.attempt + 1, deaths=job.entry.deaths + died)
        stream, begin = (after.streams[-1], after.as_json()) if after else ("", "")
        if self.queue.begin_pass(again, stream, begin) and after:
            job.start, job.stream, entry = after, stream, job.entry
            sentence, packets = "An earlier stream ended in order behind these packets.", after.totals.packets
            events.info("file_continues", sentence, name=entry.name, packets=packets, stream=stream)
        else:
            entry, packets = again, job.start.totals.packets
            first = f"byte {job.start.begin_bytes:,} on" if job.start.begin_bytes else "its first packet"
            place = f"packet {packets + 1:,} on" if packets else first
            sentence = f"Its stream broke off: it is fed again from {place}."
            events.warning("file_replayed", sentence, name=entry.name, attempt=entry.attempt)
        job.entry = replace(entry, stream="")
        job.progress = self.feeder.delivered(job.entry.token, job.start)

    def _start_after_stop(self, job: Job) -> StartPoint | None:
        """Return where the file goes on if its last stream ended in order; None: nothing is recorded of that.

        By hand the stopped dispatcher recorded it in CURRENT; else the launcher did, in a file.
        """
        if job.start.streams[-1:] == (job.entry.stream,):
            return job.start
        ended = self.link.ended_stream()
        return start_point_after(ended) if ended and ended.token == job.entry.token else None

    def _finish(self, job: Job, error: CaptureError | None) -> None:
        """Write down the result; only then may the launcher forget the file."""
        packets = job.progress.totals.packets
        entry = replace(job.entry, stream=job.stream if packets else "")
        self.feeder.remember(job.note, job.progress)
        if not self.queue.finish(entry, job.result(error)):
            _log_forgotten(job)
        self.storage.finish()
        failpoints.reach("finish.after")
        self.streams.release()
        for each in job.anomalies:
            if each.event != TIMES_AFTER_2038 or self.statistics.after_2038_stream != job.stream:
                events.warning(each.event, each.sentence, name=entry.name)
        is_known = isinstance(job.found, SameCapture)
        self.statistics.finish_file(is_processed=error is None, is_known=is_known)
        if error:
            events.warning(
                "file_failed", str(error), name=entry.name, **job.progress.log_fields(entry.stream)
            )
            return
        if not is_known:
            events.info("file_finished", name=entry.name, **job.progress.log_fields(entry.stream))
            self.poison.reset()


def _keep_fed_part(job: Job, capture: Capture) -> None:
    """Make known what earlier streams have of a file that changed since: if it grew, only its rest is fed."""
    job.fed = fed_before(to_text(job.entry.name), capture, job.start, time.time())
    if job.fed:  # the importer queues the file that is there now
        job.identity = job.fed[1].identity._asdict()


def _log_forgotten(job: Job) -> None:
    events.warning("file_forgotten", "Redis does not have this queue entry any more.", name=job.entry.name)
