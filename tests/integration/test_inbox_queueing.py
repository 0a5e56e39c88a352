"""What is queued, and what is not because it was fed already: real files and the real scripts of Redis."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.captures import Record, classic, file_header
from support.feeding import DISPATCHER, feed_all, feed_next, identity_of, take

from pcapdj.capture.identity import QueuedFile
from pcapdj.inbox.listing import list_captures
from pcapdj.inbox.queueing import (
    QueueReport,
    outcomes_by_name,
    queue_captures,
    report_sentences,
    wait_for_dispatchers,
)
from pcapdj.inbox.watcher import states_of
from pcapdj.runtime.mount_list import boot_id
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, last_lines
from pcapdj.store.job_queue import JobQueue


def packets(first: int, count: int, data: bytes = b"x" * 900) -> list[Record]:
    """Return packets, one a second."""
    return [Record(first + number, number, data) for number in range(count)]


LARGE, SMALL = classic(packets(1000, 200)), classic(packets(1000, 3))


def written(path: Path, content: bytes = LARGE) -> bytes:
    """Write a file and return its name."""
    path.write_bytes(content)
    return os.fsencode(path)


def offered(store: Store, *names: bytes, again: bool = False) -> QueueReport:
    """Look at the files, and queue what is new."""
    return queue_captures(store, list_captures(names, recursive=False).files, again=again)


def queued(store: Store) -> Sequence[bytes]:
    """Return the queue."""
    names: list[bytes] = store.redis.lrange(store.keys.in_queue, 0, -1)  # type: ignore[assignment]
    return names


@pytest.fixture
def fed(store: Store, tmp_path: Path) -> bytes:
    """Return the name of a capture that was fed."""
    name = written(tmp_path / "fed.pcap")
    offered(store, name)
    return feed_next(store, time_s=1_700_000_000)


def test_beside_a_queued_name_stands_which_file_it_is(store: Store, tmp_path: Path) -> None:
    """So that what was queued is what is fed."""
    name = written(tmp_path / "x")

    assert offered(store, name).outcomes == {name: Outcome.NEW}

    file = QueuedFile.from_fields(json.loads(last_lines(store, [name])[name].text))
    assert file
    assert file.identity == identity_of(name)
    assert file.is_beginning_of(LARGE[: 1 << 16])
    assert (file.first_bytes, file.boot) == (1 << 16, boot_id())
    assert to_text(name).startswith(file.mount)


@pytest.mark.parametrize("kind", ["renamed", "hard link", "copy", "touched", "compressed", "folder renamed"])
def test_a_fed_capture_is_known_again(store: Store, tmp_path: Path, fed: bytes, kind: str) -> None:
    """Under another name, in another form, with another time."""
    path, other = tmp_path / "fed.pcap", tmp_path / "other"
    match kind:
        case "renamed":
            path.rename(other)
        case "hard link":
            other.hardlink_to(path)
        case "copy":
            other.write_bytes(LARGE)
        case "touched":
            other = path
            os.utime(path, (5, 5))
        case "compressed":
            other.write_bytes(gzip.compress(LARGE))
        case "folder renamed":
            (tmp_path / "d").mkdir()
            other = tmp_path / "d/fed.pcap"
            path.rename(other)
    name = os.fsencode(other)

    report = offered(store, name)

    assert queued(store) == []
    assert report.outcomes == {name: Outcome.FED}
    assert report.known[name].name == to_text(fed)
    as_name = "" if kind == "touched" else f" as '{to_text(fed)}'"
    assert report_sentences(report) == [
        f"'{other}' was fed{as_name} at 2023-11-14T22:13:20Z, and is not queued."
    ]


def test_a_capture_that_was_found_to_be_known_is_not_read_again(
    store: Store, tmp_path: Path, fed: bytes
) -> None:
    """FED has its name, size and time then; the stream that it went into is still found by the first name."""
    (tmp_path / "copy").write_bytes(LARGE)
    name = os.fsencode(tmp_path / "copy")
    offered(store, name)
    os.utime(fed, (5, 5))
    before = json.loads(store.redis.hget(store.keys.fed, fed))  # type: ignore[arg-type]
    offered(store, fed)

    assert outcomes_by_name(store, states_of([name, fed])) == {name: Outcome.FED, fed: Outcome.FED}
    after = json.loads(store.redis.hget(store.keys.fed, fed))  # type: ignore[arg-type]
    assert after["stream"] == before["stream"]
    assert after["mtime_ns"] == 5_000_000_000


def test_a_rename_after_a_reboot_needs_no_reading(store: Store, tmp_path: Path, fed: bytes) -> None:
    """Inode, size and time are enough, whatever the device's number; the content is not compared."""
    key = store.keys.captures
    digest, value = next(iter(store.redis.hgetall(key).items()))
    fields = json.loads(value)
    store.redis.hset(
        key, digest, json.dumps({**fields, "crc32": 1, "identity": [1, *fields["identity"][1:]]})
    )
    Path(to_text(fed)).rename(tmp_path / "renamed")

    report = offered(store, os.fsencode(tmp_path / "renamed"))

    assert report.known.keys() == {os.fsencode(tmp_path / "renamed")}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LARGE[: 1 << 16] + classic(packets(9000, 200))[24:], "only its first 64 KiB are the same"),
        (LARGE[:100_000] + bytes(1000) + LARGE[101_000:], "it has a hole in its middle"),
        (LARGE[:-1], "it is one byte shorter"),
        (SMALL, "it is a shorter cut of it"),
    ],
)
def test_what_only_begins_like_a_fed_capture_is_queued(
    store: Store, tmp_path: Path, fed: bytes, content: bytes, why: str
) -> None:
    """Nothing is skipped that is not proven; what is shorter is shown."""
    assert fed
    name = written(tmp_path / "other", content)

    report = offered(store, name)

    assert queued(store) == [name], why
    assert (report.known, bool(report.shorter)) == ({}, len(content) == len(LARGE) - 1)


def test_a_copy_with_a_hole_is_transferred_again_whole(store: Store, tmp_path: Path) -> None:
    """The second one has the same length, beginning and end."""
    broken = LARGE[:100_000] + bytes(1000) + LARGE[101_000:]
    first = written(tmp_path / "x", broken)
    offered(store, first)
    feed_next(store)

    written(tmp_path / "x")
    os.utime(first, (5, 5))

    assert offered(store, first).outcomes == {first: Outcome.NEW}


def test_captures_of_two_sensors_that_begin_alike_are_both_queued(store: Store, tmp_path: Path) -> None:
    """Under 64 KiB: heartbeats, the same first packets."""
    one = written(tmp_path / "a", SMALL + classic(packets(2000, 5))[24:])
    other = written(tmp_path / "b", SMALL + classic(packets(3000, 5))[24:])
    offered(store, one)
    feed_next(store)

    assert offered(store, other).outcomes == {other: Outcome.NEW}


def test_captures_without_packets_are_never_compared(store: Store, tmp_path: Path) -> None:
    """All of them are the same 24 bytes."""
    one, other = written(tmp_path / "a", file_header()), written(tmp_path / "b", file_header())
    offered(store, one)
    feed_next(store)

    assert offered(store, other).outcomes == {other: Outcome.NEW}


def test_a_capture_that_failed_is_not_known(store: Store, tmp_path: Path) -> None:
    """One that was cut off goes on if it is whole now, under another name too."""
    name = written(tmp_path / "x", LARGE[:-1])
    offered(store, name)
    feed_next(store, is_whole=False)

    other = written(tmp_path / "y", LARGE)

    assert offered(store, other).outcomes == {other: Outcome.NEW}


def test_a_capture_whose_record_was_trimmed_is_queued(store: Store, tmp_path: Path, fed: bytes) -> None:
    """Nobody knows it any more."""
    store.redis.delete(store.keys.captures, store.keys.fed)
    (tmp_path / "fed.pcap").rename(tmp_path / "x")

    assert fed not in offered(store, os.fsencode(tmp_path / "x")).outcomes
    assert queued(store) == [os.fsencode(tmp_path / "x")]


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b'{"name": 1}', b"\xff", b'{"crc32": "x"}\n{', b"7" * 100_000]
)
def test_what_others_wrote_among_the_fed_captures_is_not_used(
    store: Store, tmp_path: Path, fed: bytes, value: bytes
) -> None:
    """The file is queued."""
    for digest in store.redis.hkeys(store.keys.captures):
        store.redis.hset(store.keys.captures, digest, value)
    name = written(tmp_path / "x", content=LARGE)

    assert fed
    assert offered(store, name).outcomes == {name: Outcome.NEW}


def test_a_grown_capture_is_queued(store: Store, tmp_path: Path, fed: bytes) -> None:
    """The dispatcher feeds its rest; compressed or renamed it is the same."""
    grown = classic(packets(1000, 201))
    (tmp_path / "other.gz").write_bytes(gzip.compress(grown))
    written(tmp_path / "fed.pcap", grown)

    report = offered(store, fed, os.fsencode(tmp_path / "other.gz"))

    assert set(report.outcomes.values()) == {Outcome.NEW}
    assert (report.known, report.shorter) == ({}, {})


def test_again_queues_what_is_known(store: Store, tmp_path: Path, fed: bytes) -> None:
    """Under its own name, and under another one; the line says that it is fed whole."""
    other = written(tmp_path / "other")

    assert offered(store, fed, other, again=True).outcomes == {fed: Outcome.NEW, other: Outcome.NEW}

    for line in last_lines(store, [fed, other]).values():
        assert json.loads(line.text)["again"] is True


def test_files_of_a_ring_that_wrapped_are_queued_in_their_own_place(store: Store, tmp_path: Path) -> None:
    """r0 and r1 were overwritten while they waited: both are queued again, behind r2."""
    names = [written(tmp_path / f"r{number}", classic(packets(1000 * number, 20))) for number in range(3)]
    offered(store, *names)
    for number in range(2):
        (tmp_path / f"r{number}").unlink()
        written(tmp_path / f"r{number}", classic(packets(1000 * number + 3000, 20)))

    first, second = offered(store, *names), offered(store, *names)

    assert [first.outcomes[name] for name in names] == [Outcome.NEW, Outcome.NEW, Outcome.QUEUED]
    assert set(second.outcomes.values()) == {Outcome.QUEUED}
    assert queued(store) == [*names, *names[:2]]


def test_a_file_that_was_overwritten_after_it_was_taken_keeps_its_place(store: Store, tmp_path: Path) -> None:
    """The dispatcher has the old r0 in hand while the gate holds: the new one comes before the new r1."""
    queue = JobQueue(store, "main")
    queue.register()
    names = [written(tmp_path / f"r{number}", classic(packets(1000 * number, 20))) for number in range(2)]
    offered(store, *names)
    assert queue.take()
    taken_alone = offered(store, *names)
    for number in range(2):
        (tmp_path / f"r{number}").unlink()
        written(tmp_path / f"r{number}", classic(packets(1000 * number + 3000, 20)))

    first, second = offered(store, *names), offered(store, *names)

    assert taken_alone.outcomes[names[0]] is Outcome.CURRENT
    assert set(first.outcomes.values()) == {Outcome.NEW}
    assert set(second.outcomes.values()) == {Outcome.QUEUED}
    assert queued(store) == [names[1], *names]


def test_a_queued_file_that_only_grew_is_queued_once(store: Store, tmp_path: Path) -> None:
    """It is fed whole when its turn comes; also if it was shorter than 64 KiB."""
    for name, before, after in (("a", 3, 5), ("b", 200, 210), ("c", 3, 300)):
        path = tmp_path / name
        offered(store, written(path, classic(packets(1000, before))))
        with path.open("ab") as file:
            file.write(classic(packets(1000, after))[path.stat().st_size :])

    names = [os.fsencode(tmp_path / name) for name in "abc"]

    assert set(offered(store, *names).outcomes.values()) == {Outcome.QUEUED}
    assert queued(store) == names


def test_a_name_that_another_program_pushed_is_not_queued_again(store: Store, tmp_path: Path) -> None:
    """It is fed whole, whatever file has the name then."""
    name = written(tmp_path / "x")
    store.redis.rpush(store.keys.in_queue, name)

    assert offered(store, name).outcomes == {name: Outcome.QUEUED}
    assert queued(store) == [name]


def test_a_file_of_a_name_that_is_fed_now_is_decided_later(store: Store, tmp_path: Path) -> None:
    """Then it is known, or another one."""
    name = written(tmp_path / "x")
    offered(store, name)
    take(store)
    during = offered(store, name).outcomes
    feed_next(store)
    same = offered(store, name).outcomes
    written(tmp_path / "x", classic(packets(5000, 20)))
    other = offered(store, name).outcomes

    assert during == {name: Outcome.CURRENT}
    assert same == {name: Outcome.FED}
    assert other == {name: Outcome.NEW}
    JobQueue(store, DISPATCHER).unregister()


def test_a_folder_of_fed_captures_that_is_renamed_is_not_fed_again(store: Store, tmp_path: Path) -> None:
    """Each is known by its content; five are named, the others are counted."""
    (tmp_path / "d").mkdir()
    for number in range(8):
        written(tmp_path / "d" / str(number), classic(packets(1000 * number, 20)))
    offered(store, os.fsencode(tmp_path / "d"))
    feed_all(store)
    (tmp_path / "d").rename(tmp_path / "e")

    report = offered(store, os.fsencode(tmp_path / "e"))
    sentences = report_sentences(report)

    assert queued(store) == []
    assert len(report.known) == 8
    assert len(sentences) == 6
    assert sentences[-1] == "And 3 more that were fed before."


def test_files_that_are_queued_or_were_fed_need_not_be_opened(store: Store, tmp_path: Path) -> None:
    """Name, size and time decide; an entry of an older version is understood."""
    fed, waiting, new, changed = (
        written(tmp_path / name, SMALL) for name in ("fed", "waiting", "new", "changed")
    )
    entry = {"size_bytes": len(SMALL), "mtime_ns": identity_of(fed).mtime_ns, "result": "processed"}
    store.redis.hset(store.keys.fed, fed, json.dumps(entry))
    offered(store, waiting, changed)
    os.utime(changed, (5, 5))

    found = outcomes_by_name(store, states_of([fed, waiting, new, changed]))

    assert found == {fed: Outcome.FED, waiting: Outcome.QUEUED}


class Pauses:
    """Waits by counting; after some of them it does something."""

    def __init__(self, store: Store, register_after: int) -> None:
        self.count = 0
        self._store = store
        self._register_after = register_after

    def wait(self, timeout_s: float) -> None:
        """Count."""
        assert timeout_s > 0
        self.count += 1
        if self.count == self._register_after:
            JobQueue(self._store, DISPATCHER).register()


@pytest.mark.parametrize(
    ("is_used", "register_after", "pauses"),
    [(False, 99, 0), (True, 99, 6), (True, 2, 2)],
    ids=["unused lane", "nobody works", "registers again"],
)
def test_an_importer_waits_a_moment_for_dispatchers_to_register_again(
    store: Store, tmp_path: Path, *, is_used: bool, register_after: int, pauses: int
) -> None:
    """Only in a lane that was used, for a second and a half at most."""
    if is_used:
        offered(store, written(tmp_path / "x"))
        take(store)
    store.redis.delete(store.keys.dispatchers)
    waits = Pauses(store, register_after)

    wait_for_dispatchers(store, waits)

    assert waits.count == pauses


def test_where_a_dispatcher_is_registered_nothing_is_waited_for(store: Store, tmp_path: Path) -> None:
    """As always."""
    offered(store, written(tmp_path / "x"))
    take(store)
    waits = Pauses(store, 99)

    wait_for_dispatchers(store, waits)

    assert waits.count == 0
