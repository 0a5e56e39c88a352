"""The dispatcher's side of the socket, against launchers that are not there, hang, or talk nonsense."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcapdj.feed.launcher_client import LauncherClient
from pcapdj.runtime.errors import CannotCreate, LauncherGone, Stopped
from pcapdj.runtime.signals import Signals


@pytest.fixture
def listening(short_path: Path) -> Iterator[socket.socket]:
    """Return a socket in the launcher's place; the test answers, or does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(short_path / "s"))
        listening.listen(1)
        yield listening


@pytest.fixture
def launcher(short_path: Path, signals: Signals) -> Iterator[LauncherClient]:
    """Return a client of that place."""
    launcher = LauncherClient(short_path / "s", signals)
    yield launcher
    launcher.close()


def test_a_launcher_that_is_not_there_is_an_answer(launcher: LauncherClient) -> None:
    """Connecting never blocks and never raises for it; asking does."""
    assert not launcher.connect()
    assert not launcher.is_alive()
    with pytest.raises(LauncherGone, match="not connected"):
        launcher.get()


def test_a_stale_socket_file_is_no_launcher(launcher: LauncherClient, listening: socket.socket) -> None:
    """After kill -9 the file is still there, and nobody behind it."""
    listening.close()

    assert not launcher.connect()


def test_a_path_that_is_too_long_is_told_at_once(signals: Signals) -> None:
    """Before anything is tried."""
    with pytest.raises(CannotCreate, match="107"):
        LauncherClient(Path("/x" * 60), signals)


def test_a_launcher_that_does_not_answer_is_gone(launcher: LauncherClient, listening: socket.socket) -> None:
    """A late answer could never be told from the next one: the connection is closed."""
    assert launcher.connect()
    assert launcher.is_alive()

    with pytest.raises(LauncherGone, match="did not answer within 2 s"):
        launcher.drop("5ca1ab1e", "file")

    assert not launcher.is_alive()
    assert listening.fileno() >= 0


def test_a_second_stop_signal_ends_the_wait_for_an_answer(
    launcher: LauncherClient, listening: socket.socket, signals: Signals
) -> None:
    """The first lets a question be answered; the second means now."""
    assert launcher.connect()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.stop_count == 2

    with pytest.raises(Stopped):
        launcher.end("5ca1ab1e")
    assert listening.fileno() >= 0


@pytest.mark.parametrize(
    "answer",
    [b"nonsense", b"[]", b'{"ok":true,"stream":"5ca1ab1e"}', b'{"ok":true,"entries":7}', b"x" * 70_000],
)
def test_nonsense_is_as_good_as_no_launcher(
    launcher: LauncherClient, listening: socket.socket, answer: bytes
) -> None:
    """An open stream without its write end is nonsense too."""
    assert launcher.connect()
    with listening.accept()[0] as connection:
        connection.send(answer)

        with pytest.raises(LauncherGone):
            launcher.get()


def test_descriptors_that_nobody_asked_for_are_closed(
    launcher: LauncherClient, listening: socket.socket
) -> None:
    """A launcher that sends too many cannot fill our table."""
    assert launcher.connect()
    with listening.accept()[0] as connection, Path(os.devnull).open("rb") as null:
        before = len(list(Path("/proc/self/fd").iterdir()))
        socket.send_fds(connection, [b'{"ok":true}'], [null.fileno()] * 3)
        launcher.drop("5ca1ab1e", "file")
        socket.send_fds(connection, [b'{"ok":true}'], [null.fileno()] * 30)

        with pytest.raises(LauncherGone):
            launcher.drop("5ca1ab1e", "file")

        assert len(list(Path("/proc/self/fd").iterdir())) == before - 1  # the connection's own


def test_a_launcher_that_dies_is_seen_without_asking(
    launcher: LauncherClient, listening: socket.socket
) -> None:
    """Its descriptor turns readable, and it is no longer alive."""
    assert launcher.connect()
    listening.accept()[0].close()

    assert not launcher.is_alive()
