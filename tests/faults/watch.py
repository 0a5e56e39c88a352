"""Looks whether a scenario moves: how soon after a kill, and that it never stands still."""

import time
from collections.abc import Callable
from contextlib import suppress

import redis
from support.waiting import scaled

from faults.evidence import sent_of
from faults.figures import Figures
from faults.packets import RECORD
from faults.scenario import HANG_S, Scenario

_WAIT_S = 0.002
_LOOK_S = 0.01
_PAUSES_PER_LOOK = 3  # a look costs as much as what it looks at, and takes its CPU
_BLIND_S = 1.0  # no look for this long, as while streams are checked: what was before does not count


class Watch:
    """Measures recoveries and notices hangs.

    Args:
        scenario: what is watched.
        figures: where recoveries, hangs and kills are counted.
    """

    def __init__(self, scenario: Scenario, figures: Figures) -> None:
        self._scenario = scenario
        self._figures = figures
        self._deaths: list[tuple[str, float]] = []
        self._last = frozenset[object]()
        self._moved_s = self._looked_s = time.monotonic()

    def died(self, kind: str) -> None:
        """Count a kill, and wait for a sign of life from now on."""
        self._figures.kills[kind] += 1
        self._deaths.append((kind, time.monotonic()))
        self._last = self._state()
        self._moved_s = time.monotonic()
        if kind == "dispatcher":
            self._count_place()

    def look(self) -> bool:
        """Report whether something has moved since the last look."""
        state, now_s = self._state(), time.monotonic()
        if now_s - self._looked_s > _BLIND_S:
            self._moved_s = now_s
        self._looked_s = now_s
        if state <= self._last:
            if now_s - self._moved_s > scaled(HANG_S):
                self._figures.hung(f"nothing moved for {HANG_S:g} s after {self._deaths or 'a pause'}")
                self._moved_s = now_s
                self._deaths.clear()
            return False
        self._last, self._moved_s = state, now_s
        for kind, died_s in self._deaths:
            self._figures.recovered(kind, now_s - died_s)
        self._deaths.clear()
        return True

    def until(self, condition: Callable[[], object]) -> bool:
        """Look until the condition holds; False after a hang."""
        hangs, begun_s = self._figures.hangs, time.thread_time()
        while not condition():
            if time.monotonic() - self._looked_s >= _LOOK_S:
                self.look()
            if self._figures.hangs > hangs:
                return False
            time.sleep(max(_WAIT_S, _PAUSES_PER_LOOK * (time.thread_time() - begun_s)))
            begun_s = time.thread_time()
        return True

    def until_moved(self) -> bool:
        """Look until something moves, or nothing is left that could; False after a hang."""
        has_moved = self.until(lambda: self.look() or self._scenario.is_done())
        self._deaths.clear()  # of those after which nothing was left to do no time is counted
        return has_moved

    def _state(self) -> frozenset[object]:
        """Return what grows when files move: what is in the pipe, files that Redis has journalled."""
        sent = sent_of(self._scenario)
        positions = {("sent", sent.note.token, sent.note.number, len(sent.rest))} if sent else set[object]()
        with suppress(redis.RedisError):
            return frozenset({*positions, self._scenario.store.redis.xlen(self._scenario.store.keys.journal)})
        return frozenset(positions)

    def _count_place(self) -> None:
        """Count whether the dispatcher died in the middle of a file, and of a record."""
        sent = sent_of(self._scenario)
        if sent and sent.has_file:
            self._figures.mid_file += 1
            self._figures.mid_record += not _is_whole(sent.rest)


def _is_whole(rest: bytes) -> bool:
    """Report whether the rest of a batch begins with a record, and not in the middle of one."""
    at = 0
    while at + RECORD.size <= len(rest):
        at += RECORD.size + RECORD.unpack_from(rest, at)[2]
    return at == len(rest)
