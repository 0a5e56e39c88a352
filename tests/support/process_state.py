"""Prints what a process has of its starter, as JSON: how a fork is compared with a new interpreter."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

# Signals of the C library's own threads, which no program can set: posix_spawn leaves them ignored in a
# child if its starter has changed its user once.
_THREADS: Final = sum(1 << number - 1 for number in (32, 33))


def state() -> dict[str, object]:
    """Return what could differ between two ways of starting this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "temporary": tempfile.gettempdir(),
        "signals": {name: int(fields[name], 16) & ~_THREADS for name in ("SigBlk", "SigIgn", "SigCgt")},
        "shared": {name: fields[name] for name in ("Umask", "Threads")},
        "handlers": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "descriptors": sorted(int(each.name) for each in Path("/proc/self/fd").iterdir())[:-1],
        "buffered": [sys.stdout.line_buffering, sys.stderr.line_buffering],
        "encoding": [sys.stdout.encoding, sys.stderr.encoding, sys.stderr.errors],
        "group": os.getpgid(0) == os.getpgid(os.getppid()),
        "name": __name__,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(state()))
    sys.stderr.write("reported")
    raise SystemExit(int(sys.argv[1]))
