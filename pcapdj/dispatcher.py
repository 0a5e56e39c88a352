"""The dispatcher: takes files from the queue, asks for each, and feeds it into the pipe.

Owns: the pipe's write end, PCAPDJ_CURRENT:<id>, PCAPDJ_STATS:<id>, and the moves IN_QUEUE -> CURRENT ->
PROCESSED or FAILED. Reads PCAPDJ_AUTH, PCAPDJ_SUSPEND, PCAPDJ_FINISH; writes PCAPDJ_NEXT, FED, JOURNAL.

A file's way: take it, open and identify it (what cannot be read fails without being asked for), wait for the
peer, announce, wait for the authorization, feed, wait until the pipe is drained, finish.

Signals: TERM and INT stop within a second, at a record's end or, with a launcher, anywhere, since a successor
goes on mid-record. USR1 suspends and resumes. USR2 prints the [STATS] lines on stdout.

A crash leaves the file in CURRENT, and what is in the pipe with the launcher. The next start repairs both: it
goes on mid-record if the stream lives, else asks again and replays the file from its first packet.
"""

import signal

if __name__ == "__main__":  # what follows takes a tenth of a second to import; a signal must not kill it then
    for control_signal in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(control_signal, signal.SIG_IGN)

import os
import time
from dataclasses import asdict
from enum import Enum, auto
from typing import Any, Final, NoReturn

from pcapdj.capture.stream_options import StreamOptions
from pcapdj.feed import options
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.choice import analyzer_link
from pcapdj.feed.feeder import Feeder
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.job import JobRunner
from pcapdj.feed.locks import exclusive
from pcapdj.feed.options import Settings
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.reporter import Reporter
from pcapdj.feed.statistics import RUNNING, Statistics
from pcapdj.feed.streams import Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.process import die_with_supervisord
from pcapdj.runtime.signals import Signals
from pcapdj.runtime.units import parse_duration
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, StreamShallEnd
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.notifier import Notifier
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_url import safe_url
from pcapdj.store.retrying import RetryingStore

IDLE_LOOK_S: Final = 0.5  # for producers that do not ring the bell

events = EventLog("dispatcher")
app = new_app()


class Step(Enum):
    """What one step did."""

    FED = auto()
    IDLE = auto()
    DONE = auto()


class Dispatcher:
    """One dispatcher at work.

    Args:
        settings: how.
        store: the lane.
        signals, interrupts: what interrupts it.
        statistics: what it counts in.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        signals: Signals,
        interrupts: Interrupts,
        statistics: Statistics,
    ) -> None:
        self._settings = settings
        self._interrupts = interrupts
        self._statistics = statistics
        self._reminder = Reminder()
        self._observe = interrupts.observe
        lane = RetryingStore(store, interrupts, events)
        self._lane = lane
        self._notifier = Notifier(store)
        self._transfer = JobQueue(lane, settings.id, settings.take)
        self._reporter = Reporter(store, settings.id, self._snapshot)
        link = analyzer_link(settings.pipe, settings.launcher, interrupts, self._say)
        self._streams = Streams(link, (signals, self._reporter), interrupts.attend)
        interrupts.watch(self._reporter, self._counted, self._streams.check)
        self._feeding = Feeder(self._streams, settings.streams, settings.max_gap_ns)
        self._taking = JobRunner(
            transfer=self._transfer,
            asking=Authorization(
                self._transfer, self._notifier, interrupts, events, self._streams.lose_if_broken
            ),
            link=link,
            feeding=self._feeding,
            blame=PoisonPolicy(lane, self._transfer, interrupts, statistics),
            interrupts=interrupts,
            say=self._say,
            statistics=statistics,
            root=settings.root,
        )
        self._ended_wish = ""
        self._idle_since_s = time.monotonic()

    def run(self) -> None:
        """Work until the queue is drained, or, with `follow`, until a stop signal.

        Raises:
            Stopped: a stop signal arrived; what is in flight is resumed by the next start.
        """
        self._transfer.enlist()
        self._reporter.adopt(self._lane)
        self._reporter.start()
        try:
            self._streams.resume()
            while self.step() is not Step.DONE:
                pass
            self._transfer.leave()
        finally:
            self._reporter.stop()
            self._notifier.close()

    def step(self) -> Step:
        """Do the next thing there is to do.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._statistics.state, self._statistics.waiting_for = RUNNING, ""
        found = self._transfer.take(self._ended_wish)
        self._ended_wish = ""
        self._abandon_left_unless(found)
        if isinstance(found, QueueEntry):
            self._taking.work_on(found)
            self._idle_since_s = time.monotonic()
            return Step.FED
        if isinstance(found, StreamShallEnd):
            self._streams.end()
            self._ended_wish = found.wish
            return Step.FED
        return self._idle()

    def _idle(self) -> Step:
        if not self._settings.follow:
            self._streams.end()
            failpoints.reach("done")
            self._transfer.declare_done()
            done = self._statistics
            events.info("done", "The queue is drained.", files=done.files, failed=done.failed)
            return Step.DONE
        idle_s = time.monotonic() - self._idle_since_s
        if self._streams.open and 0 < self._settings.idle_eof_s <= idle_s:
            self._streams.end()
        self._streams.lose_if_broken()
        self._say("Waiting for files in the queue.")
        self._interrupts.wait(IDLE_LOOK_S, self._notifier)
        self._notifier.clear()
        return Step.IDLE

    def _abandon_left_unless(self, found: object) -> None:
        token = self._streams.left_token()
        if token and not (isinstance(found, QueueEntry) and found.token == token):
            self._feeding.abandon_left()

    def _snapshot(self) -> dict[str, Any]:
        self._observe()
        shown = {"state": self._statistics.shown_state, "stalled_s": round(self._streams.stalled_s())}
        return asdict(self._counted()) | shown

    def _counted(self) -> Statistics:
        return self._feeding.delivered.counted_in(self._statistics)

    def _say(self, sentence: str) -> None:
        self._statistics.waiting_for = sentence
        if self._reminder.is_due(sentence, time.monotonic()):
            events.info("waiting", sentence)


@app.command()
def dispatch(  # noqa: PLR0913 - an option each
    pipe: options.Pipe,
    server: options.Server = "",
    port: options.Port = 0,
    queue: options.Queue = IN_QUEUE,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
    launcher: options.LauncherSocket = None,
    own_id: options.OwnId = "",
    follow: options.Follow = False,  # noqa: FBT002 - a flag
    take: options.Take = "head",
    precision: options.Precision = "first",
    on_linktype: options.OnLinktype = "fail",
    idle_eof: options.IdleEof = "0",
    root: options.Root = None,
    max_gap: options.MaxGap = "1h",
) -> None:
    """Feed the queue's capture files into the pipe, one authorization at a time."""
    die_with_supervisord()
    url = f"redis://{server or '127.0.0.1'}:{port or 6379}/0" if server or port else redis_url
    settings = Settings(
        pipe=pipe.absolute(),
        id=own_id or str(pipe.absolute()),
        launcher=launcher.absolute() if launcher else None,
        follow=follow,
        take=take,
        streams=StreamOptions(precision, on_linktype),
        idle_eof_s=parse_duration(idle_eof, "--idle-eof"),
        root=os.fsencode(root.absolute()) if root else None,
        max_gap_ns=round(parse_duration(max_gap, "--max-gap") * 1e9),
    )
    store = open_store(url, redis_password_file, lane, in_queue=queue)
    work(settings, store)


def work(settings: Settings, store: Store) -> None:
    """Be this dispatcher until it is done or stopped.

    Raises:
        AlreadyRunning: another dispatcher has this pipe or id.
        CannotCreate: the pipe or its lock cannot be made.
        Stopped: a stop signal arrived.
    """
    statistics = Statistics(started_s=time.time(), pid=os.getpid(), pipe=str(settings.pipe))
    interrupts = Interrupts(statistics)
    with interrupts.listening() as signals, exclusive(settings.pipe, settings.id, store):
        events.info("started", pid=os.getpid(), redis=safe_url(store.url), pipe=settings.pipe)
        Dispatcher(settings, store, signals, interrupts, statistics).run()


def main() -> NoReturn:
    """Run the dispatcher as a process."""
    run_app(app, "pcapdj dispatch")


if __name__ == "__main__":
    main()
