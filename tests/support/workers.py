"""Which process does the work of a command: its child where a file system that may hang is mounted."""

from pcapdj.runtime.process_tree import children_of


def worker_of(pid: int) -> int:
    """Return the process that works for the one that was started."""
    return next(iter(children_of(pid)), pid)
