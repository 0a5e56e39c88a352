"""Wakes a role within milliseconds when something changed in its lane.

A thread subscribes to the lane's channel (PCAPDJ_BELL) and makes an eventfd readable on each message; roles
poll that descriptor beside their signals. A lost message (Redis restarted, a foreign program wrote the key)
costs only latency: every role also looks at its keys from time to time. A thread, because the socket of the
subscription changes with each reconnect, and a role can poll only a descriptor that stays the same.

Source: eventfd(2); redis.io "Redis Pub/Sub".
"""

import os
import select
import threading
from contextlib import suppress

import redis

from pcapdj.store.client import NO_ANSWERS, RETRY_S, Store

_LISTEN_S = 5.0  # one wait for a message; an idle connection is used at least this often


class Notifier:
    """The lane's channel as a descriptor; `close` ends the subscription.

    Args:
        store: the lane; the notifier opens a client of its own.
    """

    def __init__(self, store: Store) -> None:
        self._store = store.another(timeout_s=_LISTEN_S + 1, has_messages=True)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = threading.Event()
        threading.Thread(target=self._listen, name="notifier", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor that is readable after a message, until `clear`."""
        return self._event

    @property
    def has_message(self) -> bool:
        """Whether a message has arrived since the last `clear`."""
        return bool(select.select([self._event], [], [], 0)[0])

    def clear(self) -> None:
        """Make the descriptor unreadable until the next message; call it before reading the keys."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)

    def close(self) -> None:
        """Stop listening; the descriptor stays open until the process ends, since the thread may use it."""
        self._closed.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._receive()
            except (redis.RedisError, *NO_ANSWERS):
                self._closed.wait(RETRY_S)

    def _receive(self) -> None:
        with self._store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
            channel.subscribe(self._store.keys.channel)
            os.eventfd_write(self._event, 1)  # a message may have been lost before the subscription
            while not self._closed.is_set():
                if channel.get_message(timeout=_LISTEN_S):
                    os.eventfd_write(self._event, 1)
