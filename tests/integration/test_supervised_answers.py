"""What `up`, `down` and `restart` make of a supervisord that answers no question, on a real one."""

import os
import signal
import socket
import socketserver
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, cast

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


class OneAnswer(socketserver.StreamRequestHandler):
    """Answers each question of a connection with the same words."""

    def handle(self) -> None:
        """Read a question and answer it, until the connection ends."""
        while (line := self.rfile.readline()) and (length := 0) is not None:
            while (line := self.rfile.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            answer = cast("Any", self.server).answer
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(answer)}\r\n\r\n"
            self.wfile.write(head.encode() + answer)


@contextmanager
def listening(folder: Path, answer: bytes) -> Iterator[None]:
    """Answer in the place of a supervisord."""

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(folder / "var/run/supervisor.sock"), OneAnswer) as server:
        cast("Any", server).answer = answer
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


ANSWERS = {
    "a text for a number": ("x",),
    "a number for a list": (1,),
    "nothing": ([],),
    "a list without fields": ([{}],),
    "a refusal": xmlrpc.client.Fault(10, "BAD_NAME " * 10_000),
}


@pytest.mark.parametrize("command", ["up", "down", "restart"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_of_supervisord_is_one_sentence(
    short_path: Path, command: str, name: str
) -> None:
    """Another version, or another program, listens there."""
    folder = made(short_path / "service")
    answer = xmlrpc.client.dumps(cast("Any", ANSWERS[name]), methodresponse=True).encode()

    with listening(folder, answer):
        code, stderr = pcapdj(folder, command)

    assert code == ExitCode.UNAVAILABLE
    assert stderr.startswith(f"pcapdj {command}: supervisord ")
    assert stderr.count("\n") == 1
    assert len(stderr) < 500


def test_what_is_no_xml_is_one_sentence(short_path: Path) -> None:
    """As a truncated number."""
    folder = made(short_path / "service")
    number = b"<params><param><value><int>x</int></value></param></params>"

    with listening(folder, b"<?xml version='1.0'?><methodResponse>" + number + b"</methodResponse>"):
        code, stderr = pcapdj(folder, "down")

    assert code == ExitCode.UNAVAILABLE
    assert stderr.startswith("pcapdj down: supervisord does not answer: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("command", ["up", "down", "restart"])
@pytest.mark.parametrize("is_given", [False, True])
def test_a_process_of_another_user_is_not_the_supervisord_of_this_folder(
    short_path: Path, command: str, *, is_given: bool
) -> None:
    """It made its socket there while the folder was open to all."""
    folder = made(short_path / "service")
    short_path.chmod(0o755)
    for name in ("", "var", "var/run"):
        (folder / name).chmod(0o777)
    ready, is_ready = os.pipe()
    if not (child := os.fork()):
        os.setgid(65_534)
        os.setuid(65_534)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "var/run/supervisor.sock"))
            listener.listen()
            os.write(is_ready, b"1")
            signal.pause()
        os._exit(0)
    assert os.read(ready, 1) == b"1"
    for name in ("", "var", "var/run"):
        (folder / name).chmod(0o755)
    if is_given:
        os.chown(folder / "var/run/supervisor.sock", 0, 0)

    code, stderr = pcapdj(folder, command)

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (code, stderr.count("\n")) == (ExitCode.UNAVAILABLE if is_given else ExitCode.USAGE, 1)
    if is_given:
        owner = f"nobody (uid 65534), pid {child}"
        assert f"belongs to another user, {owner}. Remove its socket." in stderr
    else:
        sentence = "supervisor.sock' is a socket of nobody (uid 65534). Remove it, or use another folder."
        assert sentence in stderr
