"""The launcher's socket in this process, with real clients and system calls that fail."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.descriptors import break_descriptor, no_descriptor_left, open_descriptors

from pcapdj.analyzer.server import LauncherServer
from pcapdj.launcher_protocol import (
    LauncherReply,
    LauncherRequest,
    RequestType,
    decode_reply,
    encode_request,
)
from pcapdj.runtime import log
from pcapdj.runtime.errors import CannotCreate

GET = encode_request(LauncherRequest(RequestType.GET))
OPEN = encode_request(LauncherRequest(RequestType.OPEN))


@pytest.fixture
def server(short_path: Path) -> Iterator[LauncherServer]:
    """Return a listening server."""
    server = LauncherServer(short_path / "s")
    yield server
    server.close()


@pytest.fixture
def connect(short_path: Path) -> Iterator["Connect"]:
    """Return a function that connects a client; all of them are closed in the end."""
    with ExitStack() as stack:
        yield Connect(short_path / "s", stack)


class Connect:
    """Connects clients."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self._stack = stack

    def __call__(self) -> socket.socket:
        """Return a new client; a reply has to come at once."""
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        client.connect(str(self._path))
        client.setblocking(False)
        return client


def accepted(server: LauncherServer) -> int:
    """Accept the client that waits; return the descriptor of the server's end."""
    before = open_descriptors()
    server.accept_client()
    [end] = open_descriptors() - before
    return end


def test_a_request_is_owed_a_reply_until_it_is_sent(server: LauncherServer, connect: Connect) -> None:
    """The launcher starts an analyzer while OPEN is owed its reply."""
    client = connect()
    server.accept_client()
    client.send(OPEN)
    assert not server.owes_reply

    assert server.next_request() == (LauncherRequest(RequestType.OPEN), ())
    assert server.owes_reply
    server.reply(LauncherReply(stream="a"))

    assert not server.owes_reply
    assert decode_reply(client.recv(1000)).stream == "a"


def test_a_second_client_takes_nothing_of_what_the_first_one_requests(
    server: LauncherServer, connect: Connect
) -> None:
    """It is only looked whether the first one is still there; its request stays whole."""
    client = connect()
    server.accept_client()
    client.send(OPEN)

    second = connect()
    server.accept_client()

    assert second.recv(1000)
    assert server.next_request() == (LauncherRequest(RequestType.OPEN), ())


def test_a_request_before_the_reply_ends_the_connection(server: LauncherServer, connect: Connect) -> None:
    """Its reply could be taken for that of OPEN."""
    client = connect()
    server.accept_client()
    client.send(OPEN)
    client.send(GET)
    assert server.next_request() is not None

    assert server.next_request() is None

    assert decode_reply(client.recv(1000)).error == "OPEN is not answered yet"
    assert client.recv(1000) == b""
    assert not server.owes_reply


def test_a_client_that_left_is_owed_nothing(server: LauncherServer, connect: Connect) -> None:
    """No analyzer is started for a dispatcher that is gone."""
    client = connect()
    server.accept_client()
    client.send(OPEN)
    assert server.next_request() is not None

    client.close()

    assert server.next_request() is None
    assert server.client_pid is None
    assert not server.owes_reply


def test_a_client_that_left_replies_unread_is_disconnected(server: LauncherServer, connect: Connect) -> None:
    """The kernel reports a reset once; the next client is served."""
    client = connect()
    server.accept_client()
    server.reply(LauncherReply())

    client.close()

    assert server.next_request() is None
    assert server.client_pid is None
    connect()
    server.accept_client()
    assert server.client_pid == os.getpid()


def test_a_client_that_does_not_take_its_reply_is_disconnected(
    server: LauncherServer, connect: Connect
) -> None:
    """The launcher never waits for a dispatcher that stopped reading."""
    connect()
    server.accept_client()

    for _ in range(10_000):
        server.reply(LauncherReply(stream="a"))

    assert server.client_pid is None


def test_a_broken_connection_is_closed_and_no_traceback(server: LauncherServer, connect: Connect) -> None:
    """Whatever the kernel reports about a client, the launcher goes on."""
    connect()
    end = accepted(server)
    break_descriptor(end)

    assert server.next_request() is None

    assert server.client_pid is None
    assert end not in open_descriptors()


def test_a_broken_connection_does_not_keep_the_next_client_out(
    server: LauncherServer, connect: Connect
) -> None:
    """A client counts as connected only while its socket works."""
    connect()
    break_descriptor(accepted(server))

    successor = connect()
    server.accept_client()

    successor.send(GET)
    assert server.next_request() == (LauncherRequest(RequestType.GET), ())


def test_a_second_client_gets_the_pid_of_the_first(server: LauncherServer, connect: Connect) -> None:
    """And no descriptor of it stays open."""
    connect()
    server.accept_client()
    before = open_descriptors()
    second = connect()

    server.accept_client()

    reply = decode_reply(second.recv(1000))
    assert (reply.error, reply.pid) == ("busy", os.getpid())
    assert open_descriptors() - before == {second.fileno()}


def test_without_a_free_descriptor_the_client_waits(
    server: LauncherServer, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    """The launcher and its analyzer live on; it does not spin on a socket that stays readable."""
    listening = server.descriptors()
    client = connect()

    with no_descriptor_left():
        server.accept_client()

    assert server.descriptors() == ()
    log.flush()
    assert "cannot_accept: No dispatcher can connect: Too many open files" in capsys.readouterr().err
    server.accept_client()
    assert set(listening) < set(server.descriptors())
    client.send(GET)
    assert server.next_request() is not None


def test_a_file_at_the_sockets_path_is_refused_and_left_alone(short_path: Path) -> None:
    """Only an old socket is removed."""
    (short_path / "s").write_bytes(b"precious")

    with pytest.raises(CannotCreate, match="cannot be made: Address already in use"):
        LauncherServer(short_path / "s")

    assert (short_path / "s").read_bytes() == b"precious"


def test_closing_removes_the_socket_file(server: LauncherServer, connect: Connect, short_path: Path) -> None:
    """Also twice; a client sees the end."""
    client = connect()
    server.accept_client()

    server.close()
    server.close()

    assert not (short_path / "s").exists()
    assert client.recv(10) == b""
    assert server.descriptors() == ()
    server.accept_client()
    assert server.client_pid is None
