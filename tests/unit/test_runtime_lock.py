"""One process per role, by a lock that the kernel releases when its holder ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate, ExitCode
from pcapdj.runtime.lock import Lock

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
