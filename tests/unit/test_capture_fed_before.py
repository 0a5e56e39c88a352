"""Whether a file is a capture that was fed: suspected by digests of its beginning, proven by a checksum."""

import bz2
import gzip
import lzma
import os
import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import Record, classic, enhanced, file_header, interface, record, section

from pcapdj.capture.checksum import ReadBytes
from pcapdj.capture.fed_before import (
    GrownCapture,
    SameCapture,
    ShorterCapture,
    find_fed_capture,
    first_bytes_of,
    judge,
)
from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.identity import FIRST_BYTES, FedCapture, kept_under, looked_up_under
from pcapdj.runtime.errors import CaptureError, Stopped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ELSEWHERE = Identity(1, 2, 3, 4)
COMPRESSIONS = [gzip.compress, bz2.compress, lzma.compress, zstd.compress]
HEARTBEAT = b"\x01\x80\xc2\x00\x00\x0e" + bytes(54)


def packets(count: int, seed: int = 0) -> list[Record]:
    """Return packets that no other seed gives."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    return [Record(1000 + i, i, chance.randbytes(chance.randrange(60, 1500))) for i in range(count)]


class Memory:
    """What was fed so far, kept and found as the lane does it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, list[FedCapture]] = {}

    def feed(
        self, content: bytes, name: str = "/fed", length: int | None = None, *, whole: bool = True
    ) -> None:
        """Keep a capture that was fed up to a length; by default all of it."""
        fed = content[: len(content) if length is None else length]
        capture = FedCapture(name, len(fed), zlib.crc32(fed), whole, 0, 0, _ELSEWHERE, 1.0)
        for key in kept_under(fed[:FIRST_BYTES], len(fed)).split():
            self._kept.setdefault(key, []).append(capture)

    def trim(self) -> None:
        """Forget all of it, as after a year."""
        self._kept.clear()

    def ask(self, content: bytes) -> tuple[type, str, int] | None:
        """Return what a file with this content is: the kind, and name and length of the fed capture."""
        path = self._folder / "asked"
        path.write_bytes(content)
        file = opened(path)
        try:
            digests = looked_up_under(first_bytes_of(file))
            found = find_fed_capture(file, [each for key in digests for each in self._kept.get(key, [])])
        except CaptureError:  # none of its bytes can be read
            return None
        finally:
            file.close()
        return (type(found), found.capture.name, found.capture.length_bytes) if found else None


def opened(path: Path) -> OpenFile:
    """Return an open file."""
    return OpenFile(os.open(path, os.O_RDONLY))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    """Return a memory of fed captures that is empty."""
    return Memory(tmp_path)


CAPTURE = classic(packets(300))
SHORT = classic(packets(10))


@pytest.mark.parametrize("content", [CAPTURE, SHORT], ids=["long", "below 64 KiB"])
def test_a_copy_is_known(memory: Memory, content: bytes) -> None:
    """A rename, a link and a copy have all bytes of the capture that was fed."""
    memory.feed(content)
    assert memory.ask(content) == (SameCapture, "/fed", len(content))


def test_a_file_that_no_capture_begins_like_is_not_known(memory: Memory) -> None:
    """Without a suspicion nothing is read."""
    memory.feed(CAPTURE)
    assert memory.ask(classic(packets(300, seed=1))) is None


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_a_compressed_copy_is_known(memory: Memory, compress: Callable[[bytes], bytes]) -> None:
    """And the unpacked copy of a compressed one: the bytes that count are the decompressed ones."""
    memory.feed(CAPTURE)
    assert memory.ask(compress(CAPTURE)) == (SameCapture, "/fed", len(CAPTURE))
    assert memory.ask(compress(CAPTURE[:20_000]) + compress(CAPTURE[20_000:])) == (
        *(SameCapture, "/fed", len(CAPTURE)),
    )


@pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS])
@pytest.mark.parametrize("fed", [10, 299], ids=["below 64 KiB", "long"])
def test_of_a_capture_that_grew_the_fed_length_is_found(
    memory: Memory, compress: Callable[[bytes], bytes], fed: int
) -> None:
    """Classic and pcapng, compressed or not."""
    begun = classic(packets(300)[:fed])
    memory.feed(begun)
    assert memory.ask(compress(CAPTURE)) == (GrownCapture, "/fed", len(begun))
    blocks = section() + interface() + enhanced(1) * 10
    memory.feed(blocks, "/blocks")
    assert memory.ask(compress(blocks + enhanced(2))) == (GrownCapture, "/blocks", len(blocks))


def test_two_sensors_on_one_tap_are_two_captures(memory: Memory) -> None:
    """They begin alike for megabytes, and then one of them misses a packet."""
    one, other = packets(300), packets(300)
    del other[250]
    memory.feed(classic(one))
    assert memory.ask(classic(other)) == (ShorterCapture, "/fed", len(classic(one)))
    other += packets(10, seed=9)
    assert len(classic(other)) > len(classic(one))
    assert memory.ask(classic(other)) is None


def test_captures_of_heartbeats_are_told_apart_by_their_last_byte(memory: Memory) -> None:
    """All records are equal but for one timestamp."""
    quiet = [Record(0, 0, HEARTBEAT)] * 2000
    memory.feed(classic(quiet))
    assert memory.ask(classic([*quiet[:-1], Record(0, 1, HEARTBEAT)])) is None
    assert memory.ask(classic(quiet)) == (SameCapture, "/fed", len(classic(quiet)))


def test_of_a_capture_cut_at_several_places_the_longest_cut_counts(memory: Memory) -> None:
    """One read of the file finds them all."""
    for count in (100, 250, 200):
        memory.feed(classic(packets(300)[:count]), f"/{count}")
    assert memory.ask(CAPTURE) == (GrownCapture, "/250", len(classic(packets(300)[:250])))
    shorter = classic(packets(300)[:220])
    assert memory.ask(shorter) == (GrownCapture, "/200", len(classic(packets(300)[:200])))


def test_a_shorter_cut_of_a_fed_capture_is_named(memory: Memory) -> None:
    """It is fed whole, and an operator sees why packets are there twice."""
    memory.feed(CAPTURE)
    cut = classic(packets(300)[:150])
    assert memory.ask(cut) == (ShorterCapture, "/fed", len(CAPTURE))
    assert memory.ask(gzip.compress(cut)) == (ShorterCapture, "/fed", len(CAPTURE))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_copy_with_a_hole_does_not_make_the_whole_one_known(
    memory: Memory, compress: Callable[[bytes], bytes]
) -> None:
    """A transfer that failed left zeros in its middle; the same file transferred again is another capture."""
    hole = CAPTURE[:100_000] + bytes(8192) + CAPTURE[108_192:]
    memory.feed(hole)
    assert memory.ask(compress(CAPTURE)) is None


def test_a_header_without_packets_is_the_beginning_of_nothing(memory: Memory) -> None:
    """Each capture of a sensor begins with it."""
    memory.feed(file_header())
    assert memory.ask(CAPTURE) is None
    assert memory.ask(file_header()) is None


def test_a_capture_whose_record_was_trimmed_is_not_known(memory: Memory) -> None:
    """Nothing is skipped without a proof."""
    memory.feed(CAPTURE)
    memory.trim()
    assert memory.ask(CAPTURE) is None


def test_a_capture_that_was_cut_off_is_fed_again_from_its_last_whole_record(memory: Memory) -> None:
    """Also if nothing was added to it: then it fails again, without a packet twice."""
    good = classic(packets(300)[:200])
    memory.feed(good + record(packets(1)[0])[:40], length=len(good), whole=False)
    assert memory.ask(CAPTURE) == (GrownCapture, "/fed", len(good))
    assert memory.ask(good) == (GrownCapture, "/fed", len(good))


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_compressed_data_that_is_damaged_proves_nothing(
    memory: Memory, compress: Callable[[bytes], bytes]
) -> None:
    """It is fed whole, and what is good of it arrives."""
    memory.feed(CAPTURE)
    packed = compress(CAPTURE)
    middle = len(packed) // 2
    damaged = packed[:middle] + bytes(64) + packed[middle + 64 :]
    assert memory.ask(damaged) is None
    assert memory.ask(packed[:middle]) is None


def test_damage_behind_the_proven_bytes_is_left_to_the_reader(memory: Memory) -> None:
    """All that was fed is there, so only the rest is fed: it is the damage."""
    memory.feed(CAPTURE)
    assert memory.ask(gzip.compress(CAPTURE)[:-4]) == (GrownCapture, "/fed", len(CAPTURE))


def test_endless_padding_is_not_read(memory: Memory, tmp_path: Path) -> None:
    """An archive with gigabytes of zeros behind its beginning is given up as when it is fed."""
    memory.feed(CAPTURE)
    path = tmp_path / "padded"
    path.write_bytes(gzip.compress(CAPTURE[:100_000]))
    os.truncate(path, 1 << 40)
    with path.open("rb") as file:
        held = OpenFile(os.dup(file.fileno()))
    reads = Reads(held)
    candidate = FedCapture("/fed", len(CAPTURE), zlib.crc32(CAPTURE), True, 0, 0, _ELSEWHERE, 1.0)
    assert find_fed_capture(reads, [candidate]) is None
    assert reads.end_bytes < 100 << 20
    reads.close()


def test_the_very_file_is_known_without_reading_it(tmp_path: Path) -> None:
    """Inode, size and time are those of the file that was fed; its file system may have another number."""
    path = tmp_path / "file"
    path.write_bytes(CAPTURE)
    reads = Reads(opened(path))
    identity = reads.identity()._replace(dev=99)
    whole = FedCapture("/before", len(CAPTURE), zlib.crc32(CAPTURE), True, 0, 0, identity, 1.0)
    assert find_fed_capture(reads, [whole]) == SameCapture(whole)
    cut = whole._replace(length_bytes=1000, is_whole=False)
    assert find_fed_capture(reads, [cut]) == GrownCapture(cut)
    assert not reads.end_bytes
    reads.close()


def test_a_plain_file_is_not_read_further_than_the_longest_candidate(tmp_path: Path) -> None:
    """Nor at all, if each of them is longer than the file."""
    path = tmp_path / "file"
    path.write_bytes(CAPTURE)
    first = FedCapture("/a", 70_000, zlib.crc32(CAPTURE[:70_000]), True, 0, 0, _ELSEWHERE, 1.0)
    too_long = first._replace(length_bytes=len(CAPTURE) + 1)
    reads = Reads(opened(path))
    assert find_fed_capture(reads, [first, too_long]) == GrownCapture(first)
    assert reads.end_bytes == 70_001
    reads = Reads(opened(path))
    assert find_fed_capture(reads, [too_long]) == ShorterCapture(too_long)
    assert reads.end_bytes == FIRST_BYTES


def test_a_read_error_proves_nothing(tmp_path: Path) -> None:
    """The file is fed, and the error is reported with the place."""
    path = tmp_path / "file"
    path.write_bytes(CAPTURE)
    reads = Reads(opened(path), fails_from=80_000)
    whole = FedCapture("/a", len(CAPTURE), zlib.crc32(CAPTURE), True, 0, 0, _ELSEWHERE, 1.0)
    assert find_fed_capture(reads, [whole]) is None
    assert find_fed_capture(Reads(opened(path), fails_from=0), [whole]) is None
    with pytest.raises(CaptureError, match="cannot be read at byte 0"):
        first_bytes_of(Reads(opened(path), fails_from=0))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_stop_signal_ends_the_comparison(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """A capture of gigabytes takes seconds to read."""
    path = tmp_path / "file"
    path.write_bytes(compress(CAPTURE))
    whole = FedCapture("/a", len(CAPTURE), zlib.crc32(CAPTURE), True, 0, 0, _ELSEWHERE, 1.0)
    with pytest.raises(Stopped):
        find_fed_capture(opened(path), [whole], StopsAfter(1))


_LENGTHS = st.integers(0, 8)


@given(
    fed=st.lists(st.tuples(_LENGTHS, st.integers(0, 1), st.booleans())),
    length=_LENGTHS,
    damaged=st.booleans(),
)
def test_only_what_was_read_and_agrees_is_known(
    fed: list[tuple[int, int, bool]], length: int, *, damaged: bool
) -> None:
    """Of all that agree the longest counts; more bytes, damage, or a capture that was cut off: it grew."""
    candidates = [FedCapture(f"/{n}", n, crc, whole, 0, 0, _ELSEWHERE, 1.0) for n, crc, whole in fed]
    crc32s = {n: 1 for n, _, _ in fed if n <= length}
    proven = [each for each in candidates if each.length_bytes <= length and each.crc32 == 1]
    found = judge(candidates, ReadBytes(crc32s, length, is_damaged=damaged))
    if not proven:
        assert found is None or isinstance(found, ShorterCapture)
        assert not isinstance(found, ShorterCapture) or found.capture.length_bytes > length
        return
    longest = max(each.length_bytes for each in proven)
    is_same = any(each.is_whole for each in proven if each.length_bytes == longest) and longest == length
    assert found is not None
    assert found.capture in proven
    assert found.capture.length_bytes == longest
    assert isinstance(found, SameCapture) == (is_same and not damaged)


class Reads(OpenFile):
    """An open file that notes how far it was read, and fails from a byte on."""

    def __init__(self, file: OpenFile, fails_from: int | None = None) -> None:
        super().__init__(file.descriptor)
        self._fails_from = fails_from
        self.end_bytes = 0

    def read(self, length_bytes: int, offset: int) -> bytes:
        """Return bytes, as pread(2)."""
        if self._fails_from is not None and offset + length_bytes > self._fails_from:
            raise OSError(5, "Input/output error")
        data = super().read(length_bytes, offset)
        self.end_bytes = max(self.end_bytes, offset + len(data))
        return data


class StopsAfter:
    """Waits that a stop signal ends after some looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def wait(self, timeout_s: float, *readable: object, stops: int = 1, waiting_for: str = "") -> None:
        """Stop at the look after."""
        del timeout_s, readable, stops, waiting_for
        self._looks -= 1
        if self._looks < 0:
            raise Stopped("SIGTERM")
