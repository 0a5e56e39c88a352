"""Files that were fed whole, as a dispatcher records them, and rounds that make room, on real Redis."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from pcapdj.capture.identity import FedCapture, kept_under
from pcapdj.reclaim.rounds import Disk, Round, run_round
from pcapdj.reclaim.selection import Selected
from pcapdj.runtime import failpoints
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from support.captures import classic
from support.feeding import content_of, identity_of
from support.roles_rig import numbered

ALL = 1 << 60  # more than any disk has
STREAM = "20261126-1"


def write_capture(path: Path, number: int = 1, packets: int = 20) -> Path:
    """Write a capture that is complete."""
    path.write_bytes(classic(numbered(number, packets)))
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def feed(store: Store, *paths: Path, stream: str = STREAM, journal: Mapping[str, Any] | None = None) -> None:
    """Feed files whole, one after the other, into a stream.

    Args:
        store: the lane.
        paths: of the files.
        stream: its id.
        journal: fields of the journal, such as `left_out`.
    """
    jobs = JobQueue(store, "feeding")
    for path in paths:
        name = os.fsencode(path)
        store.redis.rpush(store.keys.in_queue, name)
        jobs.register()
        entry = jobs.take()
        assert isinstance(entry, QueueEntry)
        finish(jobs, entry, stream, journal)
        jobs.unregister()


def finish(
    jobs: JobQueue, entry: QueueEntry, stream: str = STREAM, journal: Mapping[str, Any] | None = None
) -> bytes:
    """Finish the file that was taken, fed whole as it is now; return its content."""
    content, identity = content_of(entry.name), identity_of(entry.name)
    fed = FedCapture(
        to_text(entry.name),
        len(content),
        crc32(content),
        is_whole=True,
        section=0,
        interfaces_end=0,
        identity=identity,
        time_s=time.time(),
    )
    capture = (kept_under(content, len(content)), fed.as_fields())
    result = Result(entry.name, "processed", identity._asdict(), dict(journal or {}), capture=capture)
    assert jobs.finish(replace(entry, stream=stream), result)
    return content


def selected(root: Path, how: str = "delete", target: Path | None = None, **rules: Any) -> Selected:
    """Return what options choose: by default all files below a root may go."""
    to = str(target) if target else ""
    chosen = Selected(how, to, (os.fsencode(root),), keep_last=0, keep_within_s=0.0, keep_free={})
    return chosen._replace(**rules)


def whole_disk(path: Path) -> Disk:
    """Return the disk of a path, until more is free than there is."""
    return Disk(str(path), path.stat().st_dev, ALL, 0)


def make_room(store: Store, chosen: Selected, signals: Signals, path: Path) -> Round:
    """Do one round that would remove everything on the disk of a path."""
    return run_round(store, chosen, [whole_disk(path)], signals)


def names_in(folder: Path) -> list[str]:
    """Return all names in a folder, also hidden ones."""
    return sorted(os.listdir(folder))  # noqa: PTH208 - names


def reclaimed(store: Store) -> dict[str, Any]:
    """Return what Redis has of the captures that went, by the last part of their names."""
    from pcapdj.runtime.foreign_json import decode_object

    found: Any = store.redis.hgetall(store.keys.reclaimed)
    return {os.path.basename(name).decode(): decode_object(value) for name, value in found.items()}  # noqa: PTH119 - bytes


@contextmanager
def at(point: str, act: Callable[[], None]) -> Iterator[None]:
    """Do something once when a removal reaches this point."""
    left = [act]

    def reach(here: str) -> None:
        if here == point and left:
            left.pop()()

    before, failpoints.reach = failpoints.reach, reach
    try:
        yield
    finally:
        failpoints.reach = before
