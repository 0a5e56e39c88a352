"""One queue entry from take to finish: open the file, get it authorized, feed it, write down the result."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pcapdj.capture.anomalies import TIMES_AFTER_2038, Anomaly, anomalies_of
from pcapdj.capture.opening import Capture, StillWritten, open_capture
from pcapdj.capture.timestamps import find_jump, gap_ns
from pcapdj.feed.analyzer_link import AnalyzerLink
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.feeder import Feeder, FilePass
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.note import StopPlace, stop_place_in
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.statistics import FEEDING, WAITING, Statistics
from pcapdj.feed.streams import Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, LauncherGone, ReaderGone
from pcapdj.runtime.log import EventLog
from pcapdj.store.job_queue import Fields, JobQueue, QueueEntry, Result, failure_entry

events = EventLog("dispatcher")


@dataclass(slots=True)
class Job:
    """One taken queue entry, and how far its file came.

    Args:
        entry: as Redis has it.
        identity: of the file; empty until it is open.
        stream: of the last pass; empty before.
        progress: of the last pass.
        anomalies: of the file, in the last pass.
    """

    entry: QueueEntry
    identity: Fields = field(default_factory=dict)
    stream: str = ""
    progress: FileProgress = field(default_factory=FileProgress)
    anomalies: Sequence[Anomaly] = ()

    @property
    def begin(self) -> StopPlace | None:
        """Where an earlier stream by hand ended in order, if one did."""
        return stop_place_in(self.entry.begin, self.entry.token)

    @property
    def note(self) -> ResumeNote:
        """What the next dispatcher needs of it."""
        return ResumeNote(self.entry.token, self.entry.name)

    def result(self, error: CaptureError | None) -> Result:
        """Return what Redis gets of it."""
        name, packets, attempt = self.entry.name, self.progress.totals.packets, self.entry.attempt
        journal = self.progress.journal() | {"attempt": attempt, "reason": str(error or "")}
        if error is None:
            return Result(name, "processed", self.identity, journal)
        return Result(failure_entry(name, error, packets, attempt), "failed", self.identity, journal)


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs one job after another.

    Args:
        root: files must lie below it; None: anywhere.
        max_gap_ns: a longer pause between two files is reported; 0: none is.
    """

    queue: JobQueue
    authorization: Authorization
    link: AnalyzerLink
    streams: Streams
    feeder: Feeder
    poison: PoisonPolicy
    interrupts: Interrupts
    statistics: Statistics
    root: bytes | None
    max_gap_ns: int

    def run(self, entry: QueueEntry) -> None:
        """Feed the entry's file, and move the entry to PROCESSED or FAILED.

        Raises:
            Stopped: a stop signal arrived; the next dispatcher goes on with this entry.
        """
        job = Job(entry)
        job.progress = self.feeder.delivered(entry.token, job.begin)
        job.stream = entry.stream if job.progress.has_begun else ""
        is_resumed = self.streams.unfinished_token() == entry.token
        if entry.state == "feeding" and not is_resumed and not self.streams.is_open(entry.stream):
            self.link.wait_for_torn_reader()
            self._repeat(job, died=False)
            _log_replay(job)
        self.statistics.begin_file(entry.name)
        events.info("next_file", name=entry.name, attempt=job.entry.attempt)
        error: CaptureError | None = None
        try:
            with self._open(job, is_resumed=is_resumed) as capture:
                job.identity = capture.identity._asdict()
                if job.begin and tuple(capture.identity) != job.begin.identity:
                    raise CaptureError("changed while it was read")  # noqa: TRY301 - the result of this job
                self.statistics.total_bytes = capture.identity.size_bytes
                if not self._feed_until_done(job, capture):
                    _log_forgotten(job)
                    return
        except CaptureError as exc:
            error = exc
        self._finish(job, error)

    def _open(self, job: Job, *, is_resumed: bool) -> Capture:
        if is_resumed and (capture := self.feeder.unfinished_capture()):
            return capture
        try:
            return open_capture(job.entry.name, root=self.root, stops=self.interrupts)
        except StillWritten as exc:
            if exc.settles_in_s is None:
                raise
            sentence = f"Waiting {exc.settles_in_s:.0f} s: the file may still be written."
            self.interrupts.sleep(exc.settles_in_s, waiting_for=sentence)
            return open_capture(job.entry.name, root=self.root, stops=self.interrupts)

    def _feed_until_done(self, job: Job, capture: Capture) -> bool:
        """Feed the file into one stream after another; False if Redis does not have the entry any more."""
        while True:
            try:
                job.entry = self.poison.entry_to_feed(job.entry)
                self.feeder.prepare_stream(job.entry.token, capture)
                if not self._get_authorization(job):
                    return False
                self._feed(job, capture)
            except (ReaderGone, LauncherGone) as exc:
                self._replay(job, exc)
            else:
                return True

    def _get_authorization(self, job: Job) -> bool:
        self.streams.wait_for_peer()
        self.statistics.state, self.statistics.waiting_for = WAITING, ""
        events.info("waiting_for_authorization", name=job.entry.name)
        if is_granted := self.authorization.wait(job.entry):
            events.info("authorized", name=job.entry.name)
        return is_granted

    def _feed(self, job: Job, capture: Capture) -> None:
        self.statistics.state = FEEDING
        self.statistics.progress = job.progress = self.feeder.delivered(job.entry.token, job.begin)
        try:
            if feed := self.feeder.begin(job.note, capture, job.begin):
                self._begin(job, feed)
                try:
                    for piece in feed.send():
                        job.progress.add(piece.totals, len(piece.data), piece.source_end)
                        job.progress.left_out = piece.after.skipped
                finally:
                    self._note_stop(feed, capture)
                self.feeder.remember(job.note, job.progress.totals.last_ts_ns)
                if feed.damage:
                    raise feed.damage
        finally:
            job.progress.left_out = dict(capture.skipped)
            job.anomalies = anomalies_of(job.progress.totals, capture)
            job.progress.anomaly = "; ".join(each.sentence for each in job.anomalies)

    def _note_stop(self, feed: FilePass, capture: Capture) -> None:
        """Record in Redis where a stopped pass ended in order: the next stream goes on there."""
        if feed.stopped_at:
            place = StopPlace(feed.stopped_at, feed.stream_format, tuple(capture.identity))
            self.queue.mark(begin=place.text())

    def _begin(self, job: Job, feed: FilePass) -> None:
        """Record in Redis that the file is being fed; from here on its bytes may reach the analyzer."""
        step_ns = gap_ns(feed.previous.get("last_ts_ns"), feed.first_ts_ns)
        if jump := find_jump(step_ns, self.max_gap_ns):
            previous = feed.previous["name"]
            events.warning(
                "timestamps_jump", jump.message, name=job.entry.name, before=previous, step_ns=step_ns
            )
        self.statistics.stream = job.stream = feed.stream.id
        self.queue.mark(**{**job.identity, "state": "feeding", "stream": job.stream})
        job.progress.begin(feed.start_bytes, step_ns, jump.description if jump else "")

    def _replay(self, job: Job, loss: ReaderGone | LauncherGone) -> None:
        events.warning(
            "reader_gone",
            f"{loss} The file is requested again and fed from its first packet.",
            name=job.entry.name,
            packets=job.progress.totals.packets,
        )
        self.streams.lose()
        # Asked only now: a killed launcher's socket may outlast its analyzer, but it does not answer END.
        is_the_analyzers = (
            isinstance(loss, ReaderGone) and self.link.outlives_dispatcher and self.link.is_alive()
        )
        self._repeat(job, died=is_the_analyzers and job.progress.has_begun)

    def _repeat(self, job: Job, *, died: bool) -> None:
        attempt, deaths = job.entry.attempt + 1, job.entry.deaths + died
        job.entry = replace(job.entry, state="asked", attempt=attempt, deaths=deaths, stream="")
        self.queue.mark(state="asked", attempt=attempt, deaths=deaths, stream="")

    def _finish(self, job: Job, error: CaptureError | None) -> None:
        """Write down the result; only then may the launcher forget the file."""
        packets = job.progress.totals.packets
        entry = replace(job.entry, stream=job.stream if packets else "")
        if not self.queue.finish(entry, job.result(error)):
            _log_forgotten(job)
        failpoints.reach("finish.after")
        self.streams.release()
        for each in job.anomalies:
            if each.event != TIMES_AFTER_2038 or self.statistics.after_2038_stream != job.stream:
                events.warning(each.event, each.sentence, name=entry.name)
        self.statistics.finish_file(is_processed=error is None)
        if error:
            events.warning("file_failed", str(error), name=entry.name, packets=packets)
            return
        events.info("file_finished", name=entry.name, packets=packets)
        self.poison.reset()


def _log_replay(job: Job) -> None:
    name, begin = job.entry.name, job.begin
    if begin is None:
        events.warning(
            "file_replayed", "Its stream broke off: it is fed again from its first packet.", name=name
        )
        return
    packets = begin.note.totals.packets
    events.info(
        "file_continues", "An earlier stream ended in order behind these packets.", name=name, packets=packets
    )


def _log_forgotten(job: Job) -> None:
    events.warning("file_forgotten", "Redis does not have this queue entry any more.", name=job.entry.name)
