"""Feeds queued files as a dispatcher does, but into no pipe: what Redis has afterwards is the same."""

import gzip
import os
from zlib import crc32

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import FedCapture, kept_under
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result

DISPATCHER = "feeding"


def content_of(name: bytes) -> bytes:
    """Return what a capture has, decompressed."""
    with open(name, "rb") as file:  # noqa: PTH123 - bytes
        content = file.read()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def identity_of(name: bytes) -> Identity:
    """Return the identity of a file."""
    found = os.stat(name)  # noqa: PTH116 - bytes
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def take(store: Store) -> QueueEntry | None:
    """Take the next file; it is current then."""
    jobs = JobQueue(store, DISPATCHER)
    jobs.register()
    entry = jobs.take()
    return entry if isinstance(entry, QueueEntry) else None


def feed_next(store: Store, *, is_whole: bool = True, time_s: float = 0.0) -> bytes:
    """Feed the next file, or that which is current, whole; return its name.

    Args:
        store: the lane.
        is_whole: it is processed; else it failed because it was cut off at its end.
        time_s: when, since 1970.
    """
    entry = take(store)
    assert entry, "nothing is queued"
    content, identity = content_of(entry.name), identity_of(entry.name)
    capture = FedCapture(
        to_text(entry.name), len(content), crc32(content), is_whole, 0, 0, identity, time_s
    ).as_fields()
    result = Result(
        entry.name if is_whole else b'{"name": "", "reason": "cut off"}',
        "processed" if is_whole else "failed",
        identity=identity._asdict(),
        capture=(kept_under(content, len(content)), capture),
    )
    assert JobQueue(store, DISPATCHER).finish(entry, result)
    return entry.name


def feed_all(store: Store) -> list[bytes]:
    """Feed all queued files; return their names."""
    names = []
    while store.redis.llen(store.keys.in_queue):
        names.append(feed_next(store))
    return names
