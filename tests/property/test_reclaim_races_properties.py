"""Rounds that make room, and everybody else, in any order and between the steps: no capture is lost.

A sensor writes files and uses names again, importers of two lanes queue them, dispatchers take and finish
them, an operator queues them again, another program pushes names. Each of these may happen at any step of a
removal.
"""

import os
from collections.abc import Callable  # noqa: TC003 - hypothesis reads the hints
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.captures import classic
from support.reclaiming import at, finish, names_in, selected, whole_disk
from support.roles_rig import numbered

from pcapdj.capture.files import Identity
from pcapdj.reclaim.folder import PREFIX, Withheld
from pcapdj.reclaim.planning import Plan, plan
from pcapdj.reclaim.recovery import recover
from pcapdj.reclaim.removal import Remover
from pcapdj.reclaim.rounds import needs_of
from pcapdj.runtime.errors import CaptureError, PcapdjError
from pcapdj.runtime.failpoints import RECLAIM_POINTS
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result, failure_entry
from pcapdj.store.keys import Keys
from pcapdj.store.operate import requeue

NAMES = st.sampled_from(["1.pcap", "2.pcap", "3.pcap"])
LANES = st.integers(0, 1)
# what can happen between two steps of a removal; before the last look at the queue, a push is seen
ACTIONS = st.sampled_from(
    ["push", "import", "requeue", "write", "overwrite", "grow", "touch", "feed", "link"]
)
SEEN = {"reclaim.begun", "reclaim.claimed", "reclaim.hidden"}


class Lanes(RuleBasedStateMachine):
    """Two lanes that feed one folder; captures of the first one are removed.

    Attributes:
        fed: by lane, the contents that were fed whole.
        written: every content that the sensor has written, and not changed afterwards.
    """

    store: Store
    folder: Path
    signals: Signals

    @initialize(both=st.booleans())
    def begin(self, both: bool) -> None:  # noqa: FBT001 - hypothesis
        """Start with empty lanes and an empty folder; the second lane may be unused."""
        for key in self.store.redis.scan_iter(match=f"*{self.store.keys.lane}*"):
            self.store.redis.delete(key)
        for name in names_in(self.folder):
            (self.folder / name).unlink()
        self.lanes = [self.store, self.store.in_lane(Keys(f"{self.store.keys.lane}-b"))][: 1 + both]
        self.jobs = [JobQueue(each, "d") for each in self.lanes]
        for each in self.jobs:
            each.register()
        self.fed: list[set[bytes]] = [set() for _ in self.lanes]
        self.written: set[bytes] = set()
        self.count = 0
        self.plan: Plan | None = None

    def _lane(self, number: int) -> int:
        return number % len(self.lanes)

    def _path(self, name: str) -> Path:
        return self.folder / name

    @rule(name=NAMES)
    def write(self, name: str) -> None:
        """A sensor writes a file, in place of one that has the name: a ring that wraps."""
        self.count += 1
        content = classic(numbered(self.count, 3))
        with suppress(FileNotFoundError):
            self.written.discard(self._path(name).read_bytes())
        new = self.folder / "new"
        new.write_bytes(content)
        os.utime(new, (self.count, self.count))
        new.rename(self._path(name))
        self.written.add(content)

    @rule(name=NAMES, both=st.booleans())
    def deliver(self, name: str, both: bool) -> None:  # noqa: FBT001 - hypothesis
        """A new file is fed in one lane or in both, as soon as these have fed all others."""
        self.write(name=name)
        for number in range(1 + both):
            self.push(name=name, lane=number)
            while self.lanes[self._lane(number)].redis.llen(self.lanes[self._lane(number)].keys.in_queue):
                self.feed(lane=number)

    @rule(name=NAMES, lane=LANES)
    def push(self, name: str, lane: int) -> None:
        """Another program pushes a name."""
        self.lanes[self._lane(lane)].redis.rpush(
            self.lanes[self._lane(lane)].keys.in_queue, os.fsencode(self._path(name))
        )

    @rule(name=NAMES, lane=LANES, again=st.booleans())
    def import_one(self, name: str, lane: int, again: bool) -> None:  # noqa: FBT001 - hypothesis
        """An importer queues a file."""
        if (path := self._path(name)).exists():
            found = path.stat()
            version = Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            enqueue_new(self.lanes[self._lane(lane)], {os.fsencode(path): version}, again=again)

    @rule(name=NAMES, lane=LANES)
    def requeue_one(self, name: str, lane: int) -> None:
        """An operator queues a file again."""
        with suppress(PcapdjError):  # it is being removed
            requeue(self.lanes[self._lane(lane)], os.fsencode(self._path(name)))

    @rule(lane=LANES)
    def take(self, lane: int) -> None:
        """A dispatcher takes the next file."""
        self.jobs[self._lane(lane)].take()

    @rule(lane=LANES)
    def feed(self, lane: int) -> None:
        """A dispatcher feeds the file that it has taken, or the next one."""
        number = self._lane(lane)
        entry = self.jobs[number].take()
        if not isinstance(entry, QueueEntry):
            return
        try:
            self.fed[number].add(finish(self.jobs[number], entry))
        except FileNotFoundError:
            failure = failure_entry(entry.name, CaptureError("does not exist"), 0, 1)
            self.jobs[number].finish(entry, Result(failure, "failed"))

    @rule(name=NAMES)
    def change(self, name: str) -> None:
        """A file grows: what it is then was not fed."""
        with suppress(FileNotFoundError):
            before = self._path(name).read_bytes()
            with self._path(name).open("ab") as file:
                file.write(classic(numbered(9, 1))[24:])
            self.written.discard(before)
            self.written.add(self._path(name).read_bytes())

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        """A file gets another time."""
        self.count += 1
        with suppress(FileNotFoundError):
            os.utime(self._path(name), (self.count, self.count))

    @rule()
    def look(self) -> None:
        """A round begins: it plans."""
        needs = needs_of([whole_disk(self.folder)])
        self.plan = plan(self.store, selected(self.folder), needs, 2e9)

    @rule(point=st.sampled_from(RECLAIM_POINTS), action=ACTIONS, name=NAMES, lane=LANES)
    def act(self, point: str, action: str, name: str, lane: int) -> None:
        """The round removes its oldest file, and at one of its steps something else happens."""
        if not self.plan or not self.plan.files:  # else it is an old one
            self.look()
        planned, self.plan = self.plan, None
        if not planned or not planned.files:
            return
        file = planned.files[0]
        target = os.path.basename(file.name).decode() if point in SEEN else name  # noqa: PTH119 - bytes
        pushed = False

        def happens() -> None:
            nonlocal pushed
            pushed = action == "push" and point in SEEN
            self._happen(action, target, lane)

        with at(point, happens):
            try:
                Remover(self.store, planned, selected(self.folder), self.signals).remove(file)
            except Withheld:
                return
        assert not pushed, f"{file.name!r} was removed, and is queued"

    def _happen(self, action: str, name: str, lane: int) -> None:
        actions: dict[str, Callable[[], Any]] = {
            "push": lambda: self.push(name=name, lane=lane),
            "import": lambda: self.import_one(name=name, lane=lane, again=True),
            "requeue": lambda: self.requeue_one(name=name, lane=lane),
            "write": lambda: self.write(name=name),
            "overwrite": lambda: self.change(name=name),
            "grow": lambda: self.change(name=name),
            "touch": lambda: self.touch(name=name),
            "feed": lambda: self.feed(lane=lane),
            "link": lambda: self._link(name),
        }
        actions[action]()

    def _link(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.link(self._path(name), self.folder / "other name")
            (self.folder / "other name").unlink()

    @rule()
    def begin_again(self) -> None:
        """The next process looks at what was left behind."""
        recover(self.store, selected(self.folder), self.signals)

    @invariant()
    def what_is_gone_was_fed_whole(self) -> None:
        """Every capture that the sensor wrote is there, or was fed in the lane whose round it was."""
        if not hasattr(self, "written"):
            return
        there = {path.read_bytes() for path in self.folder.iterdir()}
        assert self.written - there <= self.fed[0]

    @invariant()
    def nothing_stays_claimed(self) -> None:
        """Unless a file was kept hidden, since another one has its name."""
        if not hasattr(self, "lanes") or any(
            name.startswith(PREFIX.decode()) for name in names_in(self.folder)
        ):
            return
        assert not self.store.redis.exists(self.store.keys.reclaiming)
        for lane in self.lanes:
            values: Any = lane.redis.hvals(lane.keys.fed)
            assert all(b'"reclaiming"' not in value for value in values)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_capture_is_lost_whatever_happens_meanwhile(
    store: Store, tmp_path: Path, signals: Signals
) -> None:
    """On a real Redis and real files."""
    parts = {"store": store, "folder": tmp_path, "signals": signals}
    try:
        run_state_machine_as_test(
            type("LanesInRedis", (Lanes,), parts), settings=settings(stateful_step_count=30)
        )
    finally:
        for key in store.redis.scan_iter(match=f"*{store.keys.lane}*"):
            store.redis.delete(key)
