"""The dispatcher: takes capture files from the queue, gets each authorized, and feeds it into the pipe.

Owns: the pipe's write end, PCAPDJ_CURRENT:<id>, PCAPDJ_STATS:<id>, and the moves IN_QUEUE -> CURRENT ->
PROCESSED or FAILED. Reads PCAPDJ_AUTH, PCAPDJ_SUSPEND, PCAPDJ_FINISH; writes PCAPDJ_NEXT, FED, JOURNAL.

A file's way: take it, open and identify it (what cannot be read fails without a request), find out whether
its capture was fed already (then it is processed without a packet), wait for launcher or reader, announce,
wait for the authorization, feed, wait until the pipe is drained, finish.

Signals: TERM and INT stop within a second, at a record's end or, with a launcher, anywhere, since the next
dispatcher goes on mid-record. USR1 suspends and resumes. USR2 prints the [STATS] lines on stdout.

A crash leaves the file in CURRENT, and what is in the pipe with the launcher. The next start repairs both: it
goes on mid-record if the stream lives, else requests it again and replays the file from its first packet.
"""

import signal

if __name__ == "__main__":  # what follows takes a tenth of a second to import; a signal must not kill it then
    for control_signal in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(control_signal, signal.SIG_IGN)

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

import typer

from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.roots import Roots, absolute_roots
from pcapdj.capture.stream_options import StreamOptions
from pcapdj.feed import options
from pcapdj.feed.analyzer_link import AnalyzerLink, LauncherLink
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.feeder import Feeder
from pcapdj.feed.interrupts import SIGNALS, Interrupts
from pcapdj.feed.job import JobRunner
from pcapdj.feed.known_captures import KnownCaptures
from pcapdj.feed.manual_link import ManualLink
from pcapdj.feed.options import DispatcherSettings
from pcapdj.feed.output_space import OutputSpace
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.reporter import Reporter
from pcapdj.feed.skips import SkippableWaits, SkipRequests
from pcapdj.feed.statistics import RUNNING, Statistics
from pcapdj.feed.storage import CaptureStorage
from pcapdj.feed.streams import Streams
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime import failpoints
from pcapdj.runtime.child_process import begin_role, run_role
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.lock import Lock
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.mount_list import boot_id
from pcapdj.runtime.mounts import any_may_hang
from pcapdj.runtime.places import private_folder, user_folder
from pcapdj.runtime.settings_record import SettingsRecord, record_of
from pcapdj.runtime.signals import Signals, handled
from pcapdj.runtime.trust import check_way
from pcapdj.runtime.units import parse_duration
from pcapdj.store.client import Store
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.failures import index_failures
from pcapdj.store.job_queue import JOURNAL, EndStream, JobQueue, JournalLimits, QueueEntry
from pcapdj.store.journal_index import JournalIndexer
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.notifier import Notifier
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_url import refuse_secret, safe_url
from pcapdj.store.registration import claim_id
from pcapdj.store.retrying import RetryingStore
from pcapdj.store.server import warn_of_losses

WAITING_FOR_FILES: Final = "Waiting for files in the queue."
IDLE_POLL_S: Final = 0.5  # for producers that send no message

events = EventLog("dispatcher")
app = new_app()


class Dispatcher:
    """One dispatcher at work.

    Raises:
        CannotCreate: the pipe cannot be made, or the path of the launcher's socket is too long.
    """

    def __init__(self, settings: DispatcherSettings, store: Store, signals: Signals, place: str) -> None:
        self._settings = settings
        self._statistics = Statistics(
            started_s=time.time(),
            pid=os.getpid(),
            pipe=str(settings.pipe),
            queue=store.keys.in_queue_name,
            place=place,
        )
        self._suspension = Suspension(settings.id, self._statistics)
        self._mark = ReadingMark(settings.pipe.with_name(f".{settings.pipe.name}.dispatcher.mark"))
        self._interrupts = Interrupts(signals, self._suspension, self._statistics, self._mark)
        self._lane = RetryingStore(store, self._interrupts, events)
        self._queue = JobQueue(self._lane, settings.id, settings.take, settings.journal)
        self._indexer = JournalIndexer(store)
        self._notifier = Notifier(store)
        link = _link(settings, self._interrupts)
        self._output_space = OutputSpace(self._lane, self._notifier, self._interrupts)
        self._streams = Streams(link, self._interrupts, self._output_space)
        self._interrupts.watch(self._streams)
        skips = SkipRequests(settings.id)
        waits = SkippableWaits(self._interrupts, skips)
        opener = FileOpener(waits)
        storage = CaptureStorage(
            store,
            opener,
            settings.roots,
            skips,
            self._interrupts,
            self._statistics,
            settings.storage_timeout_s,
        )
        self._feeder = Feeder(self._streams, settings.streams, opener, self._mark, storage)
        self._runner = JobRunner(
            queue=self._queue,
            authorization=Authorization(self._queue, self._notifier, self._streams, self._interrupts, skips),
            link=link,
            streams=self._streams,
            feeder=self._feeder,
            known_captures=KnownCaptures(self._lane, storage, waits),
            poison=PoisonPolicy(self._lane, self._queue, self._interrupts, self._statistics, self._mark),
            mark=self._mark,
            storage=storage,
            interrupts=self._interrupts,
            statistics=self._statistics,
            max_gap_ns=settings.max_gap_ns,
        )
        self._reporter = Reporter(
            store,
            settings.id,
            statistics=self._statistics,
            streams=self._streams,
            suspension=self._suspension,
            skips=skips,
            registration=self._queue.registration,
        )
        self._ended_request = ""
        self._idle_since_s = time.monotonic()

    def run(self) -> None:
        """Work until the queue is drained, or, with `follow`, until a stop signal.

        Raises:
            AlreadyRunning: another dispatcher of this id works on another machine.
            Stopped: a stop signal arrived; the next dispatcher resumes what is in flight.
        """
        claim_id(self._lane, self._settings.id, self._statistics.place, self._interrupts)
        self._queue.register()
        self._suspension.adopt(self._lane)
        self._reporter.start()
        try:
            for _ in index_failures(self._lane):
                self._interrupts.wait(0)
            self._streams.resume()
            while not self.step():
                pass
            self._queue.unregister()
        finally:
            self._reporter.stop()
            self._mark.close()

    def step(self) -> bool:
        """Run the job in flight or the next of the queue, or end the stream, or wait for one of them.

        Returns:
            Whether the queue is drained.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._interrupts.wait(0)  # thousands of files that are gone fail one after another without a wait
        self._statistics.show(RUNNING)
        self._indexer.step()
        found = self._queue.take(self._ended_request)
        self._ended_request = found.request if isinstance(found, EndStream) else ""
        self._abandon_unless_taken(found)
        if isinstance(found, QueueEntry):
            self._runner.run(found)
            self._indexer.add_entry()
            self._idle_since_s = time.monotonic()
        elif isinstance(found, EndStream):
            self._streams.end()
        elif self._settings.follow:
            self._wait_for_files()
        else:
            self._finish()
            return True
        return False

    def _finish(self) -> None:
        self._streams.end()
        failpoints.reach("done")
        self._queue.declare_done()
        done = self._statistics
        events.info("done", "The queue is drained.", files=done.files, failed=done.failed)

    def _wait_for_files(self) -> None:
        idle_s = time.monotonic() - self._idle_since_s
        is_idle = self._streams.open and 0 < self._settings.idle_eof_s <= idle_s
        if is_idle and not self._output_space.shortage():
            self._streams.end()
        self._streams.lose_if_broken()
        self._interrupts.wait(IDLE_POLL_S, self._notifier, waiting_for=WAITING_FOR_FILES)
        self._notifier.clear()

    def _abandon_unless_taken(self, found: object) -> None:
        """Forget what an earlier dispatcher was sending, if Redis has another entry, or none, in flight."""
        token = self._streams.unfinished_token()
        if token and not (isinstance(found, QueueEntry) and found.token == token):
            self._streams.release()


def _link(settings: DispatcherSettings, interrupts: Interrupts) -> AnalyzerLink:
    if settings.launcher:
        return LauncherLink(settings.launcher, interrupts)
    return ManualLink(settings.pipe, interrupts)


@app.command()
def dispatch(  # noqa: PLR0913 - an option each
    context: typer.Context,
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
    root: Roots = None,
    max_gap: options.MaxGap = "1h",
    storage_timeout: options.StorageTimeout = "10m",
    journal_entries: options.JournalEntries = JOURNAL.entries,
    journal_days: options.JournalDays = JOURNAL.days,
) -> None:
    """Feed the queue's capture files into the pipe, one authorization at a time."""
    begin_role()
    url = options.url_of(server, port, redis_url)
    if server:
        refuse_secret(url, "--server")
    settings = DispatcherSettings(
        pipe=pipe.absolute(),
        id=own_id or str(pipe.absolute()),
        launcher=launcher.absolute() if launcher else None,
        follow=follow,
        take=take,
        streams=StreamOptions(precision, on_linktype),
        idle_eof_s=parse_duration(idle_eof, "--idle-eof"),
        roots=absolute_roots(root),
        max_gap_ns=round(parse_duration(max_gap, "--max-gap") * 1e9),
        storage_timeout_s=parse_duration(storage_timeout, "--storage-timeout"),
        journal=JournalLimits(journal_entries, journal_days),
    )
    store = open_store(url, redis_password_file, lane, in_queue=queue, is_role=True)
    record = record_of("dispatcher", context, ("PCAPDJ_LOOPS",), redis_url=safe_url(store.url))
    code = run_role(
        "pcapdj dispatch",
        partial(work, settings, store, record),
        may_hang=any_may_hang(os.fsencode(each) for each in (settings.pipe, settings.launcher) if each),
        others=SIGNALS,
    )
    if code:
        raise typer.Exit(code)


def work(settings: DispatcherSettings, store: Store, record: SettingsRecord) -> None:
    """Run this dispatcher until it is done or stopped.

    Args:
        settings: of this dispatcher.
        store: the lane.
        record: of its settings, for other processes.

    Raises:
        AlreadyRunning: another dispatcher has this pipe or id.
        CannotCreate: the pipe or its lock cannot be made.
        Stopped: a stop signal arrived.
    """
    with (
        handled(SIGNALS) as signals,
        recorded_log(store),
        exclusive(settings.pipe, settings.id, store) as place,
    ):
        events.info("started", pid=os.getpid(), redis=safe_url(store.url), pipe=settings.pipe)
        record.write()
        warn_of_losses(store, events, signals)
        Dispatcher(settings, store, signals, place).run()


@contextmanager
def exclusive(pipe: Path, own_id: str, store: Store) -> Iterator[str]:
    """Be the only dispatcher of this pipe and id for the block, also after a `kill -9`.

    The locks are files: the kernel releases them however their holder dies. The pipe's lies beside it. Two
    dispatchers with the same `--id` would work on each other's file. The lock of an id is in the user's
    private runtime folder: it holds on one machine, for one spelling of the URL (`claim_id`).

    Yields:
        The place of the lock of the id, behind the name of this machine.

    Args:
        pipe: absolute; its lock is enough where it is the id, too.
        own_id: the dispatcher's name in Redis.
        store: the lane.

    Raises:
        AlreadyRunning: another dispatcher has one of the two; its pid is named.
        CannotCreate: a lock cannot be made, or another user can replace the pipe.
    """
    check_way(pipe)
    with ExitStack() as held:
        lock = pipe.with_name(f".{pipe.name}.dispatcher.lock")
        held.callback(Lock(lock, "dispatcher").close)
        if own_id != str(pipe):
            lock = _lock_of_id(own_id, store)
            held.callback(Lock(lock, "dispatcher of this id").close)
        found = lock.stat()
        yield f"{os.uname().nodename} {boot_id()} {found.st_dev:x}:{found.st_ino}"


def _lock_of_id(own_id: str, store: Store) -> Path:
    folder = user_folder()
    private_folder(folder)
    lane = f"{safe_url(store.url)}\n{store.keys.current(own_id)}"
    return folder / f"id-{sha256(lane.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.lock"


def main() -> NoReturn:
    """Run the dispatcher as a process."""
    run_app(app, "pcapdj dispatch", "dispatcher")


if __name__ == "__main__":
    main()
