"""A TCP proxy before Redis that loses, delays, cuts and garbles the answers to chosen requests."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_SCRIPT_COMMANDS: Final = (b"EVALSHA", b"EVAL", b"SCRIPT", b"EXEC")  # and what might replace scripts
_GARBAGE: Final = b"\x16\x03\x01 this is no Redis\r\n"
_TRICKLE_S: Final = 0.0005


@dataclass(slots=True)
class Exchange:
    """One request of the client and what may be done about it."""

    client: socket.socket
    server: socket.socket
    replies: BinaryIO  # of the server, buffered
    request: bytes

    def reply(self) -> bytes:
        """Let Redis work on the request, and return its answer."""
        self.server.sendall(self.request)
        return _one_reply(self.replies)

    def reset(self) -> None:
        """Let the connection break as a dying host does, once it is closed."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Fault = Callable[[Exchange], bool]  # returns whether the connection goes on


def pass_on(exchange: Exchange) -> bool:
    """Do nothing wrong."""
    exchange.client.sendall(exchange.reply())
    return True


def drop_request(exchange: Exchange) -> bool:
    """Redis never hears of it."""
    exchange.reset()
    return False


def drop_reply(exchange: Exchange) -> bool:
    """Redis has done it, and its reply is lost."""
    exchange.reply()
    exchange.reset()
    return False


def delay(exchange: Exchange) -> bool:
    """The answer comes after the client has stopped waiting."""
    reply = exchange.reply()
    exchange.client.settimeout(5)
    with suppress(OSError):
        while exchange.client.recv(4096):  # until the client hangs up
            pass
        exchange.client.sendall(reply)
    return False


def half_close(exchange: Exchange) -> bool:
    """The answer's direction ends; the other one stays open."""
    exchange.reply()
    exchange.client.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        exchange.client.settimeout(5)
        while exchange.client.recv(4096):
            pass
    return False


def garbage(exchange: Exchange) -> bool:
    """Something that is no answer at all."""
    exchange.reply()
    exchange.client.sendall(_GARBAGE)
    return False


def slow(exchange: Exchange) -> bool:
    """The answer comes byte by byte."""
    for byte in exchange.reply():
        exchange.client.sendall(bytes([byte]))
        time.sleep(_TRICKLE_S)
    return True


def cut_after(length_bytes: int) -> Fault:
    """Return the fault that resets the connection in the middle of the answer."""

    def cut(exchange: Exchange) -> bool:
        reply = exchange.reply()
        exchange.client.sendall(reply[:length_bytes])
        exchange.client.shutdown(socket.SHUT_WR)  # a reset might overtake the bytes before it
        return False

    return cut


def refuse(error: str) -> Fault:
    """Return the fault that answers with an error of Redis; the request is not carried out."""

    def answer(exchange: Exchange) -> bool:
        exchange.client.sendall(b"-" + error.encode() + b"\r\n")
        return True

    return answer


FAULTS: Final[Mapping[str, Fault]] = {
    "request dropped": drop_request,
    "reply dropped": drop_reply,
    "reply delayed": delay,
    "half closed": half_close,
    "reset in mid-reply": cut_after(2),
    "garbage": garbage,
    "slow": slow,
}
ERRORS: Final = (
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but cannot.",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "BUSY Redis is busy running a script.",
    "ERR max number of clients reached",
)


class Proxy:
    """Listens on a port of its own; each script request meets the next of the planned faults.

    Args:
        redis_socket: the real Redis.
    """

    def __init__(self, redis_socket: Path) -> None:
        self._redis = redis_socket
        self._plan: Iterator[Fault] = iter(())
        self.requests = 0  # of scripts, since `plan`
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def plan(self, *faults: Fault) -> None:
        """Let the next script requests meet these faults, and all later ones none."""
        self.requests = 0
        self._plan = iter(faults)

    def close(self) -> None:
        """Stop listening."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._redis))
        files = client.makefile("rb"), server.makefile("rb")
        with client, server, files[0] as requests, files[1] as replies, suppress(OSError):
            while request := _one_request(requests):
                fault = self._fault_for(request)
                if not fault(Exchange(client, server, replies, request)):
                    return

    def _fault_for(self, request: bytes) -> Fault:
        if request.split(b"\r\n", 3)[2].upper() not in _SCRIPT_COMMANDS:
            return pass_on
        self.requests += 1
        return next(self._plan, pass_on)


def _one_reply(connection: BinaryIO) -> bytes:
    """Return one RESP value as it came; empty if the connection is over."""
    line = connection.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and int(rest) >= 0:
        return line + connection.read(int(rest) + 2)
    if kind == b"*" and int(rest) > 0:
        return line + b"".join(_one_reply(connection) for _ in range(int(rest)))
    return line


_one_request = _one_reply  # a request is an array of strings
