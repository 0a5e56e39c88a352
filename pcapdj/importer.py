"""The importer: puts capture files into the queue, each once; with `--watch`, also those that arrive later.

It owns nothing but its memory of the folders it watches. Names are queued as absolute paths with links.

A file is queued if it begins like a capture and is not queued, current, or fed already, under whatever name
(`inbox.queueing`); a rotation that uses a name again makes a new file. Files that arrive together are queued
together, in the order of their first packets or in natural order.

Without `--watch` it is a command: exit 0; 1 if a file named by the user, or a capture in a folder, cannot be
fed (the others are queued); 69 if Redis was away for three seconds. Repeating it queues nothing twice.

With `--watch` it is a role, and queues complete files only (`inbox.watcher`): closed by their writer or
moved in, or unchanged for ten seconds, and never while a process on this machine has them open for writing.
It waits for a missing folder and for Redis. Hidden names are skipped: they are still being written. TERM and
INT stop it within a second. A crash leaves nothing to repair: the next start reads the folders and Redis
again. While a call about a folder's file system does not return, only a thread of the role can log that.
"""

import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Annotated, NoReturn

import typer

from pcapdj.capture.files import StillWritten
from pcapdj.capture.removed_files import RemovedFiles
from pcapdj.capture.roots import Roots, absolute_roots
from pcapdj.console.screen import print_lines, progress_bar
from pcapdj.inbox.listing import CaptureFile, list_captures, look_at_capture, sort_captures
from pcapdj.inbox.order import Order
from pcapdj.inbox.problem_log import ProblemLog, log_refused
from pcapdj.inbox.published import Publisher
from pcapdj.inbox.queueing import (
    outcomes_by_name,
    queue_captures,
    report_sentences,
    summary,
    wait_for_dispatchers,
)
from pcapdj.inbox.recent_captures import RecentCaptures
from pcapdj.inbox.settle import FileState
from pcapdj.inbox.skipped import Refusal, SkipReason, refusal_sentences
from pcapdj.inbox.suspects import Suspects, forget_look, suspects_of
from pcapdj.inbox.watcher import Inbox, states_of
from pcapdj.runtime.child_process import begin_role, run_reader, run_role
from pcapdj.runtime.command import lines_of, new_app, run_app
from pcapdj.runtime.errors import (
    CaptureError,
    ConfigError,
    ExitCode,
    NotACapture,
    PcapdjError,
    StoreUnavailable,
)
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.settings_record import record_of
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.client import COMMAND_TIMEOUT_S, Store
from pcapdj.store.enqueue import Outcome
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.options import CapturesDays, FedDays, Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.queue_check import QueueCheck
from pcapdj.store.redis_url import safe_url
from pcapdj.store.retention import DAY_S, Retention
from pcapdj.store.retrying import RetryingStore
from pcapdj.store.server import unwritten_changes, warn_of_losses

events = EventLog("importer")
app = new_app()

_POLL_S = 1.0  # how often a watched folder is checked: is it there, is it the same, has a file settled
# The file may be a newer one than what is or was fed; or there are too many of it for now.
_UNDECIDED = (Outcome.CURRENT, Outcome.FED_MEANWHILE, Outcome.TOO_MANY, Outcome.RECLAIMING)
_SLOW_QUEUEING = "files are compared with fed captures that begin alike, or Redis does not answer"


@app.command()
def import_files(  # noqa: PLR0913 - typer makes options of arguments
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="capture files, and folders of them; default: the lines of PCAPDJ_INBOX",
            default_factory=lines_of("PCAPDJ_INBOX"),
            show_default=False,
        ),
    ],
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            envvar="PCAPDJ_IMPORT_WATCH",
            help="keep running, and queue files that arrive in the folders",
        ),
    ] = False,
    order: Annotated[
        Order | None,
        typer.Option(
            envvar="PCAPDJ_ORDER",
            help="sort all files by name (natural order), or by the time of their first packets;"
            " default: keep the given order, and sort only the files of each folder, by time",
        ),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", envvar="PCAPDJ_RECURSIVE", help="include folders inside folders"),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="also queue files that were fed before")] = False,
    queue: Annotated[
        str, typer.Option("-q", "--queue", envvar="PCAPDJ_QUEUE", help="the queue's key")
    ] = IN_QUEUE,
    root: Roots = None,
    fed_days: FedDays = 30,
    captures_days: CapturesDays = 365,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> int | None:
    """Queue capture files, each once. A file is recognized by its first bytes, not by its name."""
    begin_role()
    if not paths:
        raise ConfigError("Nothing to import.", hint="Name files or folders, or set PCAPDJ_INBOX.")
    if watch and again:
        raise ConfigError(
            "--again and --watch exclude each other: each restart would feed the whole folder again.",
            hint="Use --again without --watch, or 'pcapdj requeue'.",
        )
    names = [os.path.abspath(os.fsencode(path)) for path in paths]  # noqa: PTH100 - bytes
    store = open_store(redis_url, redis_password_file, lane, in_queue=queue, is_role=watch)
    if watch:
        record_of("importer", context, redis_url=safe_url(store.url)).write()
        return run_role(
            "pcapdj import",
            lambda: watch_folders(
                store,
                names,
                order or Order.TIME,
                recursive=recursive,
                roots=absolute_roots(root),
                kept_s=(fed_days * DAY_S, captures_days * DAY_S),
            ),
            may_hang=True,  # links that arrive later may lead anywhere
            after_hang=lambda: forget_look(_lane_of(store), names),
        )
    roots = absolute_roots(root)
    work = partial(import_once, store, names, order, recursive=recursive, again=again, roots=roots)
    return run_reader("pcapdj import", work)


def import_once(  # noqa: PLR0913 - the options
    store: Store,
    paths: Sequence[bytes],
    order: Order | None,
    *,
    recursive: bool,
    again: bool,
    roots: Sequence[bytes] = (),
) -> ExitCode:
    """Queue the captures among the paths and print how many.

    Raises:
        StoreUnavailable: Redis was away for three seconds.
        As `Store.call`: other errors of Redis, at once.
    """
    retrying = RetryingStore(store, _Sleep(), None, retried=(StoreUnavailable,), limit_s=COMMAND_TIMEOUT_S)
    wait_for_dispatchers(retrying, _Sleep())  # and for Redis, before thousands of files are read for nothing
    outcomes = dict[bytes, Outcome]()

    def leave_out(names: Sequence[bytes]) -> Collection[bytes]:
        outcomes.update({} if again else outcomes_by_name(retrying, states_of(names, roots)))
        return outcomes.keys()

    with progress_bar() as track:
        listing = list_captures(
            paths, recursive=recursive, order=order, track=track, leave_out=leave_out, roots=roots
        )
    report = queue_captures(retrying, listing.files, again=again)
    for sentence in [*listing.notes, *refusal_sentences(listing.refused), *report_sentences(report)]:
        print_lines(f"pcapdj import: {sentence}", to_stderr=True)
    print_lines(summary(Counter((outcomes | report.outcomes).values()), len(listing.refused)))
    if sentence := unwritten_changes(store):
        raise StoreUnavailable(sentence)
    return ExitCode.ERROR if any(refusal.is_fault for refusal in listing.refused) else ExitCode.OK


class _Sleep:
    """How this command waits between two calls: Ctrl-C ends it as any other command."""

    def wait(self, timeout_s: float) -> None:
        time.sleep(timeout_s)


def watch_folders(  # noqa: PLR0913 - the options
    store: Store,
    folders: Sequence[bytes],
    order: Order,
    *,
    recursive: bool,
    roots: Sequence[bytes],
    kept_s: tuple[float, float],
) -> ExitCode:
    """Queue the files that arrive in the folders, until a stop signal.

    Raises:
        Stopped: a stop signal arrived.
    """
    with handled() as signals, recorded_log(store):
        inbox_of = partial(Inbox, recursive=recursive, stops=signals, roots=roots)
        inboxes = [*map(inbox_of, dict.fromkeys(folders))]
        suspects = suspects_of(_lane_of(store), list(folders))
        events.info("importer_starts", folders=len(inboxes), order=order.value, recursive=recursive)
        warn_of_losses(store, events, signals)
        try:
            retrying = RetryingStore(store, signals, events)
            Importer(inboxes, retrying, signals, order, roots, suspects, kept_s).run()
        finally:
            suspects.close()
            for inbox in inboxes:
                inbox.close()
            events.info("importer_stops")
    return ExitCode.OK


def _lane_of(store: Store) -> str:
    return f"{safe_url(store.url)}\n{store.keys.in_queue}"


class Importer:
    """The role that watches folders.

    Args:
        inboxes: the folders.
        store: the lane; it waits while Redis is away.
        signals: a stop signal ends it.
        order: of the files that arrive together.
        roots: files must lie below one of them; none: anywhere.
        suspects: files that are not looked into.
        kept_s: for how long records of files and captures are kept; empty: as `Retention`.
    """

    def __init__(  # noqa: PLR0913 - what the role consists of
        self,
        inboxes: Sequence[Inbox],
        store: Store,
        signals: Signals,
        order: Order,
        roots: Sequence[bytes] = (),
        suspects: Suspects | None = None,
        kept_s: tuple[float, ...] = (),
    ) -> None:
        self._suspects = suspects or Suspects()
        self._inboxes = {inbox: ProblemLog(inbox) for inbox in inboxes}
        self._publisher = Publisher(store, list(self._inboxes.values()))
        self._queue_check = QueueCheck(store.another())
        self._retention = Retention(store.another(), partial(RemovedFiles, signals, roots), *kept_s)
        self._recent = RecentCaptures()
        self._reminder = Reminder()
        self._known = 0  # captures that were not queued because they were fed before
        self._store = store
        self._signals = signals
        self._order = order
        self._roots = roots
        self._is_first = True  # no file was queued yet

    def run(self) -> None:
        """Step until a stop signal.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._publisher.start()
        try:
            while True:
                self.step(time.monotonic())
                has_more = self._tidy_redis()
                descriptors = [each for inbox in self._inboxes for each in inbox.descriptors]
                pause_s = 0.0 if has_more else self._pause_s(time.monotonic())
                self._signals.wait(pause_s, *descriptors)
        finally:
            self._publisher.stop()

    def step(self, now_s: float) -> int:
        """Queue the files that are complete; return how many.

        Raises:
            Stopped: a stop signal arrived meanwhile.
        """
        queued = sum(self._step(*each, now_s) for each in self._inboxes.items())
        counts = [inbox.counts() for inbox in self._inboxes]
        self._publisher.count(counts, self._known, self._recent.overlaps)
        return queued

    def _step(self, inbox: Inbox, problem_log: ProblemLog, now_s: float) -> int:
        with problem_log.look():
            inbox.refresh(now_s)
            problem_log.update(now_s)
            complete = inbox.take_complete(now_s)
        if complete and self._is_first:
            wait_for_dispatchers(self._store, self._signals)
            self._is_first = False
        for name in outcomes_by_name(self._store, complete):
            inbox.mark_handled(name, complete.pop(name))
        with problem_log.look():
            files = self._captures_among(inbox, complete, now_s)
        files, note = sort_captures(files, self._order)
        if note:
            events.warning("order_contradicted", note, folder=inbox.folder)
        with problem_log.look(_SLOW_QUEUEING):
            return self._queue(inbox, files, complete, now_s)

    def _tidy_redis(self) -> bool:
        """Compare a part of queue and lines, or remove old records; report whether there is more to do."""
        now_s = time.monotonic()
        try:
            has_more = self._queue_check.step(now_s) or self._retention.step(now_s)
            if lost := self._queue_check.take_lost_names():
                self._requeue_lost(lost)
        except PcapdjError:  # what is wrong with Redis is logged when a file is queued
            return False
        return has_more

    def _requeue_lost(self, names: int) -> None:
        """Queue again what Redis has lost of the queue; if it has lost FED, too, a person decides."""
        self._publisher.lose(names)
        if self._store.call(lambda client: client.hlen(self._store.keys.fed)):
            for inbox in self._inboxes:
                inbox.forget_handled()

    def _pause_s(self, now_s: float) -> float:
        ends = [inbox.batch_ends_s for inbox in self._inboxes]
        return min([_POLL_S, *(end_s - now_s for end_s in ends if end_s is not None)])

    def _captures_among(
        self, inbox: Inbox, complete: Mapping[bytes, FileState], now_s: float
    ) -> list[CaptureFile]:
        """Return the supported captures; postpone the files still being written, log the other ones."""
        files, refused = [], []
        for name, state in complete.items():
            self._signals.wait(0)
            try:
                files.append(self._identified(name, state))
            except StillWritten:
                inbox.postpone(name, state, now_s, is_written=True)
            except CaptureError as exc:
                is_fault = not isinstance(exc, NotACapture)
                inbox.mark_handled(name, state, SkipReason.FAULTY if is_fault else SkipReason.NOT_A_CAPTURE)
                refused.append(Refusal(name, str(exc), is_fault=is_fault))
        log_refused(refused)
        return files

    def _identified(self, name: bytes, state: FileState) -> CaptureFile:
        """Return the capture file; a suspect is not looked into."""
        if self._suspects.has(name, state):
            sentence = (
                "An earlier importer died while it read this file: it is queued without being read again."
            )
            events.warning("suspect_queued", sentence, name=name)
            return look_at_capture(name, roots=self._roots, refuse_written=True, is_suspect=True)
        with self._suspects.looking(name, state):
            return look_at_capture(name, roots=self._roots, refuse_written=True, stops=self._signals)

    def _queue(
        self, inbox: Inbox, files: Sequence[CaptureFile], complete: Mapping[bytes, FileState], now_s: float
    ) -> int:
        report = queue_captures(self._store, files, stops=self._signals, suspects=self._suspects)
        for name, outcome in report.outcomes.items():
            if outcome in _UNDECIDED:
                inbox.postpone(name, complete[name], now_s)
            else:
                inbox.mark_handled(name, complete[name])
        for sentence in report_sentences(report):
            events.info("capture_known", sentence)
        self._known += len(report.known)
        too_many = [name for name, outcome in report.outcomes.items() if outcome is Outcome.TOO_MANY]
        if too_many and self._reminder.is_due("too many", now_s):
            sentence = "Names are in the queue 1,000 times already. Their files are offered again every 10 s."
            events.warning("queued_too_often", sentence, files=len(too_many), first=too_many[0])
        new = [file for file in files if report.outcomes[file.name] is Outcome.NEW]
        if new:
            events.info("files_queued", files=len(new), first=new[0].name, last=new[-1].name)
            self._publisher.note(f"{len(new):,} queued, the last one {quoted(new[-1].name)}")
        if sentence := self._recent.add([file.span for file in new if file.span]):
            events.warning("captures_overlap", sentence)
        return len(new)


def main() -> NoReturn:
    """Run the importer as a process."""
    run_app(app, "pcapdj import", "importer")


if __name__ == "__main__":
    main()
