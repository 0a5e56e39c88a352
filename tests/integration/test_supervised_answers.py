"""What `up`, `down` and `restart` make of a supervisord that answers no question, on a real one."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import forkserver
from support.service_rig import environment, processes_about
from support.waiting import wait_until

from pcapdj.commands import supervised
from pcapdj.commands.supervised import Supervisord
from pcapdj.runtime.errors import ExitCode, PcapdjError

# It ends only when there is a file `go`.
STUBBORN = (
    "[program:stubborn]\ncommand=sh -c 'trap : TERM; touch ready; until [ -e go ]; do sleep 0.02; done'\n"
)


def made(folder: Path, listener: str = "", program: str = "") -> Path:
    """Return a folder with a service of this listener and program."""
    for name in ("var/run", "var/log"):
        (folder / name).mkdir(mode=0o700, parents=True)
    (folder / "supervisord.conf").write_text(
        "[supervisord]\ndirectory=%(here)s\npidfile=%(here)s/var/run/supervisord.pid\n"
        "logfile=%(here)s/var/log/supervisord.log\nchildlogdir=%(here)s/var/log\n"
        f"[unix_http_server]\nfile=%(here)s/var/run/supervisor.sock\nchmod=0700\n{listener}"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"{program}"
    )
    return folder


def supervisord_of(folder: Path) -> Supervisord:
    """Return what a command has of it; its time-out is not for the other sockets of this process."""
    supervisord = Supervisord(folder)
    socket.setdefaulttimeout(None)
    return supervisord


def pcapdj(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command of ours in this folder; return its exit code and what it prints on stderr."""
    done = forkserver.run("pcapdj", *arguments, cwd=folder, env=environment(), forks=True)
    return done.returncode, done.stderr


@pytest.fixture
def ending(short_path: Path) -> Iterator[Path]:
    """Yield the folder of a service that has been told to end, and has a program that does not."""
    folder = made(short_path / "service", program=STUBBORN)
    supervisord = supervisord_of(folder)
    supervisord.begin()
    wait_until((folder / "ready").exists, "the program to run")
    null = forkserver.DEVNULL
    with forkserver.start("pcapdj", "down", cwd=folder, env=environment(), stdout=null, stderr=null) as down:
        wait_until(lambda: is_refused(supervisord), "supervisord to end its program")
        yield folder
        (folder / "go").touch()
        assert down.wait() == 0


def is_refused(supervisord: Supervisord) -> bool:
    """Report whether it answers no question any more."""
    with suppress(PcapdjError):
        supervisord.pid()
        return False
    return True


def test_a_service_that_is_just_ending_is_named_so(ending: Path) -> None:
    """Before, each command showed a traceback until the analyzer had written its results."""
    answers = {name: pcapdj(ending, name) for name in ("up", "down", "restart")}

    sentence = "The service of this folder is just ending. Try again when it has ended.\n"
    assert answers == {name: (ExitCode.UNAVAILABLE, f"pcapdj {name}: {sentence}") for name in answers}


def test_a_supervisord_that_wants_a_password_is_named_with_what_helps(short_path: Path) -> None:
    """Its folder is closed to other users anyway."""
    folder = made(short_path / "service", "username=someone\npassword=secret\n")
    answers = {name: pcapdj(folder, name) for name in ("up", "down")}
    os.kill(int((folder / "var/run/supervisord.pid").read_text()), signal.SIGTERM)
    wait_until(lambda: not processes_about(folder), "supervisord to be gone")

    for name, (code, stderr) in answers.items():
        assert code == ExitCode.UNAVAILABLE
        assert stderr.startswith(f"pcapdj {name}: supervisord answers 401 Unauthorized. Remove username and")
        assert "secret" not in stderr


@pytest.mark.parametrize("name", ["var/run/supervisor.sock", "var/log/supervisord.log"])
def test_a_supervisord_that_hangs_at_its_start_is_killed_and_named(
    short_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder where its socket belongs, a pipe that nobody reads where its log does."""
    monkeypatch.setattr(supervised, "_BEGIN_S", 1)
    folder = made(short_path / "service")
    if name.endswith(".sock"):
        (folder / name).mkdir()
    else:
        os.mkfifo(folder / name)

    with pytest.raises(PcapdjError, match=r"does not start within 1 s, and was killed\. Is something"):
        supervisord_of(folder).begin()

    assert not processes_about(folder)
