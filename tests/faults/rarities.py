"""Kills at the points that no file in flight passes: of launchers, of importers, of a drained queue."""

import os
import shutil
import signal
from typing import Final

from faults.kills import Schedule
from faults.nursery import Child
from faults.packets import write_numbered
from faults.site import HANG_S
from pcapdj.runtime.failpoints import IMPORTER_POINTS, LAUNCHER_POINTS

_IMPORTED: Final = 40  # captures in a folder; the importer queues several at once


def launchers(schedule: Schedule, kills: int) -> None:
    """Each launcher dies at the next point; the file in flight is fed again from its first packet."""
    site = schedule.site
    site.kill_launcher()
    for number in range(kills):
        fault = f"{LAUNCHER_POINTS[number % len(LAUNCHER_POINTS)]}:1:kill"
        schedule.keep_queue_filled(600)
        launcher = site.start("consumer_launcher", fault=fault)
        if fault.startswith("launcher.end:"):
            schedule.watch.until(site.is_done)
            site.store.redis.set(site.store.keys.finish, "empty")
        _await_death(schedule, fault, launcher)
        site.mark_stream_killed()
        schedule.watch.died("launcher")
        if len(site.accepted) >= _IMPORTED:
            site.start("consumer_launcher")
            schedule.watch.until_moved()
            schedule.round()
            site.kill_launcher()
    site.start("consumer_launcher")
    schedule.round()


def importers(schedule: Schedule, kills: int) -> None:
    """Each importer dies at the next point; another one of the same folder queues each file once."""
    site = schedule.site
    for number in range(kills):
        fault = f"{IMPORTER_POINTS[number % len(IMPORTER_POINTS)]}:1:kill"
        folder = site.captures / f"inbox-{number}"
        folder.mkdir()
        first = max(site.files, default=0) + 1
        files = {each: write_numbered(folder, each, 3) for each in range(first, first + _IMPORTED)}
        importer = site.start("importer", str(folder), fault=fault)
        _await_death(schedule, fault, importer)
        schedule.watch.died("importer")
        if site.start("importer", str(folder)).wait(HANG_S):
            schedule.figures.violated(f"the importer after one killed at {fault} failed")
        site.files |= files
        site.accepted += [os.fsencode(file.path) for file in files.values()]
        schedule.watch.until_moved()
        schedule.round()
        shutil.rmtree(folder)


def drained(schedule: Schedule, kills: int) -> None:
    """Each dispatcher has drained the queue and ended the stream, and dies before it has said so."""
    site = schedule.site
    for _ in range(kills):
        site.roles["dispatcher"].kill()
        schedule.keep_queue_filled(20)
        fault = "done:1:kill"
        _await_death(schedule, fault, site.start("dispatcher", "--drain", fault=fault))
        schedule.watch.died("dispatcher")
        site.start("dispatcher")
        schedule.round()


def _await_death(schedule: Schedule, fault: str, child: Child) -> None:
    dies = child.wait(HANG_S) == -signal.SIGKILL
    schedule.figures.counts[f"at {fault.partition(':')[0]}"] += dies
    if not dies:
        schedule.figures.violated(f"not reached: {fault}")
