"""The pipe that an analyzer started by hand reads: whose it may be, and who may use it."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from support.descriptors import open_descriptors
from support.logs import logged
from support.pipes import NoWaits
from support.waiting import wait_until

from pcapdj.feed.manual_link import ManualLink, make_pipe, open_if_read, processes_with
from pcapdj.runtime.errors import CannotCreate, Stopped
from pcapdj.runtime.signals import handled


def test_a_pipe_that_is_made_is_private(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        make_pipe(tmp_path / "pipe")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "pipe").stat().st_mode) == 0o600


def test_a_pipe_without_its_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    """And made by the next start, once the folder is there."""
    with pytest.raises(CannotCreate, match="cannot be made: No such file"):
        make_pipe(tmp_path / "run" / "pipe")

    (tmp_path / "run").mkdir()
    make_pipe(tmp_path / "run" / "pipe")

    assert stat.S_ISFIFO((tmp_path / "run" / "pipe").stat().st_mode)


def test_a_pipe_that_others_may_read_is_used_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mkfifo` makes it so, and the analyzer may be another user's; it is warned of."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o644)

    make_pipe(tmp_path / "pipe")

    assert open_if_read(tmp_path / "pipe") is None
    assert f"WARNING dispatcher pipe_not_private pipe={tmp_path}/pipe: Other users may read" in " ".join(
        logged(capsys, "pipe_not_private").split()
    )


def test_a_pipe_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """Another user could put packets between ours; also if it became so after the start."""
    make_pipe(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o666)

    with pytest.raises(CannotCreate, match="All users can write"):
        make_pipe(tmp_path / "pipe")

    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    before = open_descriptors()
    try:
        with pytest.raises(CannotCreate, match="All users can write"):
            open_if_read(tmp_path / "pipe")
        assert not open_descriptors() - before
    finally:
        os.close(reader)


def test_the_pipe_itself_shows_whether_its_analyzer_is_there(tmp_path: Path) -> None:
    """No other process could report it."""
    link = ManualLink(tmp_path / "pipe", NoWaits())

    assert link.is_alive()
    assert link.has("by-hand-0123")
    assert link.resumable_stream() is None
    assert link.ended_stream() is None


def test_the_readers_of_a_pipe_are_the_other_processes_that_have_it_open(tmp_path: Path) -> None:
    """A pipe that is gone has none; what this process has open is no reader."""
    assert processes_with(tmp_path / "pipe") == []
    (tmp_path / "circle").symlink_to("circle")
    assert processes_with(tmp_path / "circle") == []
    assert processes_with(tmp_path / "circle" / "pipe") == []
    os.mkfifo(tmp_path / "pipe")
    own = os.open(tmp_path / "pipe", os.O_RDWR)
    with subprocess.Popen(["sleep", "600"], stdin=own) as other:
        try:
            wait_until(lambda: processes_with(tmp_path / "pipe") == [other.pid], "the other process")
        finally:
            other.kill()
            os.close(own)


MANY: Final = """
import os, resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
opened = [os.dup(0) for _ in range(3000)]
print("opened", flush=True)
input()
"""


def test_the_search_for_readers_looks_for_stop_signals_among_many_open_files(tmp_path: Path) -> None:
    """A process of any user may have a million, and a stop signal is answered within a second."""
    os.mkfifo(tmp_path / "pipe")
    waits, pipe = NoWaits(), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", MANY], stdin=pipe, stdout=pipe) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"opened\n"

        assert processes_with(tmp_path / "pipe", waits, [other.pid]) == []

        other.stdin.close()
    assert len(waits.shown) >= 4


def test_a_stop_signal_ends_the_search_for_readers(tmp_path: Path) -> None:
    """Whoever they are."""
    with handled() as signals:
        link = ManualLink(tmp_path / "pipe", signals)
        link.remember_readers()
        os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Stopped):
            link.remember_readers()


def test_who_has_another_pipe_open_is_no_reader(tmp_path: Path) -> None:
    """Of the same folder: any user may have some, and the next stream would wait for them."""
    for name in ("pipe", "other"):
        os.mkfifo(tmp_path / name)
    other = os.open(tmp_path / "other", os.O_RDWR)
    with subprocess.Popen(["sleep", "600"], stdin=other) as process:
        try:
            wait_until(lambda: process.pid in processes_with(tmp_path / "other"), "the process")
            assert processes_with(tmp_path / "pipe") == []
        finally:
            process.kill()
            os.close(other)
