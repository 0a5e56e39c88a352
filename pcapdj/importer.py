"""The importer: puts captures into the queue, each once; with `--watch`, those that arrive in a folder.

Owns: nothing but what it remembers of the folders it watches. Reads PCAPDJ_CURRENT:<id> and PCAPDJ_FED;
writes PCAPDJ_IN_QUEUE. Names are queued as absolute paths; links in them stay.

A file is taken if it begins like a capture, and skipped if it is queued, current, or was fed with the same
size and modification time: a rotation that uses a name again makes a new file. Files that come together are
queued together, in natural order or in that of their first packets.

With `--watch` only complete files are taken (`capture.inbox`): closed by their writer or moved in, or the
same for ten seconds under its eyes, and never while a process on this machine has them open for writing. A
folder that is missing is waited for, and so is Redis. Hidden names are left alone: they are being written.

Signals: TERM and INT stop within a second. A crash leaves nothing to repair: the next start looks at the
folders and at Redis again. Without `--watch` see `importing`.
"""

import os
import time
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from pcapdj.capture.files import StillWritten
from pcapdj.console.screen import progress_bar
from pcapdj.inbox.listing import CaptureFile, Order, Refusal, in_order, look_at, refusal_sentences
from pcapdj.inbox.once import import_once
from pcapdj.inbox.settle import FileState
from pcapdj.inbox.watcher import Inbox
from pcapdj.runtime import signals as process_signals
from pcapdj.runtime.command import lines_of, new_app, run_app
from pcapdj.runtime.errors import CaptureError, ConfigError, ExitCode
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.process import die_with_supervisord
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.retrying import RetryingStore

events = EventLog("importer")
app = new_app()

_LOOK_S = 1.0  # how often a watched folder is looked at: there, still the same one, anything settled
_UNDECIDED = (Outcome.CURRENT, Outcome.FED_MEANWHILE)  # the file may be another one than what is or was fed


@app.command()
def import_files(  # noqa: PLR0913 - typer makes options of arguments
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="captures, and folders of them; else PCAPDJ_INBOX, one a line",
            default_factory=lines_of("PCAPDJ_INBOX"),
            show_default=False,
        ),
    ],
    *,
    watch: Annotated[
        bool, typer.Option("--watch", envvar="PCAPDJ_IMPORT_WATCH", help="stay, and queue what arrives")
    ] = False,
    order: Annotated[
        Order, typer.Option(envvar="PCAPDJ_ORDER", help="natural order of names, or first packets' time")
    ] = Order.NAME,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", envvar="PCAPDJ_RECURSIVE", help="folders in folders, too")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="queue what was fed already, too")] = False,
    queue: Annotated[
        str, typer.Option("-q", "--queue", envvar="PCAPDJ_QUEUE", help="the queue's key")
    ] = IN_QUEUE,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> int:
    """Queue captures, each once. Whatever its name, a file is a capture if it begins like one."""
    die_with_supervisord()
    if not paths:
        raise ConfigError("There is nothing to import.", hint="Name files or folders, or set PCAPDJ_INBOX.")
    if watch and again:
        raise ConfigError(
            "--again and --watch do not go together: each restart would feed the folder anew.",
            hint="Use --again without --watch, or pcapdj requeue.",
        )
    names = [os.path.abspath(os.fsencode(path)) for path in paths]  # noqa: PTH100 - bytes
    store = open_store(redis_url, redis_password_file, lane, in_queue=queue, is_role=watch)
    if watch:
        return watch_folders(store, names, order, recursive=recursive)
    with progress_bar() as tracked:
        return import_once(store, names, order, recursive=recursive, again=again, tracked=tracked)


def watch_folders(store: Store, folders: Sequence[bytes], order: Order, *, recursive: bool) -> ExitCode:
    """Queue what arrives in the folders, until a stop signal."""
    with process_signals.handled() as signals:
        retrying = RetryingStore(store, signals, events)
        inboxes = [Inbox(folder, recursive=recursive) for folder in dict.fromkeys(folders)]
        events.info("importer_starts", folders=len(inboxes), order=order.value, recursive=recursive)
        importer = Importer(inboxes, retrying, signals, order)
        try:
            importer.run()
        finally:
            for inbox in inboxes:
                inbox.close()
            events.info("importer_stops")
    return ExitCode.OK


class Importer:
    """The watching role.

    Args:
        inboxes: the folders.
        store: the lane; it waits while Redis is away.
        signals: a stop signal ends it.
        order: of the files that come together.
    """

    def __init__(self, inboxes: Sequence[Inbox], store: Store, signals: Signals, order: Order) -> None:
        self._inboxes = inboxes
        self._store = store
        self._signals = signals
        self._order = order
        self._reminders = [Reminder() for _ in inboxes]
        self._said: list[str | None] = [None for _ in inboxes]

    def run(self) -> None:
        """Step until a stop signal.

        Raises:
            Stopped: a stop signal arrived.
        """
        while True:
            self.step(time.monotonic())
            ears = [descriptor for inbox in self._inboxes for descriptor in inbox.descriptors]
            self._signals.wait(self._pause_s(time.monotonic()), *ears)

    def step(self, now_s: float) -> int:
        """Queue the files that are complete; return how many.

        Raises:
            Stopped: a stop signal arrived meanwhile.
        """
        queued = 0
        for index, inbox in enumerate(self._inboxes):
            inbox.refresh(now_s)
            self._tell(index, now_s)
            due = inbox.due(now_s)
            files = self._captures(inbox, due, now_s)
            queued += self._queue(inbox, in_order(files, self._order), due, now_s)
        return queued

    def _pause_s(self, now_s: float) -> float:
        ends = [inbox.batch_ends_s for inbox in self._inboxes]
        return max(0.0, min([_LOOK_S, *(end_s - now_s for end_s in ends if end_s is not None)]))

    def _captures(self, inbox: Inbox, due: dict[bytes, FileState], now_s: float) -> list[CaptureFile]:
        files, refused = [], []
        for name, state in due.items():
            self._signals.wait(0)
            try:
                files.append(look_at(name, refuse_written=True))
            except StillWritten:
                inbox.postpone(name, state, now_s)
            except CaptureError as exc:
                inbox.handled(name, state)
                refused.append(Refusal(name, str(exc), is_asked_for=False))
        for sentence in refusal_sentences(refused):
            events.warning("not_imported", sentence)
        return files

    def _queue(
        self, inbox: Inbox, files: Sequence[CaptureFile], due: dict[bytes, FileState], now_s: float
    ) -> int:
        outcomes = enqueue_new(self._store, {file.name: file.identity for file in files})
        for name, outcome in outcomes.items():
            if outcome in _UNDECIDED:
                inbox.postpone(name, due[name], now_s)
            else:
                inbox.handled(name, due[name])
        new = [name for name, outcome in outcomes.items() if outcome is Outcome.NEW]
        if new:
            events.info("files_queued", files=len(new), first=new[0], last=new[-1])
        return len(new)

    def _tell(self, index: int, now_s: float) -> None:
        """Say what is wrong with a folder, at once and then once a minute, and that it is well again."""
        inbox, problem = self._inboxes[index], self._inboxes[index].problem
        if problem and self._reminders[index].is_due(problem, now_s):
            events.warning("inbox_problem", f"The inbox {quoted(inbox.folder)} {problem}.")
        elif not problem and self._said[index] != "":
            self._reminders[index].reset()
            events.info("inbox_watched", folder=inbox.folder)
        self._said[index] = problem


def main() -> NoReturn:
    """Run the importer as a process."""
    run_app(app, "pcapdj import")


if __name__ == "__main__":
    main()
