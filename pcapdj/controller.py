"""The controller: authorizes the next file while the disks have room, suspends the feeding when they fill.

Owns: PCAPDJ_GATE, the member `gate` of PCAPDJ_SUSPEND, and the moves NEXT -> AUTH. Reads PCAPDJ_NEXT,
PCAPDJ_CONTROL (live limits, the operator's override), PCAPDJ_DISPATCHERS and whether their CURRENTs exist.

Each round looks at what is asked and typed; the bell begins one at once. It measures every 1 s while
something is asked or fed, every 5 s idle, and before a grant if the last time is over a quarter second ago.
The gate decides (`disk.gate`), that is published, then an open gate grants what is asked.

Signals: TERM and INT end it within a second, whatever hangs. HUP, USR1 and USR2 do nothing.

A crash, and an ordinary stop as well, leaves the gate as published and a suspension standing: a disk without
a guard must not be filled. The next start goes on from PCAPDJ_GATE. A grant is one script, so a name stands
in NEXT or in AUTH; if both are lost, its dispatcher announces it again.

Two controllers of one lane do no harm, hence no lock: all they write are idempotent scripts and absolute
values. With different limits they would contradict each other, the later word counting.
"""

import signal

if __name__ == "__main__":  # the imports below take a tenth of a second; a stray signal must not kill it then
    for harmless in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(harmless, signal.SIG_IGN)

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from pcapdj.disk import options
from pcapdj.disk.gate import Decision, State
from pcapdj.disk.gate_report import report, tell_limits, tell_live, tell_transition
from pcapdj.disk.live import LiveLimits
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.published import fields_of, published
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped, StoreFailed
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.process import die_with_supervisord
from pcapdj.runtime.safe_text import printable_sentence
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.grants import Form, Granted, Grants, Pending
from pcapdj.store.notifier import Notifier
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.retrying import Patience

LOOK_S: Final = 1.0  # a foreign dispatcher rings no bell: this is its latency; and the heartbeat's period
BUSY_S: Final = 1.0  # between measurements while something is fed: G9's 1.5 s less the dispatcher's half
IDLE_S: Final = 5.0  # between measurements otherwise
FRESH_S: Final = 0.25  # how old a measurement may be to grant on
RETRY_S: Final = 0.25  # until an occupied AUTH is looked at again; ours ring when they consume, others do not
HARMLESS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
SLACK_S: Final = 0.02  # a timer may fire that much early without skipping a period

events = EventLog("controller")
app = new_app()


class Controller:
    """Grants what the guard's gate lets through.

    Args:
        desk: what is asked, and where the gate is published.
        guard: measures and decides.
        signals: a stop signal ends any wait.
    """

    def __init__(self, desk: Grants, guard: DiskMonitor, signals: Signals) -> None:
        self._desk = desk
        self._guard = guard
        self._signals = signals
        self._insist = Patience(signals, events, is_tolerant=False).insist
        self._complaint = Reminder()
        self._is_restored = False
        self._state: State | None = None
        self._since_s = 0.0
        self._published_s = -LOOK_S
        self._is_occupied = False
        self._news = Pending((), (), {}, is_busy=True)

    def run(self, notifier: Notifier) -> None:
        """Do rounds until a stop signal; the bell begins one at once.

        Raises:
            Stopped: a stop signal arrived in the middle of a round.
        """
        tell_limits(events, self._guard)
        while not self._signals.stop_requested:
            notifier.clear()
            self._round()
            self._signals.wait(RETRY_S if self._is_occupied else LOOK_S - SLACK_S, notifier)

    def step(self) -> int:
        """Do one round; return how many files were authorized.

        Raises:
            StoreFailed: a key holds something of another type; nothing was granted.
            Stopped: a stop signal arrived.
        """
        if not self._is_restored:
            self._restore()
        news = self._news = self._insist(self._desk.look)
        self._discard(news.invalid)
        self._follow(news)
        if self._state is not State.OPEN:
            return 0
        answers = [self._grant(name) for name in news.requested]
        self._is_occupied = Granted.OCCUPIED in answers
        return answers.count(Granted.YES)

    def _round(self) -> None:
        """Do a round; foreign nonsense in a key is said and waited out, and the disks guarded meanwhile."""
        try:
            self.step()
            self._complaint.reset()
        except StoreFailed as exc:
            if self._complaint.is_due(str(exc), time.monotonic()):
                events.error("key_unusable", f"{exc} Nothing is authorized until that key is removed.")
            with suppress(StoreFailed):
                self._follow(replace(self._news, requested=(), is_busy=True))

    def _restore(self) -> None:
        """Go on, once, from the gate as a predecessor published it."""
        before = published(self._insist(self._desk.published))
        self._guard.gate, self._state, self._since_s = before.gate, before.state, before.since_s
        self._is_restored = True

    def _follow(self, news: Pending) -> None:
        """Measure if it is time to, and publish what that means."""
        is_changed = self._lay(news)
        period_s = FRESH_S if news.requested or is_changed else BUSY_S if news.is_busy else IDLE_S
        if is_due := self._guard.age_s() >= period_s - SLACK_S:
            self._guard.measure()
        if self._signals.stop_requested:  # the measuring may have taken its time
            raise Stopped("A stop signal arrived.")
        if is_due or is_changed or time.monotonic() - self._published_s >= LOOK_S - 2 * SLACK_S:
            self._publish(self._guard.decide())

    def _lay(self, news: Pending) -> bool:
        if is_changed := self._guard.lay(news.control):
            tell_live(events, self._guard, news.control)
        return is_changed

    def _publish(self, decision: Decision) -> None:
        """Publish the decision; a transition is logged and notified."""
        is_transition = decision.state is not self._state
        since_s = time.time() if is_transition or not self._since_s else self._since_s
        fields = fields_of(decision, self._guard.gate, self._guard.readings(), self._guard.verdict)
        fields |= {"since_s": since_s, "heartbeat_s": time.time()}
        message = f"gate {decision.state.word}" if is_transition else ""
        suspended = decision.state is State.SUSPENDED
        self._insist(partial(self._desk.publish, fields, suspended=suspended, message=message))
        self._state, self._since_s, self._published_s = decision.state, since_s, time.monotonic()
        if is_transition:
            tell_transition(events, decision, fields)

    def _grant(self, name: bytes) -> Granted:
        answer = self._insist(partial(self._desk.grant, name))
        if answer is Granted.YES:
            events.info("file_authorized", name=name)
        return answer

    def _discard(self, invalid: Sequence[bytes]) -> None:
        for name in invalid:
            events.warning("no_name", "What is asked for can be no file name.", length_bytes=len(name))
            self._insist(partial(self._desk.drop, name))


@app.command()
def control(  # noqa: PLR0913 - typer makes options of arguments
    *,
    watch: options.Watches,
    logdir: options.LogDir = "out",
    redis_data: options.RedisData = "",
    min_free: options.MinFree = "",
    resume_free: options.ResumeFree = "",
    resume_after: options.ResumeAfter = "",
    suspend_free: options.SuspendFree = "",
    min_free_inodes: options.MinFreeInodes = "",
    min_available_memory: options.MinAvailableMemory = "",
    force: options.Force = False,
    auth_type: Annotated[
        Form,
        typer.Option(
            "--auth-type",
            envvar="PCAPDJ_AUTH_TYPE",
            help="how authorizations are written; set serves several dispatchers of one lane",
        ),
    ] = "string",
    check: Annotated[
        bool, typer.Option("--check", help="print disks, limits and decision; exit 0 open, 3 hold")
    ] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Authorize files while the disks have room; suspend the feeding when they fill."""
    die_with_supervisord()
    typed = options.limit_texts(
        min_free=min_free,
        resume_free=resume_free,
        resume_after=resume_after,
        suspend_free=suspend_free,
        min_free_inodes=min_free_inodes,
        min_available_memory=min_available_memory,
    )
    limits = LiveLimits(typed, force=force)
    defaults = (logdir, redis_data or _own_redis_data(redis_url))
    room = DiskMeter(options.watches_of(watch, defaults, force=force))
    store = open_store(redis_url, redis_password_file, lane, patient=not check)
    if check:
        raise typer.Exit(_check(DiskMonitor(room, limits), Grants(store)))
    with handled(dict.fromkeys(HARMLESS, lambda: None)) as signals:
        Controller(Grants(store, auth_type), DiskMonitor(room, limits), signals).run(Notifier(store))


def _own_redis_data(redis_url: str) -> str:
    """Return the embedded Redis's data folder if this folder is a layout with one."""
    return "var/redis" if not redis_url and Path("supervisord.conf").is_file() else ""


def _check(guard: DiskMonitor, desk: Grants) -> ExitCode:
    """Print what a controller started now would decide."""
    try:
        guard.gate = published(desk.published()).gate
        guard.lay(desk.control())
    except PcapdjError as exc:
        typer.echo(f"{exc} Live limits and the gate's past are left out.")
    decision = guard.decide()
    for line in report(guard.measured, guard.limits, decision):
        typer.echo(printable_sentence(line))
    if guard.refused:
        typer.echo(printable_sentence(f"refused: {guard.refused}"))
    return ExitCode.OK if decision.state is State.OPEN else ExitCode.HOLD


def main() -> NoReturn:
    """Run the controller as a process."""
    run_app(app, "pcapdj control")


if __name__ == "__main__":
    main()
