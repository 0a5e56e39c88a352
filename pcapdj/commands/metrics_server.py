"""The HTTP server of `pcapdj metrics`, which no client can occupy.

It has a thread for each connection, and few connections. Where one too many arrives, the oldest that has not
sent its request yet is closed for it: a scrape is answered, however many others send nothing. Only while all
of them wait for their answer, the next one waits, too.

Of a request 16 KiB are read: Python's own limits are a hundred header fields of 64 KiB, which sixteen
connections could send at a time.
"""

import io
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.exposition import choose_encoder

_MOST_CONNECTIONS: Final = 16
_GRACE_S: Final = 0.1  # for a client to send its request, where others wait for its place
_MOST_BYTES: Final = 16 << 10  # of a request; a scrape has less than one
_TIMEOUT_S: Final = 10.0  # for each part of a request, and for the client to take its answer


class MetricsServer(ThreadingTCPServer):
    """Listens on one address.

    Args:
        host: a name or an address.
        port: 0: a free one.
        registry: the metrics.

    Raises:
        OSError, OverflowError, UnicodeError: the address cannot be used.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, address = infos[0][0], infos[0][4]
        self._silent_since_s = dict[socket.socket, float | None]()  # None: has sent its request
        self._changed = threading.Condition()
        super().__init__((str(address[0]), port), type("_Handler", (_Handler,), {"registry": registry}))

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection; there is room for it first."""
        with self._changed:
            while len(self._silent_since_s) >= _MOST_CONNECTIONS:
                self._changed.wait(self._disconnect_idle_client())
            self._silent_since_s[request] = time.monotonic()
        super().process_request(request, client_address)

    def set_asked(self, request: Any) -> None:
        """Record that a connection has sent its request: it is not closed before it has its answer."""
        with self._changed:
            self._silent_since_s[request] = None

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._changed:
            self._silent_since_s.pop(request, None)
            self._changed.notify()
        super().shutdown_request(request)

    def _disconnect_idle_client(self) -> float | None:
        """Return after which time one can be ended; None: one ends, or none is silent."""
        for client, since_s in self._silent_since_s.items():
            if since_s is None:
                continue
            left_s = since_s + _GRACE_S - time.monotonic()
            if left_s > 0:
                return left_s
            with suppress(OSError):  # the client has closed it
                client.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes it
            return None
        return None


class _Request(io.RawIOBase):
    """The request of a client, read up to the limit; what the client sends after that is ignored.

    Args:
        connection: to the client.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left_bytes = _MOST_BYTES

    def readable(self) -> bool:
        """Report that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what has arrived into the buffer; return the number of bytes, 0 at the end."""
        read_bytes = (
            self._connection.recv_into(memoryview(buffer)[: self._left_bytes]) if self._left_bytes else 0
        )
        self._left_bytes -= read_bytes
        return read_bytes


class _Handler(MetricsHandler, BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = _TIMEOUT_S
    server: MetricsServer

    def setup(self) -> None:
        """Read the request within the limit."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Request(self.connection))

    def handle(self) -> None:
        """Answer the request, unless its client is gone."""
        with suppress(OSError):
            super().handle()

    def parse_request(self) -> bool:
        """Parse the request."""
        is_valid = super().parse_request()
        if is_valid:
            self.server.set_asked(self.request)
        return is_valid

    def do_GET(self) -> None:
        """Answer with the metrics; refuse what the library raises an error for, which would fill the log."""
        try:
            urlsplit(self.path)
            choose_encoder(self.headers.get("Accept", ""))
        except (ValueError, TypeError):
            self.send_error(HTTPStatus.BAD_REQUEST)
        else:
            super().do_GET()
