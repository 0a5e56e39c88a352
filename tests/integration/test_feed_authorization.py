"""How a dispatcher gets a file authorized, on a real Redis: `pcapdj.feed.authorization`."""

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from support.logs import logged
from support.pipes import new_statistics
from support.stream_link import SilentNotifier

from pcapdj.feed.analyzer_link import LauncherLink
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.streams import Streams
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.signals import HasFileno, Signals
from pcapdj.store.client import Store
from pcapdj.store.grants import Granted, Grants
from pcapdj.store.job_queue import JobQueue, QueueEntry
from pcapdj.store.operate import request_skip

NAME = b"/in/1.pcap"


class GrantingInterrupts(Interrupts):
    """Interrupts during each of whose waits a controller answers the request; without one it fails."""

    def __init__(self, store: Store, signals: Signals) -> None:
        statistics = new_statistics()
        super().__init__(signals, Suspension("d", statistics), statistics)
        self._store = store

    def wait(
        self,
        timeout_s: float,  # noqa: ARG002 - as in `Waits`
        *readable: HasFileno | int,  # noqa: ARG002
        stops: int = 1,  # noqa: ARG002
        waiting_for: str = "",  # noqa: ARG002
    ) -> None:
        """Authorize the file."""
        assert Grants(self._store).grant(NAME) is Granted.YES


@pytest.fixture
def entry(store: Store) -> QueueEntry:
    """Return the entry that the dispatcher `d` has taken."""
    store.redis.rpush(store.keys.in_queue, NAME)
    JobQueue(store, "d").register()
    return cast("QueueEntry", JobQueue(store, "d").take())


@pytest.fixture
def notifier() -> Iterator[SilentNotifier]:
    """Return a notifier whose messages the test sends."""
    notifier = SilentNotifier()
    yield notifier
    notifier.close()


@pytest.fixture
def skips() -> SkipRequests:
    """Return an operator's requests to the dispatcher `d`; there are none yet."""
    return SkipRequests("d")


@pytest.fixture
def authorization(
    store: Store, signals: Signals, notifier: SilentNotifier, skips: SkipRequests
) -> Authorization:
    """Return what gets the dispatcher's authorizations."""
    interrupts = GrantingInterrupts(store, signals)
    streams = Streams(LauncherLink(Path("/nowhere"), interrupts), interrupts)
    return Authorization(JobQueue(store, "d"), notifier, streams, interrupts, skips)


def requests(store: Store) -> list[bytes]:
    """Return the files that are requested."""
    return cast("list[bytes]", store.redis.lrange(store.keys.next, 0, -1))


def test_a_request_that_a_controller_lost_is_made_again_after_30_s(
    store: Store, authorization: Authorization, entry: QueueEntry
) -> None:
    """It died between reading NEXT and granting. A request that is still there is not doubled."""
    made_s = []
    for now_s in range(1000, 1091):
        assert authorization.look(entry, now_s) is None
        if now_s < 1060 and store.redis.delete(store.keys.next):
            made_s.append(now_s)

    assert made_s == [1000, 1030]
    assert requests(store) == [NAME]


def test_each_pass_of_a_file_is_requested_at_once(
    store: Store, authorization: Authorization, entry: QueueEntry
) -> None:
    """A file that is fed again is the same entry; what authorized the first pass is used up."""
    assert authorization.wait(entry)
    assert authorization.wait(entry)

    assert requests(store) == []


def test_an_entry_that_redis_has_lost_is_not_waited_for(
    store: Store, authorization: Authorization, entry: QueueEntry
) -> None:
    """A person removed it."""
    store.redis.delete(store.keys.current("d"))

    assert authorization.wait(entry) is False


def test_a_file_that_waits_for_its_authorization_is_skipped_at_once(
    store: Store, authorization: Authorization, entry: QueueEntry, skips: SkipRequests
) -> None:
    """Perhaps its output never fits: it would wait for ever."""
    skips.watch(entry.token)
    request_skip(store, "d", entry.token.encode())
    skips.sync(store)

    with pytest.raises(CaptureError, match="skipped by the operator"):
        authorization.wait(entry)


def test_an_authorization_of_another_file_is_logged_once_a_minute(
    store: Store, authorization: Authorization, entry: QueueEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays, since another dispatcher may wait for it; without one nothing is logged."""
    authorization.look(entry, 1000)
    store.redis.set(store.keys.auth, "/in/2.pcap")
    for now_s in (1001, 1060, 1061):
        authorization.look(entry, now_s)

    log = logged(capsys, "other_authorization", 2)
    assert log.count("dispatcher other_authorization name=/in/1.pcap") == 2
    assert "PCAPDJ_AUTH has '/in/2.pcap'; this dispatcher waits for another file." in log
    assert store.redis.get(store.keys.auth) == b"/in/2.pcap"


def test_a_message_ends_one_wait(
    authorization: Authorization, notifier: SilentNotifier, entry: QueueEntry
) -> None:
    """Each look clears it before it reads the keys: what comes later ends the next wait."""
    os.eventfd_write(notifier.fileno(), 1)

    assert authorization.look(entry, 1000) is None

    assert select.select([notifier], [], [], 0) == ([], [], [])
