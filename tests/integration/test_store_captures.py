"""The captures that were fed, by the digest of their beginning. On a real Redis."""

from typing import Any

import pytest

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import FedCapture
from pcapdj.store.captures import candidates, candidates_of_each
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result


def capture(name: str, crc32: int, length_bytes: int = 5000) -> FedCapture:
    """Return a capture that was fed whole."""
    return FedCapture(name, length_bytes, crc32, True, 0, 0, Identity(1, 2, 3, 4), 5.0)


def finish(store: Store, digest: str, fed: FedCapture) -> None:
    """Feed the capture."""
    store.redis.rpush(store.keys.in_queue, fed.name)
    jobs = JobQueue(store, "d")
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    jobs.finish(entry, Result(entry.name, "processed", capture=(digest, fed.as_fields())))


def found(store: Store, *digests: str) -> list[FedCapture | None]:
    """Return what is kept under the digests."""
    return [FedCapture.from_fields(fields) for fields in candidates(store, digests)]


def test_a_fed_capture_is_found_by_each_digest_of_a_longer_file(store: Store) -> None:
    """Those of the longest beginning come first; unknown digests have none."""
    short, long = capture("/in/\udcff\n.pcap", 1, 300), capture("/in/2", 2)
    finish(store, "256:aa", short)
    finish(store, "4096:bb", long)

    assert found(store, "16384:cc", "4096:bb", "256:aa") == [long, short]
    each = candidates_of_each(store, [["256:aa"], [], ["4096:bb", "256:aa"]])
    assert [[fields["crc32"] for fields in captures] for captures in each] == [[1], [], [2, 1]]


def test_of_many_captures_that_begin_alike_the_newest_sixteen_are_kept(store: Store) -> None:
    """The same capture under another name, or fed again, takes the place of the older one."""
    for number in range(20):
        finish(store, "40:aa", capture(f"/in/{number}", number))
    finish(store, "40:aa", capture("/elsewhere", 10))

    assert [each.name for each in found(store, "40:aa") if each] == [
        *(f"/in/{number}" for number in range(4, 20) if number != 10),
        "/elsewhere",
    ]


def test_captures_of_equal_length_or_checksum_are_different_ones(store: Store) -> None:
    """Both numbers make a capture the same."""
    for fed in (capture("/1", 1), capture("/2", 11), capture("/3", 1, 50), capture("/4", 1, 500)):
        finish(store, "40:aa", fed)

    assert [each.name for each in found(store, "40:aa") if each] == ["/1", "/2", "/3", "/4"]


def test_a_capture_without_a_digest_is_in_fed_only(store: Store) -> None:
    """It is too short for a packet."""
    finish(store, "", capture("/in/1", 1, 24))

    assert not store.redis.exists(store.keys.captures)
    assert b'"crc32": 1' in (store.redis.hget(store.keys.fed, "/in/1") or b"")


def test_lines_that_are_not_valid_are_left_out(store: Store) -> None:
    """Any program may have written there; a value that is too long has no captures."""
    store.redis.hset(
        store.keys.captures,
        mapping=dict[Any, Any]({"1:a": b'nothing\n{"a":1}\n\xff\n[]\n\n', "1:b": b"{}" * 100_000}),
    )

    assert candidates(store, ["1:a", "1:b"]) == [{"a": 1}]


@pytest.mark.long
def test_more_captures_than_one_answer_holds_are_all_found(store: Store) -> None:
    """Redis sends some megabytes at a time."""
    value = b"\n".join(b'{"a":"%s"}' % (b"x" * 4000) for _ in range(15))
    digests = [f"40:{number}" for number in range(200)]
    store.redis.hset(store.keys.captures, mapping=dict[Any, Any](dict.fromkeys(digests, value)))

    assert [len(each) for each in candidates_of_each(store, [[digest] for digest in digests])] == [15] * 200
