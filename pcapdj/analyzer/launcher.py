"""The launcher's loop: one stream at a time, from OPEN to the analyzer's end (see `consumer_launcher`)."""

import select
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.requests import RequestHandler
from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.server import Server
from pcapdj.analyzer.session import AnalyzerSession, Exit, Stage, Verdict
from pcapdj.analyzer.status import LauncherStatus
from pcapdj.runtime.errors import CannotCreate, Unavailable
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.signals import Signals

_TICK_S: Final = 1.0  # the heartbeat's
_SLOW_START_S: Final = 60.0  # Suricata with many rules takes that long; after it a line a minute says so

_events: Final = EventLog("consumer")


class ConsumerLauncher:
    """The launcher's loop: `step` does what is due, then waits for more, at most a second.

    Args:
        launching: starts an analyzer.
        server: the socket.
        publish: takes the fields of PCAPDJ_CONSUMER; must not block.
        signals: of this process; SIGCHLD has to be among them.
    """

    def __init__(
        self,
        launching: AnalyzerStarter,
        server: Server,
        publish: Callable[[Mapping[str, str]], None],
        signals: Signals,
    ) -> None:
        self._launching = launching
        self._server = server
        self._words = RequestHandler(server)
        self._publish = publish
        self._signals = signals
        self._attempts = RestartPolicy(launching.timeouts.restart_pause_s)
        self._life: AnalyzerSession | None = None
        self._stops = 0
        self._reminder = Reminder()
        self._shown = LauncherStatus(launching)

    def run(self) -> None:
        """Serve until a stop signal, and until the analyzer has flushed."""
        self._look_for_program(time.monotonic())
        while not self.step():
            self._wait()

    def step(self) -> bool:
        """Do what is due and publish the state; report whether it is over."""
        now_s = time.monotonic()
        self._mind_signals(now_s)
        self._mind_life(now_s)
        self._words.mind(self._life, now_s)
        self._mind_start(now_s)
        self._publish(self._shown.fields(self._life, self._attempts, time.time()))
        return self._stops > 0 and self._life is None

    def close(self) -> None:
        """Leave nothing behind: analyzer, pipe, socket."""
        if self._life is not None:
            self._life.kill("the launcher leaves")
            self._life.close()
        self._launching.fifo.remove()
        self._server.close()

    def _wait(self) -> None:
        now_s = time.monotonic()
        timeout_s = min(_TICK_S, self._attempts.wait_s(now_s) or _TICK_S)
        poller = select.poll()
        for descriptor in (self._signals.fileno(), *self._server.descriptors()):
            poller.register(descriptor, select.POLLIN)
        if self._life is not None:
            timeout_s = min(_TICK_S, self._life.timeout_s(now_s))
            if (write_end := self._life.watched()) is not None:
                poller.register(write_end, 0)  # POLLERR alone: the reader is gone
        poller.poll(timeout_s * 1000 + 1)  # poll(2) counts whole milliseconds

    def _mind_signals(self, now_s: float) -> None:
        if self._signals.arrivals(signal.SIGHUP) and self._life is not None:
            self._life.analyzer.signal(signal.SIGHUP)  # it may reopen its logs on it
        if self._signals.stop_count == self._stops:
            return
        self._stops = self._signals.stop_count
        _events.info("stopping", at_once=self._stops > 1 or None)
        self._words.close()  # the dispatcher sees it, and closes its write end too; the next one waits
        if self._life is not None:
            self._life.end(now_s)
            if self._stops > 1:
                self._life.kill("a second stop signal came")

    def _mind_life(self, now_s: float) -> None:
        life = self._life
        if life is None:
            return
        if (ending := life.tick(now_s)) is not None:
            self._bury(life, ending, now_s)
        elif life.stage is Stage.STARTING:
            self._remind(life, now_s)
        elif life.stage is Stage.READING and not life.is_known:
            life.is_known = True
            self._attempts.opened()
            _events.info("stream_open", stream=life.stream, pid=life.analyzer.pid)
            self._words.tell_opened(life)

    def _remind(self, life: AnalyzerSession, now_s: float) -> None:
        waited_s = now_s - life.since_s
        if waited_s >= _SLOW_START_S and self._reminder.is_due(life.stream, now_s):
            _events.info(
                "waiting_for_analyzer", "It runs and has not opened the pipe.", waited_s=round(waited_s)
            )

    def _bury(self, life: AnalyzerSession, ending: Exit, now_s: float) -> None:
        """Take the end of a stream into account."""
        life.close()
        self._life = None
        self._shown.last(life.stream, ending)
        if ending.verdict is Verdict.ENDED:
            self._attempts.ended()
            say = _events.warning if ending.reason else _events.info
            say("stream_ended", ending.reason, stream=life.stream, exit=ending.exit)
            return
        next_s = self._attempts.failed(ending.reason, now_s, lived_s=ending.lived_s)
        event = f"analyzer_{ending.verdict.value}"
        _events.warning(event, ending.reason, stream=life.stream, logdir=life.folder, pause_s=next_s)

    def _mind_start(self, now_s: float) -> None:
        if self._life is not None or self._stops or self._attempts.wait_s(now_s):
            return
        if self._words.open_waits:
            self._start(now_s)
        elif self._attempts.is_look_due(now_s):
            self._look_for_program(now_s)

    def _start(self, now_s: float) -> None:
        try:
            life = self._launching.start(now_s)
        except (Unavailable, CannotCreate) as exc:
            self._cannot_start(exc, now_s)
            return
        self._life = life
        self._shown.folder = life.folder
        command, pid = shlex.join(life.analyzer.argv), life.analyzer.pid
        _events.info("analyzer_started", command, stream=life.stream, pid=pid, logdir=life.folder)

    def _look_for_program(self, now_s: float) -> None:
        """See early, before anybody asks for a stream, whether the analyzer is there."""
        try:
            self._launching.program()
        except Unavailable as exc:
            self._cannot_start(exc, now_s)
        else:
            self._attempts.found()

    def _cannot_start(self, error: Unavailable | CannotCreate, now_s: float) -> None:
        self._attempts.could_not_start(str(error), now_s, is_wanted=self._words.open_waits)
        if self._reminder.is_due(str(error), now_s):
            _events.warning("analyzer_unavailable", str(error))
