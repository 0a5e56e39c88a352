"""The files that wait for their authorization: what is expected of them, and the command before them."""

import time
from collections.abc import Sequence
from contextlib import suppress

from pcapdj.disk.between import run_variables
from pcapdj.disk.between_runner import BetweenRunner
from pcapdj.disk.gate import Cause, Decision, Gate, Override, State
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.next_files import NextFiles, next_files
from pcapdj.disk.output_ratio import OutputRatios
from pcapdj.disk.reserve import ExpectedFile
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.store.grants import CurrentFile, Grants, Pending

events = EventLog("controller")


class RequestedFiles:
    """The requests of the last look, judged by the last measurement of the disks.

    Args:
        grants: has what was learned, and the stream that is open.
        monitor: measures the disks.
        between: runs the command of --between; None: there is none.
    """

    def __init__(self, grants: Grants, monitor: DiskMonitor, between: BetweenRunner | None) -> None:
        self._grants = grants
        self._monitor = monitor
        self._between = between
        self._pending = Pending((), (), {}, is_busy=False)
        self._ratios = OutputRatios()
        self._has_learned = False
        self._reminder = Reminder()

    def look(self, pending: Pending) -> None:
        """Take these requests; learn from the files that finished, and see how the command ended.

        Raises:
            PcapdjError: the process that runs the command is gone.
        """
        self._pending = pending
        if self._monitor.limits.reserve.is_learned and (pending.requested or not self._has_learned):
            self._learn()
        if self._between:
            self._between.look(pending.requested)

    def _learn(self) -> None:
        try:
            groups = self._grants.output_groups()
        except PcapdjError as exc:  # an ACL, or a key of another type: the disks are measured all the same
            if self._reminder.is_due(str(exc), time.monotonic()):
                events.warning("reserve_not_learned", f"{exc} The reserve stays as it was learned before.")
            return
        self._ratios, self._has_learned = OutputRatios.parse(*groups), True

    def judged(self) -> NextFiles:
        """Return what is expected of the files."""
        current = {each.name: each for each in self._pending.current}
        requested = [_expected(current.get(name) or CurrentFile(name)) for name in self._pending.requested]
        # also one that was authorized and is not fed yet; before its request a file has no size in CURRENT
        in_flight = [_expected(each) for name, each in current.items() if name not in self._pending.requested]
        runs = self._between.runs if self._between else None
        return next_files(self._monitor.reserve(self._ratios), requested, in_flight, runs)

    def decide(self, gate: Gate) -> Decision:
        """Return what the gate decides for these files."""
        decision = self._monitor.decision(gate)
        if decision.state is not State.OPEN or decision.cause is Cause.OPERATOR:
            return decision
        return self.judged().decision(decision)

    def authorizable(self) -> Sequence[bytes]:
        """Return the files that may be authorized while the gate is open."""
        is_opened = self._monitor.live.override is Override.OPEN
        return self._pending.requested if is_opened else self.judged().authorizable()

    def run_command(self, state: State) -> None:
        """Start the command if it is due; it runs while the controller goes on.

        Args:
            state: of the gate.
        """
        if self._between is None or self._monitor.live.override is not Override.AUTO:
            return
        files = self.judged()
        if name := self._between.runs.due(files.in_turn, time.monotonic()):
            disks = [each for each in self._monitor.measurements() if each.path and each.unit == "bytes"]
            lane, stream = self._grants.lane, ""
            with suppress(PcapdjError):  # without the right to read it, it is unknown
                stream = self._grants.stream()
            self._between.start(name, run_variables(files.numbers_of(name), disks, state, lane, stream))


def _expected(file: CurrentFile) -> ExpectedFile:
    return ExpectedFile(file.name, file.input_bytes, file.is_compressed)
