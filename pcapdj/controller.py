"""The controller: authorizes the next file while the disks have room, suspends feeding when they fill.

Owns: PCAPDJ_GATE, the member `gate` of PCAPDJ_SUSPEND, and the moves NEXT -> AUTH. Reads PCAPDJ_NEXT,
PCAPDJ_CONTROL (live limits, the operator's override), PCAPDJ_DISPATCHERS and whether their CURRENTs exist.

Each round reads the requested files and the live fields, measures the disks if that is due
(`disk.schedule`), decides (`disk.gate`), publishes the decision, and, if the gate is open, authorizes the
requested files. A message on the channel begins a round at once. Between two rounds, while a file is fed, the
disks are measured as often as they may fill (`disk.fill_rate`), and a transition is published at once.

Signals: TERM and INT end it within a second, whatever hangs. HUP, USR1 and USR2 do nothing.

A crash, like an ordinary stop, leaves the gate as published and a suspension in place: a disk that no
controller measures must not be filled. The next start goes on from PCAPDJ_GATE. A grant is one script, so a
name is either in NEXT or in AUTH; if both are lost, its dispatcher announces it again.

Two controllers of one lane do no harm, hence no lock: they write only idempotent scripts and absolute values.
With different limits they would contradict each other, and the later one would count.
"""

import signal

if __name__ == "__main__":  # the imports below take a tenth of a second; a stray signal must not kill it then
    for harmless in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(harmless, signal.SIG_IGN)

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import replace
from typing import Annotated, Final, NoReturn

import typer

from pcapdj.capture.roots import Roots, absolute_roots
from pcapdj.console.disk_lines import outlook_of
from pcapdj.disk import options, schedule
from pcapdj.disk.between_process import BetweenProcess
from pcapdj.disk.between_runner import BetweenRunner, end_commands_of_killed
from pcapdj.disk.gate import Decision, Override, State
from pcapdj.disk.gate_check import check_as_started, check_running
from pcapdj.disk.gate_report import log_failures, log_limits, log_live_limits, log_transition
from pcapdj.disk.live_limits import ACCEPT_FIELD, OVERRIDE_FIELD, LiveLimits
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.published_gate import PublishedGate, gate_fields, parse_gate, published_disks
from pcapdj.disk.reclaim_process import ReclaimProcess
from pcapdj.disk.reclaim_rule import NONE
from pcapdj.disk.requested_files import RequestedFiles
from pcapdj.runtime.child_process import begin_role, heartbeat_s, run_role
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.errors import (
    ConfigError,
    StoreDenied,
    StoreFailed,
    StoreUnavailable,
)
from pcapdj.runtime.full_disks import encode_disks_at_end
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.settings_record import record_of
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.event_command import event_command
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.grants import Form, Granted, Grants, Pending
from pcapdj.store.notifier import Notifier
from pcapdj.store.options import Lane, OnEvent, PasswordFile, RedisUrl, environment_of, open_store
from pcapdj.store.redis_url import safe_url
from pcapdj.store.retrying import FAILURE_EVENTS, RetryingStore
from pcapdj.store.server import warn_of_losses

HARMLESS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

events = EventLog("controller")
app = new_app()


class Controller:
    """Authorizes the requested files while the gate is open; a stop signal ends any wait."""

    def __init__(
        self,
        grants: Grants,
        monitor: DiskMonitor,
        signals: Signals,
        between: BetweenRunner | None = None,
        reclaim: ReclaimProcess | None = None,
    ) -> None:
        self._grants = grants
        self._monitor = monitor
        self._signals = signals
        self._between = between
        self._files = RequestedFiles(grants, monitor, between)
        self._reclaim = reclaim or ReclaimProcess()
        self._reminder = Reminder()
        self._control: Mapping[str, str] = {}
        self._published = PublishedGate()
        self._published_s = -schedule.ROUND_S
        self._is_restored = False
        self._lost = ""
        self._failures: Mapping[str, str] = {}
        self._about = ""
        self._is_occupied = False
        self._busy_until_s = 0.0

    def run(self, notifier: Notifier) -> None:
        """Run rounds until a stop signal; a message on the channel begins one at once.

        Raises:
            Stopped: a stop signal arrived.
        """
        log_limits(events, self._monitor)
        self._failures = log_failures(events, self._failures, self._monitor)
        while True:
            notifier.clear()
            self._round()
            self._reclaim.update(self._monitor.measurements(), self._published.gate, self._control)
            self._watch_disks(notifier, schedule.pause_s(is_occupied=self._is_occupied))
            if notifier.has_message:  # perhaps an analyzer that begins to write its results
                self._stay_busy()

    def step(self) -> int:
        """Run one round; return how many files were authorized.

        Raises:
            StoreFailed: Redis refuses a command, mostly for a key of another type; nothing was authorized.
            Stopped: a stop signal arrived.
        """
        if not self._is_restored:
            fields = self._grants.published()
            self._published = parse_gate(fields)
            self._monitor.restore(fields)
            self._lost = fields.get("lost", "")
            self._is_restored = True
        pending = self._grants.look()
        self._note_lost_hold(pending.control)
        self._control = pending.control
        for length_bytes in pending.invalid_bytes:
            reason = "The requested name is not a valid file name."
            events.warning("invalid_name", reason, length_bytes=length_bytes)
        self._files.look(pending)
        self._update_gate(pending)
        self._files.run_command(self._published.state or State.HOLD)
        is_open = self._published.state is State.OPEN
        results = [self._authorize(name) for name in (self._files.authorizable() if is_open else ())]
        self._is_occupied = Granted.OCCUPIED in results
        return results.count(Granted.YES)

    def _note_lost_hold(self, control: Mapping[str, str]) -> None:
        """Log and show that Redis has lost the operator's hold: our commands never remove the field."""
        if OVERRIDE_FIELD in control:
            self._lost = ""
        elif self._control.get(OVERRIDE_FIELD) == Override.HOLD:
            self._lost = "Redis has lost the operator's hold: 'pcapdj gate hold' sets it again."
            events.error("hold_lost", self._lost)

    def _round(self) -> None:
        """Run one round. If Redis refuses a command, log it and keep checking the disks."""
        try:
            self.step()
            self._reminder.reset()
        except StoreFailed as exc:
            if self._reminder.is_due(str(exc), time.monotonic()):
                sentence = f"{exc} Nothing is authorized until that is corrected."
                events.error(FAILURE_EVENTS[type(exc)], sentence)
            with suppress(StoreFailed):
                self._update_gate(Pending((), (), self._control, is_busy=True))

    def _watch_disks(self, notifier: Notifier, pause_s: float) -> None:
        """Wait for the next round; while a file is fed, measure the disks as often as they may fill."""
        until_s = time.monotonic() + pause_s
        wakers: list[Notifier | BetweenRunner] = [notifier, *([self._between] if self._between else [])]
        while (left_s := until_s - time.monotonic()) > 0 and not any(each.has_message for each in wakers):
            if not self._is_busy:
                self._signals.wait(left_s, *wakers)
                continue
            self._signals.wait(min(left_s, self._monitor.look_due_in_s()), *wakers)
            if self._monitor.look_due_in_s() <= 0:
                self._measure()
                self._publish_transition()

    @property
    def _is_busy(self) -> bool:
        """Whether an analyzer may be writing."""
        return time.monotonic() < self._busy_until_s

    def _stay_busy(self) -> None:
        self._busy_until_s = time.monotonic() + schedule.AFTERMATH_S

    def _measure(self) -> None:
        self._monitor.measure(is_busy=self._is_busy)
        if self._monitor.is_filling:
            self._stay_busy()

    def _publish_transition(self) -> None:
        """Publish the gate if its state changed, or a disk came to its end; a round publishes all else."""
        gate = self._monitor.next_gate(self._published.gate)
        if self._monitor.is_newly_full or self._published.is_left_by(self._files.decide(gate)):
            with suppress(StoreFailed):  # the next round logs it
                self._publish()
        else:
            self._published = replace(self._published, gate=gate)

    def _update_gate(self, pending: Pending) -> None:
        """Apply the live fields, measure if that is due, and publish the gate if that is due."""
        if pending.is_busy:
            self._stay_busy()
        limits_before = self._monitor.limits
        if is_changed := self._monitor.apply(pending.control):
            log_live_limits(events, self._monitor, pending.control, limits_before)
        if self._monitor.accept(pending.control.get(ACCEPT_FIELD, "")):
            events.info(
                "disks_accepted", "The watched paths are accepted on the file systems where they are now."
            )
            self._measure()
            is_changed = True
        is_closed = self._published.state is not State.OPEN  # an analyzer may be paused, or an end wait
        if is_measured := schedule.is_measurement_due(
            self._monitor.age_s(),
            is_decisive=bool(pending.requested) or is_changed,
            is_busy=self._is_busy or is_closed,
        ):
            self._measure()
        self._signals.wait(0)  # a stop signal may have arrived while a disk hung
        age_s = time.monotonic() - self._published_s
        if schedule.is_publication_due(age_s, is_changed=is_measured or is_changed):
            self._publish()
        else:  # the requested files may be others
            self._publish_transition()

    def _publish(self) -> None:
        """Publish the gate after the last measurement; a transition is logged and notified."""
        gate = self._monitor.next_gate(self._published.gate)
        self._published = replace(self._published, gate=gate)  # counts even if Redis refuses the fields
        decision = self._files.decide(gate)
        is_transition = self._published.is_left_by(decision)
        since_s = time.time() if is_transition else self._published.since_s or time.time()
        fields = {
            **gate_fields(decision, gate, self._monitor.measurements(), self._monitor.rates),
            **self._monitor.live.gate_fields,
            "lost": self._lost,
            **self._monitor.disks.as_fields(),
            **self._files.judged().as_fields(time.monotonic()),
            "output_bytes": self._monitor.growth.total_bytes,
            "full": encode_disks_at_end(self._monitor.full.values()),
        }
        times = {"since_s": since_s, "heartbeat_s": heartbeat_s()}
        is_announced = is_transition or self._monitor.is_newly_full
        message = f"gate {decision.state.word}" if is_announced else ""
        suspended = decision.state is State.SUSPENDED
        self._grants.publish({**fields, **times}, suspended=suspended, message=message)
        before = self._published
        self._published = PublishedGate(decision.state, since_s, gate, decision.cause)
        self._published_s = time.monotonic()
        self._log(decision, before, fields)

    def _log(self, decision: Decision, before: PublishedGate, fields: Mapping[str, object]) -> None:
        """Log a transition, another file that waits, and paths that cannot be measured any more."""
        self._failures = log_failures(events, self._failures, self._monitor)
        is_other_file, self._about = decision.about not in {"", self._about}, decision.about
        if before.is_left_by(decision) or is_other_file:
            disks = published_disks({"disks": str(fields["disks"])})
            is_worse = decision.state > (before.state or State.OPEN)  # else the rate is of the time before
            log_transition(events, decision, outlook_of(disks, decision.path) if is_worse else "")

    def _authorize(self, name: bytes) -> Granted:
        result = self._grants.grant(name)
        if result is Granted.YES:
            events.info("file_authorized", name=name)
        return result


@app.command()
@options.with_limits
def control(  # noqa: PLR0913 - typer makes options of arguments
    context: typer.Context,
    *,
    watch: options.Watches,
    logdir: options.LogDir = "out",
    redis_data: options.RedisData = "",
    limits: Mapping[str, str],
    force: options.Force = False,
    between: options.Between = "",
    between_timeout: options.BetweenTimeout = "5m",
    setting: options.Reclaim = NONE,
    roots: Roots = None,
    keep_last: options.KeepLast = 10,
    keep_within: options.KeepWithin = "0",
    auth_type: Annotated[
        Form,
        typer.Option(
            "--auth-type",
            envvar="PCAPDJ_AUTH_TYPE",
            help="type of the authorization key; several dispatchers of one lane need set",
        ),
    ] = "string",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="print what the running controller decides; exit 0: open, 3: not open, 69: no controller",
        ),
    ] = False,
    as_started: Annotated[
        bool,
        typer.Option(
            "--as-started", help="with --check: print what a controller with these options would decide"
        ),
    ] = False,
    on_event: OnEvent = "",
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Authorize files while the disks have room; suspend feeding when they fill."""
    begin_role(between, on_event)
    if as_started and not check:
        raise ConfigError("--as-started belongs to --check.")
    if check and not as_started:
        store = open_store(redis_url, redis_password_file, lane)
        raise typer.Exit(check_running(Grants(store)))
    reclaim = options.reclaim_arguments(setting, absolute_roots(roots), keep_last, keep_within, lane)
    sources = {each.name: each.place for each in record_of("controller", context).settings}
    live = LiveLimits(limits, force=force, sources=sources)
    watches = options.watches_of(
        watch, (logdir, redis_data or options.own_redis_data(redis_url)), force=force
    )
    command = options.between_command(between, between_timeout)
    store = open_store(redis_url, redis_password_file, lane, is_role=not check)
    if check:
        raise typer.Exit(
            check_as_started(DiskMonitor(DiskMeter(watches, logdir=logdir), live), Grants(store))
        )

    record_of("controller", context, redis_url=safe_url(store.url)).write()

    def work() -> None:
        with ExitStack() as undone:
            runner = undone.enter_context(  # its process is forked before there are threads
                closing(BetweenRunner(BetweenProcess(command))) if command else nullcontext()
            )
            signals = undone.enter_context(handled(HARMLESS))
            undone.enter_context(recorded_log(store, event_command(on_event), reads_others=True))
            end_commands_of_killed(signals)
            warn_of_losses(store, events, signals)
            retrying = RetryingStore(store, signals, events, retried=(StoreUnavailable, StoreDenied))
            monitor = DiskMonitor(DiskMeter(watches, logdir=logdir), live)
            rounds = undone.enter_context(
                closing(ReclaimProcess(reclaim, environment_of(store, redis_password_file)))
            )
            Controller(Grants(retrying, auth_type), monitor, signals, runner, rounds).run(Notifier(store))

    # a file system that hangs may be mounted at a watched folder later
    if code := run_role("pcapdj control", work, may_hang=True, others=HARMLESS):
        raise typer.Exit(code)


def main() -> NoReturn:
    """Run the controller as a process."""
    run_app(app, "pcapdj control", "controller")


if __name__ == "__main__":
    main()
