"""Stops at any moment, and what must be true of the streams that they cut. The rules at the end have no I/O.

Dispatcher, launcher and Redis are stopped as `supervisorctl stop all` stops them, in any order, and
started again; in some stops one of them is killed on the way. An orderly stop doubles nothing: the next
stream goes on at the record where the last one ended. After a crash a file may come again, from a place
where a stream began.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from faults.checker import UNWRITTEN_BYTES, Findings, Stream, check_names, tags_of
from faults.evidence import lists_of, streams_of
from faults.kills import Schedule
from faults.packets import STREAM_HEADER
from faults.scenario import HANG_S, Scenario
from pcapdj.launcher_protocol import read_ended_stream

_KILL_EVERY: Final = 3  # the third stop of three has a kill in it
_ENOUGH_BYTES: Final = 1000  # of a stream, to find it in the files
_ROLES: Final = ("dispatcher", "consumer_launcher")


def stops(schedule: Schedule, count: int, *, packets: int = 3000, has_kills: bool = True) -> None:
    """Stop and start again so many times, most in the middle of a file; maybe with kills on the way."""
    scenario = schedule.scenario
    for number in range(count):
        schedule.wait_for_flight(packets)
        is_killed = has_kills and number % _KILL_EVERY == _KILL_EVERY - 1
        victim = schedule.rng.choice(_ROLES) if is_killed else ""
        before = read_ended_stream(scenario.socket)
        _stop_all(schedule, victim)
        counts = schedule.figures.counts
        counts["stops with a kill in them" if victim else "orderly stops"] += 1
        counts["stops with a recorded place"] += read_ended_stream(scenario.socket) != before
        for role in schedule.rng.sample(_ROLES, 2):
            scenario.start(role)
        schedule.watch.until_moved()
        schedule.round_if_due()
    schedule.round()


def _stop_all(schedule: Schedule, victim: str) -> None:
    """Send the signals in any order, with pauses of up to 20 ms; kill the victim at some moment."""
    scenario, rng = schedule.scenario, schedule.rng
    parts = rng.sample((*_ROLES, "redis"), 3) if rng.random() < 1 / 2 else rng.sample(_ROLES, 2)
    for part in parts:
        if part == "redis":
            scenario.stop_redis()
        else:
            scenario.roles[part].send_signal(signal.SIGTERM)
        schedule.pause(0.02)
    if victim == "consumer_launcher":
        scenario.kill_launcher()
    elif victim:
        scenario.roles[victim].kill()
    for role in _ROLES:
        status = scenario.roles[role].poll(HANG_S)
        if status is None or (status and role != victim):
            schedule.figures.violated(f"stopped, the {role} ended with {status}")
    if "redis" in parts:
        scenario.start_redis()


def findings(scenario: Scenario) -> list[Findings]:
    """Return what is wrong with the streams of a scenario, and with Redis's lists."""
    names = {os.fsencode(file.path): file.body for file in scenario.files.values()}
    bodies = [names[name] for name in scenario.accepted]
    return [
        check_parts(streams_of(scenario), bodies),
        check_names(lists_of(scenario), scenario.accepted),
    ]


@dataclass(frozen=True, slots=True)
class _Fed:
    """All files as one sequence of bytes, and where each begins in it."""

    content: bytes
    begins: tuple[int, ...]


def check_parts(streams: Sequence[Stream], bodies: Sequence[bytes]) -> Findings:
    """Return what is wrong with streams that have all files in order, some cut by a stop.

    Args:
        streams: the oldest first. Of one that was killed up to `UNWRITTEN_BYTES` may be missing at its end.
        bodies: the files' records, in the order in which they were queued.
    """
    fed = _Fed(b"".join(bodies), tuple(accumulate((len(body) for body in bodies), initial=0)))
    found, places = Findings(), {0}
    for stream in streams:
        places = _places_after(stream, places, fed, found)
    if len(fed.content) not in places:
        found.lost += 1
        found.add(f"the streams end at byte {sorted(places)} of {len(fed.content)}")
    return found


def _places_after(stream: Stream, places: set[int], fed: _Fed, found: Findings) -> set[int]:
    """Return where the next stream may begin."""
    header, data = stream.data[: len(STREAM_HEADER)], stream.data[len(STREAM_HEADER) :]
    if not STREAM_HEADER.startswith(header) or (len(header) < len(STREAM_HEADER) and not stream.was_killed):
        found.torn += 1
        found.add(f"{stream.id}: does not begin with a file header: {header.hex()}")
    begin = next((place for place in sorted(places) if fed.content.startswith(data, place)), None)
    tags, whole_bytes = tags_of(data)
    found.packets += len(tags)
    if begin is None:
        return _places_after_fault(stream.id, data, places, fed, found)
    if whole_bytes < len(data) and not stream.was_killed:
        found.torn += 1
        found.add(f"{stream.id}: torn after {len(tags)} packets")
    end = begin + len(data)
    if not stream.was_killed:
        return {end}
    again = {place for place in fed.begins if begin < place <= end + UNWRITTEN_BYTES}
    return {begin, end} | again | (places if not data else set())


def _places_after_fault(stream: str, data: bytes, places: set[int], fed: _Fed, found: Findings) -> set[int]:
    """Add what is wrong with a stream that does not begin where it may; return where to look on."""
    place, expected = fed.content.find(data[:_ENOUGH_BYTES]), min(places)
    found.doubled += 0 <= place < expected
    found.lost += place < 0 or place > expected
    found.add(f"{stream}: begins at byte {place} of the files instead of {sorted(places)}, or is torn in it")
    return {max(place, 0) + len(data)}
