"""Measures how long a dispatcher compares a file with what was fed, before it requests the authorization."""

import json
import os
import time
from pathlib import Path

from bench.service import redis_in, scratch
from pcapdj.capture.fed_before import unchanged
from pcapdj.capture.files import OpenFile
from pcapdj.capture.identity import FedCapture, QueuedFile, digest_of, kept_under, looked_up_under
from pcapdj.capture.opening import capture_of
from pcapdj.store.captures import candidates
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

_CHECKS = 300
_KEPT = 16  # as many as there are of one digest


def checks_ms(path: Path) -> list[float]:
    """Return the times of comparisons of a file that is as it was when it was queued, and when it was fed.

    Fifteen other captures that were fed begin like it. Nothing changed, so nothing is read again.

    Args:
        path: a capture.
    """
    with scratch() as folder, redis_in(folder) as url:
        store = Store(url, Keys())
        file = OpenFile(os.open(path, os.O_RDONLY))
        with capture_of(os.fsencode(path), file) as capture:
            identity, first = capture.identity, capture.first
        queued = QueuedFile(identity, len(first), digest_of(first), "/", "boot")
        one = FedCapture(str(path), identity.size_bytes, 0, True, 0, 0, identity, 0.0)
        fed = [one._replace(identity=identity._replace(ino=number)) for number in range(_KEPT - 1)]
        lines = "\n".join(json.dumps(each.as_fields()) for each in (*fed, one))
        store.redis.hset(store.keys.captures, kept_under(first, identity.size_bytes), lines)
        times_ms = []
        for _ in range(_CHECKS):
            begun_s = time.perf_counter()
            _compare(store, queued.as_fields(), first)
            times_ms.append((time.perf_counter() - begun_s) * 1e3)
        store.close()
    return times_ms


def _compare(store: Store, queued_fields: dict[str, object], first: bytes) -> None:
    """Do what `feed.known_captures` does."""
    queued = QueuedFile.from_fields(queued_fields)
    kept = candidates(store, looked_up_under(first))
    fed = [each for fields in kept if (each := FedCapture.from_fields(fields))]
    if queued is None or not unchanged(queued.identity, fed):
        raise RuntimeError("the file is not known")
