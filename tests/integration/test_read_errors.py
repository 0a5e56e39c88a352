"""A capture that the disk does not give: what comes before is delivered, and the reason is the true one."""

import errno
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captures import Record, classic, enhanced, interface, record, section
from support.cases import some_long
from support.dispatcher_rig import Dispatchers, dispatchers_in, listed, queue_authorized, stream_of
from support.preloaded import failing

from pcapdj.store.client import Store

PACKETS = [Record(n + 1, 0, n.to_bytes(4, "big") + os.urandom(746)) for n in range(1200)]
BAD_AT = 700_416  # 171 pages
BLOCK_BYTES = len(enhanced(0, bytes(750)))


def cat(path: Path, library: Path, **variables: int) -> tuple[bytes, str, int]:
    """Return what `pcapdj cat` writes to stdout and stderr, and its exit code."""
    argv = [sys.executable, "-m", "pcapdj", "cat", str(path)]
    env = os.environ | failing(library, **variables)
    done = subprocess.run(argv, env=env, capture_output=True, check=False)
    return done.stdout, done.stderr.decode(), done.returncode


def packets_before(place: int, size_bytes: int, start: int) -> int:
    """Return how many records or blocks of this size end before a place of the file."""
    return (place - start) // size_bytes


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (classic(PACKETS), packets_before(BAD_AT, len(record(PACKETS[0])), 24)),
        (
            section() + interface() + b"".join(enhanced(p.seconds * 10**6, p.data) for p in PACKETS),
            packets_before(BAD_AT, BLOCK_BYTES, len(section() + interface())),
        ),
    ],
    ids=["pcap", "pcapng"],
)
@pytest.mark.parametrize(
    "number", some_long([errno.EIO, errno.ENOTCONN, errno.ESTALE], quick=(errno.EIO, errno.ESTALE))
)
def test_the_packets_before_the_first_bad_page_are_delivered(
    tmp_path: Path, library: Path, content: bytes, whole: int, number: int
) -> None:
    """Also where the whole window fails at once; the reason names the page and what the system said."""
    path = tmp_path / "bad"
    path.write_bytes(content)

    out, err, code = cat(path, library, BAD_AT=BAD_AT, BAD_ERRNO=number, BAD_STAT=1)

    assert out == classic(PACKETS[:whole])
    sentence = f"cannot be read at byte {BAD_AT}: {os.strerror(number)}; {whole} packets written."
    assert sentence in err
    assert (code, err.count("\n")) == (1, 1)


def test_a_compressed_file_gives_what_can_be_read_of_it(tmp_path: Path, library: Path) -> None:
    """The place is one of the file on the disk."""
    path, content = tmp_path / "bad", gzip.compress(classic(PACKETS), 1)
    path.write_bytes(content)
    bad_at = len(content) // 2 // 4096 * 4096

    out, err, code = cat(path, library, BAD_AT=bad_at)

    found = (len(out) - 24) // len(record(PACKETS[0]))
    assert out == classic(PACKETS[:found])
    assert found > len(PACKETS) // 3
    assert f"cannot be read at byte {bad_at}: Input/output error; {found} packets written." in err
    assert code == 1


@pytest.mark.parametrize("most", [1000, 70_001])
def test_short_reads_are_continued(tmp_path: Path, library: Path, most: int) -> None:
    """Some file systems return less than they could."""
    path = tmp_path / "bad"
    path.write_bytes(classic(PACKETS))

    assert cat(path, library, BAD_SHORT=most) == (classic(PACKETS), "", 0)


def test_a_file_system_that_returns_nothing_is_named(tmp_path: Path, library: Path) -> None:
    """The file has not become shorter, and there is no error."""
    path, place = tmp_path / "bad", 24 + 100 * len(record(PACKETS[0])) + 5
    path.write_bytes(classic(PACKETS))

    out, err, code = cat(path, library, BAD_AT=place, BAD_ERRNO=0)

    assert out == classic(PACKETS[:100])
    assert f"cannot be read at byte {place}: its file system returns no bytes there; 100 packets" in err
    assert code == 1


def test_a_file_of_which_nothing_can_be_read_has_the_reason(tmp_path: Path, library: Path) -> None:
    """It is not called empty."""
    path = tmp_path / "bad"
    path.write_bytes(classic(PACKETS))

    out, err, _ = cat(path, library, BAD_AT=0)

    assert out == b""
    assert "cannot be read at byte 0: Input/output error; 0 packets written." in err


@pytest.fixture
def dispatchers(short_path: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers of a lane."""
    with dispatchers_in(short_path, store) as rig:
        yield rig


def test_a_file_that_cannot_be_opened_because_of_its_disk_is_tried_three_times(
    dispatchers: Dispatchers, library: Path
) -> None:
    """Other files of the folder can be read: the disk is there, and the next file is fed."""
    names = queue_authorized(dispatchers, {"bad": classic(PACKETS), "good": classic(PACKETS[:9])})
    place = ["--redis-url", dispatchers.store.url, "--lane", dispatchers.store.keys.lane]
    environment = failing(library, BAD_AT=0, BAD_ERRNO=errno.EIO)
    process = dispatchers.run("-b", str(dispatchers.pipe), *place, environment=environment)

    stream = dispatchers.reader().read_to_end()

    assert process.wait() == 0
    assert stream == stream_of(PACKETS[:9])
    [failure] = map(json.loads, listed(dispatchers.store, dispatchers.store.keys.failed))
    assert failure["reason"] == f"cannot be read at byte 0: {os.strerror(errno.EIO)}"
    assert listed(dispatchers.store, dispatchers.store.keys.processed) == names[1:]
    assert dispatchers.logged().count("opening_failed") == 1
    assert "storage_gone" not in dispatchers.logged()


def test_a_disk_of_which_no_file_can_be_read_is_waited_for(dispatchers: Dispatchers, library: Path) -> None:
    """It is failing as a whole; its files are not."""
    (dispatchers.folder / "disk").mkdir()
    queue_authorized(dispatchers, {f"disk/{n}.bad": classic(PACKETS[:9]) for n in (1, 2)})
    place = ["--redis-url", dispatchers.store.url, "--lane", dispatchers.store.keys.lane]
    environment = failing(library, BAD_AT=0, BAD_ERRNO=errno.EIO) | {"BAD_NAME": ".bad"}
    process = dispatchers.run("-b", str(dispatchers.pipe), *place, environment=environment)

    dispatchers.wait_for("storage_gone")
    process.kill()

    assert listed(dispatchers.store, dispatchers.store.keys.failed) == []


def test_a_dispatcher_feeds_the_packets_before_a_bad_page_and_the_next_file(
    dispatchers: Dispatchers, library: Path
) -> None:
    """FAILED has the reason and the exact count; no traceback, one stream."""
    names = queue_authorized(dispatchers, {"bad": classic(PACKETS), "good": classic(PACKETS[:9])})
    whole = packets_before(BAD_AT, len(record(PACKETS[0])), 24)
    place = ["--redis-url", dispatchers.store.url, "--lane", dispatchers.store.keys.lane]
    environment = failing(library, BAD_AT=BAD_AT, BAD_ERRNO=errno.EIO)
    process = dispatchers.run("-b", str(dispatchers.pipe), *place, environment=environment)

    stream = dispatchers.reader().read_to_end()

    assert process.wait() == 0
    assert stream == stream_of(PACKETS[:whole], PACKETS[:9])
    [failure] = map(json.loads, listed(dispatchers.store, dispatchers.store.keys.failed))
    assert failure["packets"] == whole
    assert failure["reason"] == f"cannot be read at byte {BAD_AT}: {os.strerror(errno.EIO)}"
    assert listed(dispatchers.store, dispatchers.store.keys.processed) == names[1:]
    assert "Traceback" not in dispatchers.logged()
