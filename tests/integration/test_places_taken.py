"""What stands in the way of locks, pipe and socket: refused with its owner, never changed or waited for."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from support.captures import Record, classic
from support.forkserver import Finished, run
from support.programs import require_program
from support.service_rig import environment

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate, ExitCode
from pcapdj.runtime.lock import Lock
from pcapdj.store.syncing import lock_data

OTHER: Final = 65534
NAME: Final = f"nobody (uid {OTHER})"
KINDS: Final = ("link", "link to nothing", "named pipe", "folder", "socket", "long file", "second name")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def shared(short_path: Path) -> Path:
    """Return a folder as /tmp."""
    short_path.chmod(0o1777)
    return short_path


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Return a file of ours, which shall stay as it is."""
    path = tmp_path / "precious"
    path.write_text("12345")
    return path


def put(kind: str, path: Path, precious: Path, owner: int = -1) -> None:
    """Put something at a path, as this or another user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(precious),
        "link to nothing": lambda: path.symlink_to(precious.with_name("nothing")),
        "named pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o600),
        "second name": lambda: path.hardlink_to(precious),
        "file": path.touch,
        "long file": lambda: path.write_text("a file of somebody, which is longer than a pid"),
    }
    make[kind]()
    os.chown(path, owner, owner, follow_symlinks=False)


def stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is replaced, truncated or written to."""
    found = path.lstat()
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_lock_file_is_refused_and_left_as_it_is(kind: str, shared: Path, precious: Path) -> None:
    """At once, with its kind and owner; a file with a second name may be any file of ours."""
    place = shared / ".pcapbuffer.dispatcher.lock"
    put(kind, place, precious)
    before = stamp(place)

    with pytest.raises(CannotCreate, match=r"there is a .* of \w+ \(uid \d+\)\. Nothing was written to it"):
        Lock(place, "dispatcher")

    assert stamp(place) == before
    assert precious.read_text() == "12345"
    assert not precious.with_name("nothing").exists()


@needs_root
@pytest.mark.parametrize("kind", ["file", *KINDS[:-1]])
def test_what_another_user_left_is_refused_with_that_user(kind: str, shared: Path, precious: Path) -> None:
    """Also a file that looks like a lock: its owner could hold it for ever."""
    place = shared / ".pcapbuffer.dispatcher.lock"
    put(kind, place, precious, OTHER)

    with pytest.raises(CannotCreate, match=rf"there is a .* of nobody \(uid {OTHER}\)"):
        Lock(place, "dispatcher")

    assert precious.read_text() == "12345"


def start(*command: str | Path, cwd: Path, **variables: str) -> Finished:
    """Run a role that ends because a place is taken; it has ten seconds."""
    redis = {"PCAPDJ_REDIS_URL": f"unix://{cwd}/none.sock"}
    return run("pcapdj", *command, cwd=cwd, env=environment(**redis, **variables), limit_s=10)


@needs_root
@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("dispatch", "-b", "p"), ".p.dispatcher.lock"),
        (("dispatch", "-b", "p", "--id", "main"), "run/pcapdj"),
        (("consume", "--preset", "summary", "--socket", "s", "-b", "own/p"), ".s.lock"),
        (("consume", "--preset", "summary", "--socket", "s", "-b", "p"), ".p.launcher.lock"),
        (("consume", "--preset", "summary", "--socket", "s", "-b", "p"), "s"),
        (("consume", "--preset", "summary", "--socket", "own/s", "-b", "p"), "p"),
        (("consume", "--preset", "summary"), "run/pcapdj"),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(each).replace("/", "."),
)
@pytest.mark.parametrize("kind", ["link", "named pipe", "folder", "file"])
def test_a_role_names_what_stands_in_its_way(
    kind: str, command: tuple[str, ...], place: str, shared: Path, precious: Path
) -> None:
    """One sentence with the owner, the code for what cannot be made, and no traceback."""
    put(kind, shared / place, precious, OTHER)
    os.chown(shared, 0, 0)

    done = start(*command, cwd=shared, XDG_RUNTIME_DIR=str(shared / "run"))

    assert (done.returncode, done.stderr.count("\n")) == (ExitCode.CANNOT_CREATE, 1), done.stderr
    assert NAME in done.stderr
    assert precious.read_text() == "12345"


@contextmanager
def held_by_another_user(path: Path, *, by_a_child: bool = False) -> Iterator[int]:
    """Let a process of another user lock a file or folder that it can read; return the pid of the holder.

    Args:
        path: of the file or folder.
        by_a_child: who made the lock has ended, and a process that it has started keeps it.
    """
    with held(path, OTHER, by_a_child=by_a_child) as pid:
        yield pid


@contextmanager
def held(path: Path, user: int, *, by_a_child: bool) -> Iterator[int]:
    """Let a process of a user lock a file or folder; return the pid of the holder."""
    script = "sleep 60 > /dev/null & echo $!" if by_a_child else "echo $$; exec sleep 60"
    command = [require_program("flock"), "--no-fork", str(path), "sh", "-c", script]
    with subprocess.Popen(command, user=user, group=user, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        holder = int(maker.stdout.readline())
        if by_a_child:
            maker.wait()
        try:
            yield holder
        finally:
            os.kill(holder, signal.SIGKILL)


BY_A_CHILD: Final = pytest.mark.parametrize("by_a_child", [False, True])


@needs_root
@BY_A_CHILD
def test_another_user_who_holds_a_lock_is_named(shared: Path, *, by_a_child: bool) -> None:
    """By the kernel, whatever the file contains."""
    place = shared / "role.lock"
    place.write_text("1\n")
    place.chmod(0o644)

    with (
        held_by_another_user(place, by_a_child=by_a_child) as pid,
        pytest.raises(AlreadyRunning, match=rf"user, nobody \(uid {OTHER}\), pid {pid}, has locked"),
    ):
        Lock(place, "dispatcher")

    assert place.read_text() == "1\n"


@needs_root
@BY_A_CHILD
def test_another_user_can_lock_an_output_folder_and_is_named(shared: Path, *, by_a_child: bool) -> None:
    """It is no other run that one would wait for."""
    (shared / "1.pcap").write_bytes(classic([Record()]))
    (shared / "out").mkdir(mode=0o755)

    with held_by_another_user(shared / "out", by_a_child=by_a_child) as pid:
        done = start("run", "1.pcap", "--preset", "summary", "--logdir", "out", cwd=shared)

    assert done.returncode == ExitCode.BUSY
    assert f"A process of another user, {NAME}, pid {pid}, has locked '{shared}/out'." in done.stderr


@needs_root
def test_in_a_container_too_a_process_that_inherited_a_lock_of_another_user_is_named(shared: Path) -> None:
    """In a PID namespace the kernel leaves a lock out of its list once its maker has ended."""
    (shared / "1.pcap").write_bytes(classic([Record()]))
    (shared / "out").mkdir(mode=0o755)
    as_other = f"{require_program('setpriv')} --reuid={OTHER} --regid={OTHER} --clear-groups"
    locking = f"{as_other} {require_program('flock')} --no-fork out sh -c 'sleep 60 > /dev/null 2>&1 &'"
    script = f'{locking}; grep -c FLOCK /proc/locks; exec "$@"'
    command = [
        sys.executable,
        "-P",
        "-m",
        "pcapdj",
        "run",
        "1.pcap",
        "--preset",
        "summary",
        "--logdir",
        "out",
    ]

    done = subprocess.run(
        [require_program("unshare"), "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", *command],
        cwd=shared,
        env=environment(PCAPDJ_REDIS_URL=f"unix://{shared}/none.sock"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout == "0\n"  # else the kernel shows it, as outside
    assert done.returncode == ExitCode.BUSY
    assert re.search(rf"A process of another user, {re.escape(NAME)}, pid \d+, has locked", done.stderr)


@needs_root
@BY_A_CHILD
def test_the_embedded_redis_does_not_wait_for_another_user(shared: Path, *, by_a_child: bool) -> None:
    """It waits for a server that ends; nobody else ends."""
    (shared / "data").mkdir(mode=0o755)

    with (
        held_by_another_user(shared / "data", by_a_child=by_a_child),
        pytest.raises(AlreadyRunning, match="of another user, nobody"),
    ):
        lock_data(shared / "data")


@needs_root
def test_a_holder_that_only_root_can_see_is_no_second_run_of_ours(shared: Path) -> None:
    """The kernel shows a user who made a lock, but not who inherited it."""
    (shared / "data").mkdir(mode=0o755)

    with held_by_another_user(shared / "data", by_a_child=True):
        os.seteuid(OTHER - 1)
        try:
            with pytest.raises(AlreadyRunning, match=r"^A process of another user has locked .* Root can "):
                lock_data(shared / "data")
        finally:
            os.seteuid(0)


def test_a_process_of_ours_that_inherited_a_lock_is_named(shared: Path) -> None:
    """As one of a role that was killed."""
    place = shared / "role.lock"
    place.touch()

    with (
        held(place, os.geteuid(), by_a_child=True) as pid,
        pytest.raises(AlreadyRunning, match=rf"^Another dispatcher \(pid {pid}\) holds"),
    ):
        Lock(place, "dispatcher")


def test_a_holder_of_ours_is_named_by_the_kernel(shared: Path) -> None:
    """Also if the file has another text."""
    place = shared / "role.lock"
    lock = Lock(place, "dispatcher")
    place.write_text("1\n")

    with pytest.raises(AlreadyRunning, match=rf"^Another dispatcher \(pid {os.getpid()}\) holds"):
        Lock(place, "dispatcher")
    lock.close()
