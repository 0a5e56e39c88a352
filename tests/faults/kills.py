"""The schedules: which process is killed when, and what is asked of the scenario afterwards."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Final

from support.forkserver import Process
from support.waiting import is_met

from faults.checker import Findings, check_names
from faults.evidence import findings_of, lists_of, sent_of
from faults.figures import Figures
from faults.scenario import HANG_S, Scenario
from faults.watch import Watch
from pcapdj.runtime.failpoints import CONTROLLER_POINTS, DISPATCHER_POINTS

FORMS: Final = ("plain.pcap", "plain.pcap", "be.pcap", "plain.pcap", "ng.pcapng", "plain.pcap.gz")
Check = Callable[[Scenario], Sequence[Findings]]
_IN_FILE: Final = ("splice.within", "splice.between")
_BETWEEN: Final = tuple(point for point in DISPATCHER_POINTS if point not in (*_IN_FILE, "done"))
_BY_CLOCK: Final = 0.15  # of the kills come at any moment, the others at a named point
_IN_FILE_SHARE: Final = 0.72  # of those at a named point
_ROUND_FILES: Final = 40  # then what was streamed is checked and removed


class Schedule:
    """Kills on one scenario, until so many have happened.

    Args:
        scenario: started as far as the schedule does not start it itself.
        figures: where everything is counted.
        seed: decides everything; the same one gives the same schedule.
        check: what is asked of the scenario after each round.
    """

    def __init__(self, scenario: Scenario, figures: Figures, seed: str, check: Check = findings_of) -> None:
        self._check = check
        self.scenario = scenario
        self.figures = figures
        self.rng = random.Random(seed)  # noqa: S311 - a schedule that can be repeated
        self.watch = Watch(scenario, figures)
        self._between = cycle(_BETWEEN)

    def dispatchers(
        self, kills: int, *, packets: int = 6000, deepest: int = 24, real_share: float = 0.0
    ) -> None:
        """Kill dispatchers: most in the middle of a file, by the clock or at a named point.

        Args:
            kills: how many.
            packets: of each file.
            deepest: the last splice of a file at which to kill; one that reads slowly makes more of them.
            real_share: how many are started as users do, instead of forked.
        """
        done = 0
        while done < kills:
            self.keep_queue_filled(packets)
            is_real = self.rng.random() < real_share
            by_clock = is_real or self.rng.random() < _BY_CLOCK
            fault = "" if by_clock else self._fault(deepest)
            child = self.scenario.start("dispatcher", fault=fault, is_real=is_real)
            if by_clock:
                self._let_run_for_a_while()
                child.kill()
            elif not self.dies_at(fault, child):
                child.kill()
            if child.poll() != -9:
                self.figures.violated(f"a dispatcher ended by itself: {child.poll()}")
            self.watch.died("dispatcher")
            done += 1
            if len(self.scenario.accepted) >= _ROUND_FILES or done == kills:
                self._round_with_a_dispatcher()

    def launchers(self, kills: int, *, packets: int = 1500) -> None:
        """Kill launchers in the middle of a file; the analyzer dies with it, a new stream follows.

        Every second time the dispatcher is stopped meanwhile, and holds the pipe open: the analyzer dies too.
        """
        for number in range(kills):
            self.wait_for_flight(packets)
            dispatcher = self.scenario.roles["dispatcher"]
            if number % 2:
                dispatcher.send_signal(signal.SIGSTOP)
            self.scenario.kill_launcher()
            self.watch.died("launcher")
            self.scenario.start("consumer_launcher")
            dispatcher.send_signal(signal.SIGCONT)
            self.watch.until_moved()
            self.round_if_due()
        self.round()

    def analyzers(self, kills: int, *, packets: int = 1500) -> None:
        """Kill analyzers in the middle of a file; two of three while somebody else has the pipe open."""
        for number in range(kills):
            self.wait_for_flight(packets)
            mode = (None, os.O_WRONLY, os.O_RDONLY)[number % 3]
            stranger = None if mode is None else os.open(self.scenario.pipe, mode | os.O_NONBLOCK)
            self.scenario.kill_analyzer()
            self.watch.died("analyzer")
            self.watch.until_moved()
            if stranger is not None:
                os.close(stranger)
            self.scenario.add_files(
                1, 10
            )  # even if all was fed when it died, there is a stream that ends well
            self.round()  # .. and begins the back-off anew

    def finished_files(self, kills: int, *, packets: int = 900) -> None:
        """Kill the analyzer as soon as Redis has a file as processed: it has to have read all of it."""
        for _ in range(kills):
            before = self.scenario.done_count()
            self.keep_queue_filled(packets)
            self.watch.until(lambda before=before: self.scenario.done_count() > before)  # type: ignore[misc]
            self.scenario.kill_analyzer()
            self.watch.died("analyzer")
            self.watch.until_moved()
            self.round()

    def controllers(self, kills: int, *, packets: int = 100) -> None:
        """Kill controllers around a grant, by a named point or by the clock."""
        for number in range(kills):
            self.keep_queue_filled(packets)
            child = self.scenario.roles["controller"]
            if number % 3:
                child.kill()
                fault = f"{CONTROLLER_POINTS[number % 2]}:{self.rng.randint(1, 3)}:kill"
                child = self.scenario.start("controller", fault=fault)
                self.dies_at(fault, child)
            else:
                time.sleep(self.rng.random() / 50)
            child.kill()
            self.watch.died("controller")
            self.scenario.start("controller")
            self.keep_queue_filled(packets)
            self.watch.until_moved()
            self.round_if_due()
        self.round()

    def redises(self, kills: int, *, packets: int = 1500) -> None:
        """Kill Redis at any moment, and start it again at once or a while later."""
        for _ in range(kills):
            self.keep_queue_filled(packets)
            time.sleep(self.rng.random() / 20)
            self.scenario.kill_redis()
            time.sleep(self.rng.choice([0, 0, 0, 0.2]))
            self.scenario.start_redis()
            self.watch.died("redis")
            self.watch.until_moved()
            self._check_names()
            self.round_if_due()
        self.round()

    def everything(self, kills: int, *, packets: int = 1500) -> None:
        """Kill all processes within a millisecond, as a power loss would, and start them in any order."""
        for _ in range(kills):
            self.wait_for_flight(packets)
            self.scenario.mark_stream_killed()
            roles = ["dispatcher", "controller", "consumer_launcher", "redis"]
            self.rng.shuffle(roles)
            for role in roles:
                self.scenario.kill_redis() if role == "redis" else self.scenario.roles[role].kill()
            self.rng.shuffle(roles)
            for role in roles:
                self.scenario.start_redis() if role == "redis" else self.scenario.start(role)
            self.watch.died("everything")
            self.watch.until_moved()
            self.round_if_due()
        self.round()

    def round(self) -> None:
        """Let everything that is queued be fed, end the stream, check, and begin anew."""
        self.watch.until(self.scenario.is_done)
        if not self.scenario.end_stream():
            self.figures.hung("the stream did not end")
        self.figures.checked(self._check(self.scenario), "round")
        failed = lists_of(self.scenario).failed
        self.figures.violations += [f"failed: {name!r}" for name in failed]
        self.scenario.clear()

    def round_if_due(self) -> None:
        """Do what `round` does if enough was fed for it."""
        if len(self.scenario.accepted) >= _ROUND_FILES:
            self.round()

    def _round_with_a_dispatcher(self) -> None:
        """Do what `round` does; the dispatcher that it needs is not one of those that are killed."""
        child = self.scenario.start("dispatcher")
        self.round()
        child.kill()

    def keep_queue_filled(self, packets: int) -> None:
        """Queue three files if fewer are left."""
        if len(self.scenario.accepted) - self.scenario.done_count() < 3:
            self.scenario.add_files(3, packets, forms=FORMS)

    def wait_for_flight(self, packets: int) -> None:
        """Wait until a file is being fed, and then a random moment."""
        self.keep_queue_filled(packets)
        self.watch.until(lambda: (sent := sent_of(self.scenario)) and sent.has_file)
        self.pause(0.05)

    def pause(self, longest_s: float) -> None:
        """Wait for a random time, so that something happens at any moment."""
        time.sleep(self.rng.random() * longest_s)

    def _fault(self, deepest: int) -> str:
        if self.rng.random() < _IN_FILE_SHARE:
            return f"{self.rng.choice(_IN_FILE)}:{self.rng.randint(1, deepest)}:kill"
        return f"{next(self._between)}:1:kill"

    def _let_run_for_a_while(self) -> None:
        self.watch.until_moved()
        time.sleep(self.rng.random() / 50)

    def dies_at(self, fault: str, child: Process) -> bool:
        """Wait until the fault has come, and count it; False if there was no occasion for it."""

        def is_over() -> bool:
            self.watch.look()
            self.keep_queue_filled(500)
            return child.poll() is not None

        has_died = is_met(is_over, HANG_S)
        self.figures.counts[f"at {fault.partition(':')[0]}"] += has_died
        return has_died

    def _check_names(self) -> None:
        """Ask Redis where all names are; one that is lost is counted once, and not waited for."""
        found = check_names(lists_of(self.scenario), self.scenario.accepted)
        self.figures.checked([found], "after Redis was killed")
        for name in found.missing:
            self.scenario.accepted.remove(name)
