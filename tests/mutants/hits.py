"""Copied into the recorded package as `_hits`: notes which blocks ran, for the test that runs meanwhile.

A process that a test started has the test's name in its environment. Each first sight is written at once, so
that `kill -9` loses none, and no descriptor stays open, since tests count them.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent.parent / "hits"
VARIABLE: Final = "PYTEST_CURRENT_TEST"  # pytest sets it to `file::test (call)`
seen: Final[set[str]] = set()
os.register_at_fork(after_in_child=seen.clear)
_open, _write, _close = os.open, os.write, os.close  # a test may replace them


def hit(block: str) -> None:
    """Note that the running test has run this block."""
    if block not in seen:
        seen.add(block)
        note(os.environ.get(VARIABLE, "").rpartition(" ")[0], block)


def path_of(test: str) -> Path:
    """Return the file of a test's notes."""
    return FOLDER / hashlib.sha1(os.fsencode(test), usedforsecurity=False).hexdigest()


def note(test: str, line: str) -> None:
    """Append a line to the notes of a test; what runs without a test leaves none."""
    if test:
        with contextlib.suppress(OSError):  # a test's process may have no descriptor left
            fd = _open(path_of(test), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            _write(fd, os.fsencode(f"{line}\n"))
            _close(fd)
