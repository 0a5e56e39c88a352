"""Another process of the same user cannot look into one of ours, and a password leaves its environment."""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import typer
from support.captures import classic
from support.forkserver import clean_environment, start
from support.redis_server import PrivateRedis, redis_at
from support.roles_rig import numbered
from support.waiting import wait_until

from pcapdj.runtime.command import exit_code_of, new_app
from pcapdj.runtime.environment import forget

NOBODY: Final = 65534
PASSWORD: Final = "c4nary-in-a-cage"  # noqa: S105 - of a test
_SET_DUMPABLE: Final = 4
_libc: Final = ctypes.CDLL(None)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    """Run the work in a child of another user, as a new program of that user would; yield its pid."""
    exit_code_of(new_app_that(lambda: None), "pcapdj work", [])  # imports what the other user cannot read
    ready, has_begun = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        _libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # as execve sets it; a change of the user had cleared it
        os.dup2(has_begun, 3)
        work()
        os._exit(0)
    os.close(has_begun)
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def command() -> None:
    """Run a command of ours that works until it is killed."""

    def pause() -> None:
        os.write(3, b"x")
        signal.pause()

    exit_code_of(new_app_that(pause), "pcapdj work", [])


def new_app_that(work: Callable[[], None]) -> typer.Typer:
    """Return an app whose command does this."""
    app = new_app()
    app.command()(work)
    return app


def with_debugger() -> None:
    """Run it where the user wants to debug."""
    os.environ["PCAPDJ_DEBUGGER"] = "1"
    command()


def with_password() -> None:
    """Forget a variable that the process was started with, in a process that only root may look into."""

    def forget_it() -> None:
        forget("HOME")
        os.write(3, b"x")
        signal.pause()

    exit_code_of(new_app_that(forget_it), "pcapdj work", [])


def readable(pid: int) -> set[str]:
    """Return what another process of the same user can read of a process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        for name in ("environ", "mem", "auxv"):
            try:
                os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
                os.write(writing, f"{name}\n".encode())
            except OSError:
                pass
        try:
            os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
            os.write(writing, b"fd\n")
        except OSError:
            pass
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as found:
        return set(found.read().split())


@needs_root
def test_no_process_of_the_same_user_can_look_into_a_command() -> None:
    """Not its environment, memory or descriptors: an analyzer runs as the same user."""
    with forked(command) as pid:
        assert readable(pid) == set()


@needs_root
def test_a_variable_leaves_the_memory_of_a_process_that_is_not_roots() -> None:
    """The process cannot read its own environment in /proc any more; root still sees it there."""
    home = f"HOME={os.environ['HOME']}".encode()
    assert home in Path("/proc/self/environ").read_bytes()

    with forked(with_password) as pid:
        assert home not in Path(f"/proc/{pid}/environ").read_bytes()


@needs_root
def test_a_user_who_wants_to_debug_can() -> None:
    """With PCAPDJ_DEBUGGER all of it is as for other programs."""
    with forked(with_debugger) as pid:
        assert readable(pid) == {"environ", "mem", "auxv", "fd"}


@pytest.fixture
def locked(short_path: Path) -> Iterator[PrivateRedis]:
    """Return a Redis with a password."""
    with redis_at(short_path / "s") as server:
        server.client.config_set("requirepass", PASSWORD)
        yield server


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["pcapdj.controller"], id="controller", marks=pytest.mark.long),
        pytest.param(["pcapdj.dispatcher", "-b", "pipe", "--follow"], id="dispatcher"),
        pytest.param(["pcapdj", "status", "--watch"], id="status", marks=pytest.mark.long),
    ],
)
def test_the_password_leaves_the_environment_once_it_is_read(
    locked: PrivateRedis, short_path: Path, words: list[str]
) -> None:
    """Also where root looks, and /proc shows what the process was started with; the URL's name stays."""
    url = f"unix://:{PASSWORD}@{locked.socket}"
    place = Path("/proc/{}/environ")
    env = clean_environment(PCAPDJ_REDIS_URL=url, PCAPDJ_WATCH=str(short_path))
    with (short_path / "log").open("wb") as log:
        process = start(*words, env=env, cwd=short_path, stdout=log, stderr=log, is_real=True)

    environ = Path(str(place).format(process.pid))
    wait_until(lambda: PASSWORD.encode() not in environ.read_bytes(), "the password to go")
    wait_until(lambda: len(locked.client.client_list()) > 1, "it to use the password")

    assert b"PCAPDJ_WATCH=" in environ.read_bytes()
    process.kill()


@pytest.mark.long
@pytest.mark.usefixtures("mount")
def test_the_password_leaves_also_the_process_that_waits_for_a_command(
    locked: PrivateRedis, short_path: Path
) -> None:
    """Where a file system that may hang is mounted, its child does the work."""
    test_the_password_leaves_the_environment_once_it_is_read(
        locked, short_path, ["pcapdj", "status", "--watch"]
    )


@pytest.mark.long
def test_a_private_service_does_not_show_the_password_of_another(short_path: Path) -> None:
    """`run` uses no other Redis, but its roles are forks of a process that was started with the variable."""
    capture = short_path / "1.pcap"
    seen = short_path / "seen"
    look = f"cat /proc/$PPID/environ > {seen}; cat $1 > /dev/null"
    words = ["--min-free", "1", "--logdir", str(short_path / "out"), "--", "sh", "-c", look, "sh", "{pipe}"]
    capture.write_bytes(classic(numbered(1, 3, 100)))
    env = clean_environment(PCAPDJ_REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:1", PCAPDJ_DEBUGGER="1")

    process = start("pcapdj", "run", capture, *words, env=env, cwd=short_path, is_real=True)

    process.wait()
    assert b"PCAPDJ_DEBUGGER=1" in seen.read_bytes()
    assert PASSWORD.encode() not in seen.read_bytes()
