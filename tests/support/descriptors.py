"""Descriptors of processes: counted, broken, used up. System calls fail for real, without mocks."""

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_descriptors(pid: int | str = "self") -> set[int]:
    """Return the open descriptors of a process, of this one unless another is named.

    What earlier tests have left to the collector is closed first: it could be closed between two looks.
    """
    if pid == "self":
        gc.collect()
        gc.freeze()  # what is still in use is not looked through by the next call: 80 ms each
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists()}


def break_descriptor(descriptor: int) -> None:
    """Let every call on a socket or pipe fail: the null device takes its place."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open no further descriptor."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
