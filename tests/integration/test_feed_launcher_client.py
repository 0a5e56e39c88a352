"""The dispatcher's side of the socket, against launchers that are absent, hang, break or send garbage."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.descriptors import break_descriptor, open_descriptors
from support.launcher_rig import ActingWaits
from support.waiting import scaled

from pcapdj.feed.launcher_client import LauncherClient
from pcapdj.launcher_protocol import PROTOCOL_VERSION
from pcapdj.runtime.errors import CannotCreate, ExitCode, LauncherGone, Stopped
from pcapdj.runtime.signals import HasFileno, Signals

NOBODY: Final = 65534
OK: Final = b'{"ok":true,"version":%d}' % PROTOCOL_VERSION
OPENED: Final = b'{"ok":true,"stream":"5ca1ab1e","version":%d}' % PROTOCOL_VERSION


@pytest.fixture
def listening(short_path: Path) -> Iterator[socket.socket]:
    """Return a socket in the launcher's place; the test replies, or does not."""
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


def connected_descriptor(launcher: LauncherClient) -> int:
    """Connect, and return the descriptor of the client's socket."""
    before = open_descriptors()
    assert launcher.connect()
    [descriptor] = open_descriptors() - before
    return descriptor


def test_without_a_launcher_connecting_fails_and_requests_raise(launcher: LauncherClient) -> None:
    """Connecting never blocks and never raises for an absent launcher."""
    assert not launcher.connect()
    assert not launcher.is_alive()
    with pytest.raises(LauncherGone, match="is gone"):
        launcher.get()


def test_a_stale_socket_file_is_not_a_launcher(launcher: LauncherClient, listening: socket.socket) -> None:
    """After kill -9 of the launcher the file is still there, without a process behind it."""
    listening.close()
    before = open_descriptors()

    assert not launcher.connect()

    assert not open_descriptors() - before


def test_a_path_that_is_too_long_is_refused_at_once(signals: Signals) -> None:
    """Before a connection is tried."""
    with pytest.raises(CannotCreate, match="107"):
        LauncherClient(Path("/x" * 60), signals)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_launcher_of_another_user_is_refused(launcher: LauncherClient, listening: socket.socket) -> None:
    """It is named, and its connection is closed."""
    os.seteuid(NOBODY)
    try:
        listening.listen(1)  # the kernel takes the user from here
    finally:
        os.seteuid(0)
    before = open_descriptors()

    with pytest.raises(CannotCreate, match=rf"runs as another user \({NOBODY}\)\.") as refusal:
        launcher.connect()

    assert not open_descriptors() - before
    assert refusal.value.exit_code == ExitCode.CANNOT_CREATE
    assert not launcher.is_alive()


def test_a_second_connect_keeps_the_connection(launcher: LauncherClient, listening: socket.socket) -> None:
    """The launcher would turn a second one away."""
    assert launcher.connect()
    before = open_descriptors()

    assert launcher.connect()

    assert not open_descriptors() - before
    assert listening.fileno() >= 0


def test_a_launcher_that_does_not_reply_is_gone(launcher: LauncherClient, listening: socket.socket) -> None:
    """A late reply could be taken for the next one: the connection is closed."""
    assert launcher.connect()
    assert launcher.is_alive()

    with pytest.raises(LauncherGone, match="did not answer within 2 s"):
        launcher.drop("5ca1ab1e", "file")

    assert not launcher.is_alive()
    assert listening.fileno() >= 0


def test_a_second_stop_signal_ends_the_wait_for_a_reply(
    launcher: LauncherClient, listening: socket.socket, signals: Signals
) -> None:
    """The first one still lets a reply arrive; the second one means now."""
    assert launcher.connect()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.stop_count == 2

    with pytest.raises(Stopped):
        launcher.end("5ca1ab1e")
    assert not launcher.is_alive()  # a late reply could be taken for the next one
    assert listening.fileno() >= 0


def test_a_first_stop_signal_lets_a_reply_arrive(
    short_path: Path, listening: socket.socket, signals: Signals
) -> None:
    """What was asked for is done, and the stream is left in order."""

    def answer() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        connection.send(OK)

    launcher = LauncherClient(short_path / "s", ActingWaits(signals, answer))
    assert launcher.connect()
    connection = listening.accept()[0]

    launcher.end("5ca1ab1e")

    assert signals.stop_count == 1
    assert launcher.is_alive()
    launcher.close()
    connection.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"nonsense",
        b"[]",
        OPENED,
        b'{"ok":true,"entries":7}',
        b"x" * 70_000,
    ],
)
def test_an_invalid_reply_ends_the_connection(
    launcher: LauncherClient, listening: socket.socket, reply: bytes
) -> None:
    """An open stream without its write end is invalid, too."""
    assert launcher.connect()
    with listening.accept()[0] as connection:
        connection.send(reply)

        with pytest.raises(LauncherGone):
            launcher.get()

    assert not launcher.is_alive()


def test_unexpected_descriptors_are_closed(launcher: LauncherClient, listening: socket.socket) -> None:
    """A launcher that sends too many cannot fill the table of this process."""
    assert launcher.connect()
    with listening.accept()[0] as connection, Path(os.devnull).open("rb") as null:
        before = len(open_descriptors())
        socket.send_fds(connection, [OK], [null.fileno()] * 3)
        launcher.drop("5ca1ab1e", "file")
        socket.send_fds(connection, [OK], [null.fileno()] * 30)

        with pytest.raises(LauncherGone):
            launcher.drop("5ca1ab1e", "file")

        assert len(open_descriptors()) == before - 1  # the connection's own


def test_what_a_launcher_sent_before_it_died_is_dropped(
    launcher: LauncherClient, listening: socket.socket
) -> None:
    """An answer that was not asked for; its descriptors are closed."""
    assert launcher.connect()
    with listening.accept()[0] as connection, Path(os.devnull).open("rb") as null:
        socket.send_fds(connection, [OK], [null.fileno()] * 3)
    before = len(open_descriptors())

    with pytest.raises(LauncherGone, match=r"is gone \(Broken pipe\)"):
        launcher.drop("5ca1ab1e", "file")

    assert len(open_descriptors()) == before - 1  # the connection's own


@pytest.mark.parametrize("reply", [b'{"ok":true}', b'{"ok":false,"error":"other version","version":1}'])
def test_a_launcher_of_another_version_is_named_as_what_to_restart(
    launcher: LauncherClient, listening: socket.socket, reply: bytes
) -> None:
    """One that is older has no version in its replies, or refuses."""
    assert launcher.connect()
    with listening.accept()[0] as connection:
        connection.send(reply)

        with pytest.raises(
            LauncherGone, match=f"version {PROTOCOL_VERSION}, the launcher 1: restart the launcher"
        ):
            launcher.get()
        assert json.loads(connection.recv(4096)) == {"word": "GET", "version": PROTOCOL_VERSION}


def test_a_launcher_that_dies_is_noticed_without_a_request(
    launcher: LauncherClient, listening: socket.socket
) -> None:
    """The end of its side is enough."""
    assert launcher.connect()
    listening.accept()[0].close()

    assert not launcher.is_alive()


def test_an_analyzer_that_starts_quickly_is_not_shown_as_waited_for(
    short_path: Path, listening: socket.socket
) -> None:
    """Only from the second second on."""
    shown: list[str] = []

    class FirstWait:
        """A stop signal comes in the first wait."""

        def wait(self, *_arguments: object, waiting_for: str = "", **_options: object) -> None:
            """Record what is shown."""
            shown.append(waiting_for)
            raise Stopped("A stop signal arrived.")

    launcher = LauncherClient(short_path / "s", FirstWait())
    assert launcher.connect()

    with pytest.raises(Stopped):
        launcher.open()

    assert shown == [""]
    assert listening.fileno() >= 0


def test_an_analyzer_that_starts_for_more_than_a_second_is_shown_as_waited_for(
    short_path: Path, listening: socket.socket, signals: Signals
) -> None:
    """Suricata with many rules starts for a minute; meanwhile it is looked at four times a second."""
    begun_s = time.monotonic()
    waits_s: list[float] = []

    class Showing:
        """Waits until something is shown."""

        def wait(
            self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
        ) -> None:
            """Wait, unless something is shown."""
            if waiting_for:
                raise Stopped(f"{waiting_for} {time.monotonic() - begun_s}")
            waits_s.append(timeout_s)
            signals.wait(timeout_s, *readable, stops=stops)

    launcher = LauncherClient(short_path / "s", Showing())
    assert launcher.connect()

    with pytest.raises(Stopped, match=r"Waiting for the analyzer to open the pipe\.") as shown:
        launcher.open()

    assert 1.0 < float(str(shown.value).split()[-1]) < scaled(1.9)
    assert len(waits_s) <= 5
    assert listening.fileno() >= 0


def test_a_launcher_that_dies_with_a_request_unread_is_not_alive(
    short_path: Path, listening: socket.socket
) -> None:
    """The kernel reports a reset instead of an end."""

    class Death:
        """The launcher dies instead of a wait."""

        def wait(self, *_arguments: object, **_options: object) -> None:
            """Close the launcher's end, and see it."""
            connection.close()
            assert not launcher.is_alive()

    launcher = LauncherClient(short_path / "s", Death())
    assert launcher.connect()
    connection = listening.accept()[0]

    with pytest.raises(LauncherGone, match="is gone"):
        launcher.open()


def test_a_request_to_a_launcher_that_died_is_an_error(
    launcher: LauncherClient, listening: socket.socket
) -> None:
    """It is one error, whether sending or receiving fails."""
    assert launcher.connect()
    listening.accept()[0].close()

    with pytest.raises(LauncherGone, match="is gone"):
        launcher.end("5ca1ab1e")

    assert not launcher.is_alive()


def test_a_broken_connection_is_not_alive(launcher: LauncherClient, listening: socket.socket) -> None:
    """Whatever error the kernel reports, the launcher is lost, and the descriptor is closed."""
    descriptor = connected_descriptor(launcher)
    break_descriptor(descriptor)

    assert not launcher.is_alive()

    assert descriptor not in open_descriptors()
    assert listening.fileno() >= 0


def test_a_connection_that_breaks_during_a_wait_is_a_lost_launcher(
    short_path: Path, signals: Signals, listening: socket.socket
) -> None:
    """It is no traceback."""
    launcher = LauncherClient(short_path / "s", ActingWaits(signals, lambda: break_descriptor(descriptor)))
    descriptor = connected_descriptor(launcher)

    with pytest.raises(LauncherGone, match="is gone"):
        launcher.open()

    assert not launcher.is_alive()
    assert listening.fileno() >= 0
