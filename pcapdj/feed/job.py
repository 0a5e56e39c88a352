"""What a dispatcher does with the one file it has taken: open it, ask, feed, write down what became of it."""

from dataclasses import dataclass, replace
from typing import Any

from pcapdj.capture.opening import Capture, StillWritten, open_capture
from pcapdj.feed.analyzer_link import AnalyzerLink, Say
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.feeder import Feeder
from pcapdj.feed.poison import POISON_DEATHS, PoisonPolicy
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.statistics import FEEDING, WAITING, Statistics
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, LauncherGone, ReaderGone
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import Waits
from pcapdj.store.job_queue import Fields, JobQueue, QueueEntry, Result, failure_entry

events = EventLog("dispatcher")


@dataclass(frozen=True, slots=True)
class JobRunner:
    """The way of one taken file after another.

    Args:
        transfer, asking: the file's moves in Redis, and its authorization.
        outlet, feeding: the analyzer's pipe.
        blame: who is at fault when analyzers die.
        interrupts, say: how it waits.
        statistics: what it counts in.
        root: files must lie below it; None: anywhere.
    """

    transfer: JobQueue
    asking: Authorization
    link: AnalyzerLink
    feeding: Feeder
    blame: PoisonPolicy
    interrupts: Waits
    say: Say
    statistics: Statistics
    root: bytes | None

    def work_on(self, taken: QueueEntry) -> None:
        """Bring the file to PROCESSED or FAILED.

        Raises:
            Stopped: a stop signal arrived; the next start goes on with this file.
        """
        streams = self.feeding.streams
        is_resumed = streams.left_token() == taken.token
        # Where its stream is open and holds none of it, its predecessor died before the first byte.
        if taken.state == "feeding" and not is_resumed and not streams.is_open(taken.stream):
            self.link.await_torn_reader()
            taken = self._ask_anew(taken, died=False)
        self.statistics.name, self.statistics.done_bytes = taken.name, 0
        events.info("next_file", name=taken.name, attempt=taken.attempt)
        try:
            capture = self._open(taken, is_resumed=is_resumed)
        except CaptureError as exc:
            self._finish(taken, {}, exc)
            return
        with capture:
            self.statistics.total_bytes = capture.identity.size_bytes
            self._feed_until_done(taken, capture)

    def _feed_until_done(self, taken: QueueEntry, capture: Capture) -> None:
        identity = capture.identity._asdict()
        while True:
            try:
                if taken.deaths >= POISON_DEATHS:
                    taken = self.blame.judge(taken)
                self.feeding.make_way(taken.token, capture)
                if not self._get_authorization(taken):
                    return
                self._feed(taken, capture)
            except CaptureError as exc:
                self._finish(taken, identity, exc)
                return
            except (ReaderGone, LauncherGone) as exc:
                taken = self._replay(taken, exc)
            else:
                self._finish(taken, identity, None)
                self.blame.fed()
                return

    def _get_authorization(self, taken: QueueEntry) -> bool:
        self.feeding.streams.wait_for_peer()
        self.statistics.state, self.statistics.waiting_for = WAITING, ""
        events.info("waiting_for_authorization", name=taken.name)
        if self.asking.ask(taken):
            events.info("authorized", name=taken.name)
            return True
        events.warning("file_forgotten", "Redis does not know that this file was taken.", name=taken.name)
        return False

    def _feed(self, taken: QueueEntry, capture: Capture) -> None:
        self.statistics.state = FEEDING

        def begin(stream: str) -> None:
            self.statistics.stream = stream
            fields: Fields = {**capture.identity._asdict(), "state": "feeding", "stream": stream}
            self.transfer.mark(**fields)

        try:
            self.feeding.feed(ResumeNote(taken.token, taken.name), capture, begin)
        finally:
            if capture.skipped_message:
                events.warning("packets_skipped", capture.skipped_message, name=taken.name)

    def _replay(self, taken: QueueEntry, loss: ReaderGone | LauncherGone) -> QueueEntry:
        delivered = self.feeding.delivered
        events.warning(
            "reader_gone",
            f"{loss} The file is asked for again and fed from its first packet.",
            name=taken.name,
            packets=delivered.totals.packets,
        )
        self.feeding.streams.lose()
        # Asked only now: a killed launcher's socket may outlast its analyzer, but it does not answer END.
        is_the_analyzers = (
            isinstance(loss, ReaderGone) and self.link.outlives_dispatcher and self.link.is_alive()
        )
        return self._ask_anew(taken, died=is_the_analyzers and delivered.has_begun)

    def _ask_anew(self, taken: QueueEntry, *, died: bool) -> QueueEntry:
        again = replace(
            taken, state="asked", attempt=taken.attempt + 1, deaths=taken.deaths + died, stream=""
        )
        fields: Fields = {"state": "asked", "attempt": again.attempt, "deaths": again.deaths, "stream": ""}
        self.transfer.mark(**fields)
        return again

    def _finish(self, taken: QueueEntry, identity: dict[str, Any], error: CaptureError | None) -> None:
        """Write down what became of the file; only then may the launcher forget it."""
        delivered, self.feeding.delivered = self.feeding.delivered, FileProgress()
        if error and not delivered.has_begun:
            self.feeding.spoil_left()
        totals = delivered.totals
        journal = delivered.journal() | {"attempt": taken.attempt, "reason": str(error or "")}
        result = Result(taken.name, "processed", identity, journal)
        if error:
            entry = failure_entry(taken.name, error, totals.packets, taken.attempt)
            result = Result(entry, "failed", identity, journal)
        stream = self.statistics.stream if totals.packets else ""
        if not self.transfer.finish(replace(taken, stream=stream), result):
            events.warning("file_forgotten", "Redis does not know that this file was taken.", name=taken.name)
        failpoints.reach("finish.after")
        self.feeding.settle()
        self._count(delivered, error)
        if error:
            events.warning("file_failed", str(error), name=taken.name, packets=totals.packets)
        else:
            events.info("file_finished", name=taken.name, packets=totals.packets)

    def _count(self, delivered: FileProgress, error: CaptureError | None) -> None:
        counted = delivered.counted_in(self.statistics)
        statistics = self.statistics
        statistics.packets, statistics.cap_lengths = counted.packets, counted.cap_lengths
        statistics.lengths, statistics.stream_bytes = counted.lengths, counted.stream_bytes
        statistics.jumps, statistics.last_jump = counted.jumps, counted.last_jump
        statistics.last_jump_name = counted.last_jump_name
        statistics.files += error is None
        statistics.failed += error is not None
        statistics.name, statistics.done_bytes, statistics.total_bytes = b"", 0, 0

    def _open(self, taken: QueueEntry, *, is_resumed: bool) -> Capture:
        if is_resumed and (capture := self.feeding.left_capture()):
            return capture
        try:
            return open_capture(taken.name, root=self.root)
        except StillWritten as exc:
            if exc.settles_in_s is None:
                raise
            self.say(f"Waiting {exc.settles_in_s:.0f} s: the file may still be written.")
            self.interrupts.wait(exc.settles_in_s)
            return open_capture(taken.name, root=self.root)
