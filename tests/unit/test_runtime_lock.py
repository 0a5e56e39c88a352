"""One process per role, by a lock that the kernel releases when its holder ends."""

import fcntl
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate, ExitCode
from pcapdj.runtime.lock import Lock, holder_of

HOLDER = """
import sys
from pathlib import Path
from pcapdj.runtime.lock import Lock
lock = Lock(Path(sys.argv[1]), "dispatcher")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_gets_the_holders_pid_until_the_holder_is_killed(tmp_path: Path) -> None:
    """After a `kill -9` the kernel has released the lock."""
    place = tmp_path / "role.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(AlreadyRunning, match=rf"Another dispatcher \(pid {holder.pid}\)") as refused:
            Lock(place, "dispatcher")

        assert refused.value.exit_code is ExitCode.BUSY
        holder.kill()
    Lock(place, "dispatcher").close()


def test_a_lock_that_was_closed_is_free(tmp_path: Path) -> None:
    """The file stays: if it were removed, two processes could lock two files."""
    place = tmp_path / "role.lock"

    Lock(place, "launcher").close()
    Lock(place, "launcher").close()

    assert place.stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Also where a link is in its place: the target of the link is not touched."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)

    for place in (tmp_path / "none" / "role.lock", tmp_path / "link"):
        with pytest.raises(CannotCreate, match=place.name):
            Lock(place, "dispatcher")
    assert target.read_text() == "precious"


def test_locks_of_other_processes_fill_no_memory_where_the_holder_is_looked_for(tmp_path: Path) -> None:
    """The kernel has a line for each lock of the machine, and any user may have a million."""
    lines = 4000
    with (tmp_path / "of_others").open("wb") as file, (tmp_path / "ours").open("wb") as ours:
        for place in range(2 * lines, 0, -2):  # the kernel goes through those before
            fcntl.fcntl(file, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, place, 1, 0))
        fcntl.flock(ours, fcntl.LOCK_EX)
        tracemalloc.start()
        try:
            holder = holder_of(ours.fileno())
            most_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert holder.pid == os.getpid()
    assert most_bytes < 32 * lines
