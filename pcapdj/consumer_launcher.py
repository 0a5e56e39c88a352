"""The consumer launcher: starts the analyzer, holds the pipe open, stores what the dispatcher feeds.

A stream is one analyzer process from its first byte to its end (`analyzer.session`). It starts when the
dispatcher requests it (OPEN) and ends when the dispatcher ends it (END), when the analyzer exits, or with
this process.

The launcher owns its socket and the pipe with their locks, the log folders, and the analyzer's process group.
It writes two Redis keys from threads, PCAPDJ_CONSUMER (`analyzer.status`) and PCAPDJ_EVENTS, and reads one in
another, PCAPDJ_SUSPEND (`analyzer.gate_watch`): it works without Redis.

    idle      no stream                              OPEN -> starting
    starting  the analyzer has not opened the pipe   opened -> reading, exit -> failing
    reading   the dispatcher may feed                END -> flushing, exit or a closed pipe -> failing
    flushing  the analyzer writes its results        exit -> idle
    failing   the last start or stream went wrong    OPEN, after 1, 2, 4 .. 60 s -> starting

While the controller suspends feeding, an analyzer that reads or flushes is paused: it writes nothing, and no
time-out counts. A stop does not wait for the disk: the analyzer goes on.

OPEN is answered by the step from starting to reading. One that comes while flushing or failing waits. An
analyzer that is not installed is looked for every minute.

SIGTERM, SIGINT: disconnects the dispatcher, completes the batch that it was sending, closes the pipe, lets
the analyzer flush as END does, exits. If it read everything, the next stream goes on at the next record
(`analyzer.orderly_end`). A second signal kills the analyzer.
SIGHUP is passed on to the analyzer. If the launcher is killed, the analyzer dies with it, the dispatcher
replays the file in flight into the next stream, and the next launcher replaces socket and pipe.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import typer

from pcapdj.analyzer.gate_watch import GateWatch
from pcapdj.analyzer.launch import AnalyzerStarter, make_log_root
from pcapdj.analyzer.options import (
    COMMAND_VARIABLE,
    AnalyzerUserName,
    CommandLine,
    FlushTimeout,
    LauncherSettings,
    LogRoot,
    PipePath,
    PresetName,
    RestartPause,
    SocketPath,
    StallTimeout,
    TrustGroup,
    chosen_command,
    overridden_variables,
    path_or_default,
)
from pcapdj.analyzer.orderly_end import write_ended_stream
from pcapdj.analyzer.output_loss import SuspectStreams
from pcapdj.analyzer.requests import RequestHandler
from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.server import LauncherServer
from pcapdj.analyzer.session import AnalyzerSession, Exit, Stage, Timeouts, Verdict
from pcapdj.analyzer.status import LauncherStatus, StatusPublisher
from pcapdj.analyzer.user import check_log_root, find_user
from pcapdj.console.screen import print_lines
from pcapdj.launcher_protocol import EndedStream, ended_stream_path
from pcapdj.runtime import failpoints, log
from pcapdj.runtime.child_process import begin_role
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.errors import CannotCreate, Unavailable
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.leftover_processes import end_leftover_processes
from pcapdj.runtime.lock import Lock
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.places import PIPE_NAME, SOCKET_NAME, check_socket_path, private_folder
from pcapdj.runtime.process_tree import ProcessTree
from pcapdj.runtime.safe_text import quoted, shell_line
from pcapdj.runtime.settings_record import SettingsRecord, record_of
from pcapdj.runtime.signals import Signals, handled
from pcapdj.runtime.storage_faults import passes_by_itself
from pcapdj.runtime.trust import check_places
from pcapdj.runtime.units import parse_duration
from pcapdj.runtime.whole_file import keep_name
from pcapdj.store.client import Store
from pcapdj.store.event_command import event_command
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.options import Lane, OnEvent, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_url import safe_url

_TICK_S: Final = 1.0  # the heartbeat's
_LEAVE_LIMIT_S: Final = 5.0  # for the dispatcher to disconnect: it looks every quarter of a second
_KILL_LIMIT_S: Final = 1.0
_KILL_POLL_S: Final = 0.01
_SLOW_START_S: Final = 60.0  # Suricata with many rules takes that long; then a line a minute
_MOST_SHOWN: Final = 5
_OTHER_SIGNALS: Final = (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # none may end it

app = new_app()
events: Final = EventLog("consumer")


@app.command()
def consume(  # noqa: PLR0913 - an option each
    context: typer.Context,
    command: CommandLine = None,
    preset: PresetName = "",
    socket: SocketPath = None,
    pipe: PipePath = None,
    logdir: LogRoot = Path("out"),
    analyzer_user: AnalyzerUserName = "",
    flush_timeout: FlushTimeout = "120s",
    restart_pause: RestartPause = "1s",
    stall_timeout: StallTimeout = "0",
    on_event: OnEvent = "",
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
    trust_group: TrustGroup = False,  # noqa: ARG001, FBT002 - it works by its callback
) -> None:
    """Start the analyzer when a dispatcher has capture files for it, and hold the pipe open."""
    begin_role(command or os.environ.get(COMMAND_VARIABLE) or "suricata", on_event)
    source = context.get_parameter_source("preset")
    preset_is_flag = source is not None and source.name == "COMMANDLINE"
    settings = LauncherSettings(
        command=chosen_command(command or (), preset, preset_is_flag=preset_is_flag),
        socket=path_or_default(socket, SOCKET_NAME),
        pipe=path_or_default(pipe, PIPE_NAME),
        log_root=logdir.absolute(),
        timeouts=Timeouts(
            flush_s=parse_duration(flush_timeout, "--flush-timeout"),
            stall_s=parse_duration(stall_timeout, "--stall-timeout"),
            restart_pause_s=parse_duration(restart_pause, "--restart-pause"),
        ),
        user=find_user(analyzer_user),
    )
    for name in overridden_variables(command or (), preset, preset_is_flag=preset_is_flag):
        sentence = "This variable is not used, because the command line names the analyzer."
        events.warning("variable_overridden", sentence, variable=name, command=settings.command)
    store = open_store(redis_url, redis_password_file, lane, is_role=True)
    record = record_of("consumer", context, (COMMAND_VARIABLE,), redis_url=safe_url(store.url))
    launch(settings, store, record, event_command(on_event))


def main() -> NoReturn:
    """Run the launcher as a process."""
    run_app(app, "pcapdj consume", "consumer")


def launch(
    settings: LauncherSettings, store: Store, record: SettingsRecord, on_event: Sequence[str] = ()
) -> None:
    """Serve dispatchers on this socket until stopped; the record of the settings is for other processes.

    Raises:
        AlreadyRunning: another launcher has this socket or this pipe.
        CannotCreate: pipe, socket or log folder cannot be made, or belong to another user.
    """
    check_socket_path(settings.socket)
    private_folder(settings.socket.parent)
    with ExitStack() as stack:
        stack.enter_context(recorded_log(store, on_event))  # forks: before there are locks and threads
        stack.callback(Lock(settings.socket.with_name(f".{settings.socket.name}.lock"), "launcher").close)
        fifo = Fifo(settings.pipe)
        stack.callback(
            Lock(settings.pipe.with_name(f".{settings.pipe.name}.launcher.lock"), "launcher").close
        )
        if left := end_leftover_processes(fifo.path):
            sentence = "A launcher was killed, and its analyzer left processes running: they are killed."
            shown = ", ".join(map(str, left[:_MOST_SHOWN]))
            events.warning("analyzer_left_processes", sentence, processes=len(left), first=shown)
        make_log_root(settings.log_root)
        if settings.user is not None:
            check_log_root(settings.user, settings.log_root)
        record.write()
        signals = stack.enter_context(handled(_OTHER_SIGNALS))
        kept = settings.socket.with_name(f".{settings.socket.name}.suspects")
        check_places(places := [kept, ended_stream_path(settings.socket)])
        for place in places:
            keep_name(place)
        publisher = StatusPublisher(store, kept, follows_killed=os.path.lexists(settings.socket))
        stack.callback(publisher.close)
        gate = GateWatch(store.another())
        stack.callback(gate.close)
        launcher = ConsumerLauncher(
            AnalyzerStarter(
                settings.command, fifo, settings.log_root, settings.timeouts, ProcessTree(), settings.user
            ),
            LauncherServer(settings.socket),
            LauncherStatus(publisher, str(settings.command), settings.log_root),
            signals,
            gate,
        )
        stack.callback(launcher.close)
        events.info("started", pid=os.getpid(), socket=settings.socket, command=settings.command)
        if not os.environ.get("SUPERVISOR_ENABLED"):
            _show_dispatcher_command(settings)
        launcher.run()


class ConsumerLauncher:
    """One session at a time: `step` does what is due, then `run` waits for more, at most a second.

    Args:
        status: what other processes see of the launcher; publishing must not block.
        signals: of this process, SIGCHLD and SIGHUP among them.
        gate: when to pause the analyzer, and whether its disk was full.
    """

    def __init__(
        self,
        starter: AnalyzerStarter,
        server: LauncherServer,
        status: LauncherStatus,
        signals: Signals,
        gate: GateWatch,
    ) -> None:
        self._starter = starter
        self._server = server
        self._requests = RequestHandler(server)
        self._status = status
        self._signals = signals
        self._gate = gate
        self._suspects = SuspectStreams(status)
        self._restarts = RestartPolicy(starter.timeouts.restart_pause_s)
        self._session: AnalyzerSession | None = None
        self._stops = 0
        self._leave_by_s: float | None = None
        self._reminder = Reminder()

    def run(self) -> None:
        """Serve until a stop signal, and until the analyzer has flushed."""
        self._check_program(time.monotonic())
        while not self.step(time.monotonic()):
            self._wait()

    def step(self, now_s: float) -> bool:
        """Do what is due and publish the status; report whether the launcher is done."""
        self._handle_signals(now_s)
        self._gate.apply(self._session, now_s, is_stopping=self._stops > 0)
        self._wait_for_dispatcher(now_s)
        self._suspects.look(self._session, self._gate.full_disks)
        self._advance_session(now_s)
        if not self._stops:
            self._requests.handle(self._session, now_s)
        self._start_if_due(now_s)
        self._status.publish(self._session, self._restarts)
        return self._stops > 0 and self._session is None

    def close(self) -> None:
        """End the analyzer, remove pipe and socket."""
        if self._session is not None:
            self._session.kill("the launcher exits")
            deadline_s = time.monotonic() + _KILL_LIMIT_S
            while self._session.analyzer.exit_status() is None and time.monotonic() < deadline_s:
                time.sleep(_KILL_POLL_S)  # with its end what it has left running ends
            self._session.close()
        self._starter.fifo.remove()
        self._server.close()

    def _wait(self) -> None:
        now_s = time.monotonic()
        timeout_s = min(_TICK_S, self._restarts.wait_s(now_s) or _TICK_S)
        poller = select.poll()
        own = (self._signals.fileno(), self._gate.fileno())
        for descriptor in (*own, *self._server.descriptors()):
            poller.register(descriptor, select.POLLIN)
        if self._session is not None:
            timeout_s = min(_TICK_S, self._session.timeout_s(now_s), self._gate.timeout_s(now_s))
            if (write_end := self._session.polled_write_end()) is not None:
                poller.register(write_end, 0)  # POLLERR alone: the reader is gone
        poller.poll(timeout_s * 1000)

    def _handle_signals(self, now_s: float) -> None:
        if self._signals.received(signal.SIGHUP) and self._session is not None:
            self._session.analyzer.signal(signal.SIGHUP)  # it may reopen its logs
        stops = self._signals.stop_count
        if stops == self._stops:
            return
        self._stops = stops
        events.info("stopping", at_once=stops > 1 or None)
        self._server.half_close()
        failpoints.reach("launcher.disconnect")
        self._leave_by_s = now_s + _LEAVE_LIMIT_S
        if self._session is not None and stops > 1:
            self._session.end(now_s)
            self._session.kill("a second stop signal came")

    def _wait_for_dispatcher(self, now_s: float) -> None:
        """At a stop, end the stream once no dispatcher can send anything any more."""
        if self._leave_by_s is None:
            return
        session = self._session
        if self._server.has_client_left():
            if session is not None:
                session.end_in_order(now_s)
        elif now_s >= self._leave_by_s:
            sentence = "The dispatcher did not leave the stream. If it was inside a file, that is fed again."
            events.warning("dispatcher_stays", sentence, pid=self._server.client_pid)
            self._server.disconnect()
            if session is not None:
                session.end(now_s, is_shared=True)
        else:
            return
        self._leave_by_s = None

    def _advance_session(self, now_s: float) -> None:
        session = self._session
        if session is None:
            return
        match session.advance(now_s):
            case Exit() as ended:
                self._finish_session(session, ended, now_s)
            case Stage.READING:
                self._restarts.record_opened()
                events.info("stream_open", stream=session.stream, pid=session.analyzer.pid)
                if self._server.owes_reply:
                    self._requests.reply_stream(session)
            case _ if session.stage is Stage.STARTING:
                self._log_slow_start(session, now_s)

    def _log_slow_start(self, session: AnalyzerSession, now_s: float) -> None:
        waited_s = now_s - session.since_s
        if waited_s >= _SLOW_START_S and self._reminder.is_due(session.stream, now_s):
            sentence = "It runs and has not opened the pipe."
            events.info("waiting_for_analyzer", sentence, waited_s=round(waited_s))

    def _finish_session(self, session: AnalyzerSession, ended: Exit, now_s: float) -> None:
        session.close()
        self._session = None
        if ended.left:
            events.warning("analyzer_left_processes", ended.left, stream=session.stream)
        self._status.record_exit(session, ended)
        self._suspects.end(session, ended)
        if ended.verdict is Verdict.ENDED:
            self._restarts.record_end()
            if ended.ended is not None:
                self._write_ended_stream(ended.ended)
            write = events.warning if ended.reason else events.info
            write("stream_ended", ended.reason, stream=session.stream, exit=ended.status)
            return
        pause_s = self._restarts.record_failure(ended.reason, now_s, reading_s=ended.reading_s)
        event = f"analyzer_{ended.verdict.value}"
        events.warning(event, ended.reason, stream=session.stream, logdir=session.folder, pause_s=pause_s)

    def _write_ended_stream(self, ended: EndedStream) -> None:
        path = ended_stream_path(self._server.path)
        try:
            write_ended_stream(path, ended)
        except OSError as exc:
            reason = f"{quoted(str(path))} cannot be written: {exc.strerror}."
            sentence = f"{reason} The file in flight is fed again."
            events.warning("place_not_written", sentence, stream=ended.stream)

    def _start_if_due(self, now_s: float) -> None:
        if self._session is not None or self._stops or self._restarts.wait_s(now_s):
            return
        if self._server.owes_reply:
            self._start(now_s)
        elif self._restarts.is_check_due(now_s):
            self._check_program(now_s)

    def _start(self, now_s: float) -> None:
        try:
            session = self._starter.start(now_s)
        except (Unavailable, CannotCreate) as exc:
            self._record_unavailable(exc, now_s)
            return
        self._session = session
        command, pid = shell_line(session.analyzer.argv), session.analyzer.pid
        events.info("analyzer_started", command, stream=session.stream, pid=pid, logdir=session.folder)

    def _check_program(self, now_s: float) -> None:
        """Report an analyzer that is not installed before a dispatcher needs it."""
        try:
            self._starter.program()
        except Unavailable as exc:
            self._record_unavailable(exc, now_s)
        else:
            self._restarts.record_available()

    def _record_unavailable(self, error: Unavailable | CannotCreate, now_s: float) -> None:
        passes, is_wanted = passes_by_itself(error), self._server.owes_reply
        self._restarts.record_unavailable(str(error), now_s, is_wanted=is_wanted, passes_by_itself=passes)
        if self._reminder.is_due(str(error), now_s):
            events.warning("analyzer_unavailable", str(error))


def _show_dispatcher_command(settings: LauncherSettings) -> None:
    words = ["pcapdj", "dispatch", "-b", str(settings.pipe), "--launcher", str(settings.socket)]
    command = shell_line(words)
    log.flush()
    print_lines(f"Start its dispatcher with: {command}", to_stderr=True)


if __name__ == "__main__":
    main()
