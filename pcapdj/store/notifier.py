"""Waking up when something changed, within milliseconds and without polling fast.

A thread listens to the lane's channel and makes an eventfd readable; roles poll that beside their signals. A
ring that is missed (Redis restarted, a foreign program wrote the key) costs only latency: every role also
looks by itself from time to time.
"""

import os
import threading
from contextlib import suppress

import redis

from pcapdj.store.client import Store

_LISTEN_S = 5.0  # one wait for a message; an idle connection is used at least this often
_RECONNECT_S = 0.5


class Notifier:
    """The lane's channel as a descriptor; `close` ends it.

    Args:
        store: the lane; the bell opens a client of its own.
    """

    def __init__(self, store: Store) -> None:
        self._store = store.another(timeout_s=_LISTEN_S + 1)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="bell", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor that turns readable when the bell rang."""
        return self._event

    def silence(self) -> None:
        """Make the descriptor quiet again, before looking at what changed."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)

    def ring(self) -> None:
        """Wake the waiting role from within this process."""
        with suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)

    def close(self) -> None:
        """Stop listening; the descriptor stays until the process ends, since the thread may still use it."""
        self._closed.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except redis.RedisError:
                self._closed.wait(_RECONNECT_S)

    def _hear(self) -> None:
        with self._store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
            channel.subscribe(self._store.keys.bell)
            self.ring()  # something may have changed while nobody listened
            while not self._closed.is_set():
                if channel.get_message(timeout=_LISTEN_S):
                    self.ring()
