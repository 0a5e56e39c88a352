"""Kills at the points that no file in flight passes: of launchers, of importers, of a drained queue."""

import os
import shutil
import signal
from typing import Final

from support.forkserver import Process

from faults.kills import Schedule
from faults.packets import write_numbered
from faults.scenario import HANG_S
from pcapdj.runtime.failpoints import IMPORTER_POINTS, LAUNCHER_POINTS

_IMPORTED: Final = 40  # captures in a folder; the importer queues several at once


def launchers(schedule: Schedule, kills: int) -> None:
    """Each launcher dies at the next point; the file in flight is fed again from its first packet."""
    scenario = schedule.scenario
    scenario.kill_launcher()
    for number in range(kills):
        fault = f"{LAUNCHER_POINTS[number % len(LAUNCHER_POINTS)]}:1:kill"
        schedule.keep_queue_filled(600)
        launcher = scenario.start("consumer_launcher", fault=fault)
        if fault.startswith("launcher.end:"):
            schedule.watch.until(scenario.is_done)
            scenario.store.redis.set(scenario.store.keys.finish, "empty")
        _await_death(schedule, fault, launcher)
        scenario.mark_stream_killed()
        schedule.watch.died("launcher")
        if len(scenario.accepted) >= _IMPORTED:
            scenario.start("consumer_launcher")
            schedule.watch.until_moved()
            schedule.round()
            scenario.kill_launcher()
    scenario.start("consumer_launcher")
    schedule.round()


def importers(schedule: Schedule, kills: int) -> None:
    """Each importer dies at the next point; another one of the same folder queues each file once."""
    scenario = schedule.scenario
    for number in range(kills):
        fault = f"{IMPORTER_POINTS[number % len(IMPORTER_POINTS)]}:1:kill"
        folder = scenario.captures / f"inbox-{number}"
        folder.mkdir()
        first = max(scenario.files, default=0) + 1
        files = {each: write_numbered(folder, each, 3) for each in range(first, first + _IMPORTED)}
        importer = scenario.start("importer", str(folder), fault=fault)
        _await_death(schedule, fault, importer)
        schedule.watch.died("importer")
        if scenario.start("importer", str(folder)).poll(HANG_S) != 0:
            schedule.figures.violated(f"the importer after one killed at {fault} failed")
        scenario.files |= files
        scenario.accepted += [os.fsencode(file.path) for file in files.values()]
        schedule.watch.until_moved()
        schedule.round()
        shutil.rmtree(folder)


def drained(schedule: Schedule, kills: int) -> None:
    """Each dispatcher has drained the queue and ended the stream, and dies before it has reported so."""
    scenario = schedule.scenario
    for _ in range(kills):
        scenario.roles["dispatcher"].kill()
        schedule.keep_queue_filled(20)
        fault = "done:1:kill"
        _await_death(schedule, fault, scenario.start("dispatcher", "--drain", fault=fault))
        schedule.watch.died("dispatcher")
        scenario.start("dispatcher")
        schedule.round()


def _await_death(schedule: Schedule, fault: str, child: Process) -> None:
    dies = child.poll(HANG_S) == -signal.SIGKILL
    schedule.figures.counts[f"at {fault.partition(':')[0]}"] += dies
    if not dies:
        schedule.figures.violated(f"not reached: {fault}")
