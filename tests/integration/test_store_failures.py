"""The failed files on a real Redis: how they are found, and what removes an entry."""

import json
from collections.abc import Callable
from typing import cast

import pytest

from pcapdj.runtime.errors import CaptureError
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.failures import (
    all_failures,
    failures_of,
    forget_lost,
    index_failures,
    requeue_all_failures,
    requeue_failures,
)
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result, failure_entry


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


def take(store: Store, name: bytes) -> QueueEntry:
    """Push the name as any program may, and take it."""
    store.redis.rpush(store.keys.in_queue, name)
    entry = JobQueue(store, "/pipe").take()
    assert isinstance(entry, QueueEntry)
    return entry


def fail(store: Store, name: bytes, reason: str = "is cut off", *, is_lost: bool = False) -> None:
    """Let the file fail."""
    entry = take(store, name)
    failed = failure_entry(name, CaptureError(reason), 0, 1, is_lost=is_lost)
    JobQueue(store, "/pipe").finish(entry, Result(failed, "failed", is_lost=is_lost))


def process(store: Store, name: bytes) -> None:
    """Feed the file whole."""
    JobQueue(store, "/pipe").finish(take(store, name), Result(name, "processed"))


def reasons(store: Store) -> list[tuple[bytes | None, str]]:
    """Return names and reasons in FAILED."""
    return [(each.name, each.reason) for each in all_failures(store)]


def noted(store: Store) -> set[bytes]:
    """Return the names in FAILED_NAMES."""
    return set(cast("list[bytes]", store.redis.hkeys(store.keys.failed_names))) - {b""}


LEAVE: dict[str, Callable[[Store], object]] = {
    "import": lambda store: enqueue_new(store, {b"/in/2": Version()}, again=True),
    "requeue": lambda store: operate.requeue(store, b"/in/2"),
    "a foreign push, when it is taken": lambda store: take(store, b"/in/2"),
    "processed": lambda store: process(store, b"/in/2"),
}


@pytest.mark.parametrize("event", LEAVE)
def test_an_entry_leaves_when_its_file_is_queued_taken_or_fed(store: Store, event: str) -> None:
    """FAILED never has a file that was queued or fed since; the other entries stay in their order."""
    for number in range(5):
        fail(store, b"/in/%d" % number)

    LEAVE[event](store)

    left = [b"/in/0", b"/in/1", b"/in/3", b"/in/4"]
    assert [name for name, _ in reasons(store)] == left
    assert noted(store) == set(left)


def test_a_second_failure_takes_the_place_of_the_first(store: Store) -> None:
    """The file was fed again and failed again."""
    fail(store, b"/in/1", "first")
    fail(store, b"/in/2")
    fail(store, b"/in/1", "second")

    assert reasons(store) == [(b"/in/2", "is cut off"), (b"/in/1", "second")]
    assert [each.reason for each in failures_of(store, [b"/in/1", b"/in/3"])] == ["second"]


def test_an_entry_about_a_lost_capture_stays_until_it_is_forgotten(store: Store) -> None:
    """Its name lives on: it is queued, fed, and fails; a retry does not offer it."""
    fail(store, b"/ring", "was overwritten", is_lost=True)
    fail(store, b"/other", "was overwritten", is_lost=True)
    enqueue_new(store, {b"/ring": Version()})
    entry = JobQueue(store, "/pipe").take()
    assert isinstance(entry, QueueEntry)
    JobQueue(store, "/pipe").finish(entry, Result(entry.name, "processed"))
    fail(store, b"/ring", "is damaged")

    assert requeue_all_failures(store) == (1, 1)
    assert store.redis.lrange(store.keys.in_queue, 0, -1) == [b"/ring"]
    assert [reason for _, reason in reasons(store)] == ["was overwritten"] * 2

    assert forget_lost(store, [b"/ring"]) == 1
    assert reasons(store) == [(b"/other", "was overwritten")]
    assert forget_lost(store, None) == 1
    assert reasons(store) == []


def test_a_lost_capture_leaves_fed_as_it_is(store: Store) -> None:
    """FED is about what was fed under the name before."""
    process(store, b"/ring")
    before = store.redis.hget(store.keys.fed, "/ring")

    fail(store, b"/ring", is_lost=True)

    assert store.redis.hget(store.keys.fed, "/ring") == before


def test_only_entries_about_lost_captures_are_forgotten(store: Store) -> None:
    """The others are the only trace of files that were not fed."""
    fail(store, b"/in/1")

    assert forget_lost(store, None) == 0
    assert noted(store) == {b"/in/1"}


@pytest.mark.long
def test_many_failed_files_are_queued_again_in_their_order(store: Store) -> None:
    """Some by name from the middle, then all; what is not valid stays."""
    names = [b"/in/%04d" % number for number in range(350)]
    for name in names:
        fail(store, name)
    store.redis.lpush(store.keys.failed, "not valid")

    assert requeue_failures(store, failures_of(store, names[200:210])) == 10
    assert requeue_all_failures(store) == (340, 341)

    queue = store.redis.lrange(store.keys.in_queue, 0, -1)
    assert queue == [*names[200:210], *names[:200], *names[210:]]
    assert reasons(store) == [(None, "not a valid entry: not valid")]
    assert noted(store) == set()


def test_entries_of_an_older_version_are_noted_once(store: Store) -> None:
    """Those about files that were fed or queued since, and all but the newest of a name, are removed."""
    process(store, b"/fed")
    old = ["/a", "/fed", "/b", "/queued", "/a", *(f"/{each}" for each in range(250))]
    for number, name in enumerate(old):
        store.redis.rpush(store.keys.failed, json.dumps({"name": name, "reason": "old", "time_s": number}))
    store.redis.rpush(store.keys.failed, "not valid")
    fail(store, b"/b", "new")
    enqueue_new(store, {b"/queued": Version()})

    steps = sum(1 for _ in index_failures(store))

    names = [b"/a", *(b"/%d" % each for each in range(250))]
    assert [name for name, _ in reasons(store)] == [*names, None, b"/b"]
    assert noted(store) == {*names, b"/b"}
    assert failures_of(store, [b"/b"])[0].reason == "new"
    assert steps > 1
    assert list(index_failures(store)) == []


def test_an_entry_that_a_person_removed_is_not_queued(store: Store) -> None:
    """Its name is forgotten, too."""
    fail(store, b"/in/1")
    (failure,) = failures_of(store, [b"/in/1"])
    store.redis.delete(store.keys.failed)

    assert requeue_failures(store, [failure]) == 0
    assert noted(store) == set()
    assert not store.redis.exists(store.keys.in_queue)
