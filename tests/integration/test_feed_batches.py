"""Captures into a real pipe, with dispatchers that die at any place: the stream stays whole."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import Record, file_header, record, records_of
from support.pipes import LivingPeer, ScriptedInterrupts

from pcapdj.capture.capture import Capture
from pcapdj.capture.files import identity_of
from pcapdj.capture.pcap import Totals
from pcapdj.capture.reader import Piece
from pcapdj.feed.analyzer_link import Note
from pcapdj.feed.batches import BatchSender, finish_stored, memory_file
from pcapdj.feed.pipe import Pipe
from pcapdj.runtime.errors import CaptureError, ReaderGone

FIRST = 24
PAGE = 4096


class Killed(BaseException):
    """The dispatcher dies here."""


@dataclass
class World:
    """What outlives a dispatcher: the capture's file, the pipe with its reader, and the stored descriptors.

    Args:
        file: descriptor of the capture.
        dies_at: after how many chances the next dispatcher dies; each check and `put` is one.
        shrinks: the chance at which the file is cut, and to what length.
    """

    file: int
    dies_at: int = -1
    shrinks: tuple[int, int] | None = None
    got: bytearray = field(default_factory=bytearray)
    kept: dict[str, tuple[int, Note]] = field(default_factory=dict)
    chances: int = 0

    def __post_init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def read(self) -> None:
        """Read what is in the pipe."""
        with suppress(BlockingIOError):
            while part := os.read(self.reader, 1 << 16):
                self.got += part

    def check(self) -> None:
        """Be interrupted, perhaps for ever; else the analyzer reads on."""
        if self.shrinks and self.chances >= self.shrinks[0]:
            self.read()  # what is in the pipe are the file's own pages
            os.truncate(f"/proc/self/fd/{self.file}", self.shrinks[1])
            self.shrinks = None
        self.chance()
        self.read()

    def chance(self) -> None:
        """Die, if it is time."""
        self.chances += 1
        if self.chances == self.dies_at:
            raise Killed

    def put(self, key: str, fd: int, note: Note) -> None:
        """Keep a duplicate, as the launcher does; the dispatcher may die before or after that."""
        self.chance()
        self.drop(key)
        self.kept[key] = (os.dup(fd), note)
        self.chance()

    def drop(self, key: str) -> None:
        """Forget an entry."""
        if key in self.kept:
            os.close(self.kept.pop(key)[0])

    @contextmanager
    def pipe(self) -> Iterator[Pipe]:
        """Return the stream's end of a new dispatcher: a page at a time, so that it can die in mid-record."""
        pipe = Pipe(os.dup(self.writer), ScriptedInterrupts(self.check), LivingPeer(), "5ca1ab1e")
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PAGE)
        try:
            yield pipe
        finally:
            pipe.close()
            self.read()

    def close(self) -> None:
        """Close everything."""
        for key in tuple(self.kept):
            self.drop(key)
        for fd in (self.reader, self.writer, self.file):
            os.close(fd)


@contextmanager
def world_of(content: bytes) -> Iterator[World]:
    """Return a world around a capture with this content."""
    file = os.memfd_create("capture", os.MFD_CLOEXEC)
    os.pwrite(file, content, 0)
    world = World(file)
    try:
        yield world
    finally:
        world.close()


def dispatch(world: World, pieces: Sequence[Piece]) -> None:
    """Be one dispatcher: take over what is kept, send all pieces, complete a torn record."""
    with ExitStack() as stack:
        pipe = stack.enter_context(world.pipe())
        kept = {key: (os.dup(fd), note) for key, (fd, note) in world.kept.items()}
        for fd, _ in kept.values():
            stack.callback(os.close, fd)
        own = os.open(f"/proc/self/fd/{world.file}", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, own)
        if "batch" in kept:
            finish_stored(pipe, kept["batch"][0])
        batch: Note = kept["batch"][1] if "batch" in kept else {}
        feed = BatchSender(
            pipe,
            world,
            kept["file"][0] if "file" in kept else own,
            {"token": "t"},
            delivered_batch=batch.get("number", -1),
            is_kept="file" in kept,
            is_padded=bool(batch.get("padding")),
        )
        send_all(feed, world, pieces)


def send_all(feed: BatchSender, world: World, pieces: Sequence[Piece]) -> None:
    """Send every piece as `feeding` does."""
    damage: CaptureError | None = None
    try:
        for number, piece in enumerate(pieces):
            feed.send(number, piece)
    except CaptureError as exc:
        damage = exc
    feed.complete_torn(FIRST, lambda start, sent: missing_in_file(world.file, start, sent))
    if damage := damage or feed.truncation():
        raise damage


def missing_in_file(file: int, start: int, sent: int) -> int | None:
    """Return what completes the record at the file's place."""
    unread: Any = None
    return Capture(b"", file, identity_of(file), "pcap", unread).missing_to_record_end(start, sent)


def spans_of(content: bytes, per_piece: int, converted: Sequence[int] = ()) -> list[Piece]:
    """Return a file's whole records, so many to a piece; some pieces converted, which here means reversed."""
    found: list[Piece] = []
    position = FIRST
    while position < len(content):
        start, packets = position, 0
        while packets < per_piece and (after := _record_end(content, position)) <= len(content):
            position, packets = after, packets + 1
        if position == start:
            break
        window = content[start:position]
        if len(found) in converted:
            window = b"".join(record(each) for each in reversed(records_of(window)))
            found.append(Piece(Totals(), len(window), None, window, 0, window))
        else:
            found.append(Piece(Totals(), len(window), start, None, 0, window))
    return found


def _record_end(content: bytes, position: int) -> int:
    if position + 16 > len(content):
        return len(content) + 1
    return position + 16 + int.from_bytes(content[position + 8 : position + 12], "little")


def capture_of(sizes: Sequence[int]) -> bytes:
    """Return a capture of packets with these sizes, each different from the others."""
    packets = (Record(number + 1, 7, bytes([number % 251 + 1]) * size) for number, size in enumerate(sizes))
    return file_header() + b"".join(record(packet) for packet in packets)


SIZES = st.lists(st.integers(1, 9000), min_size=1, max_size=10)


@settings(max_examples=150)
@given(
    sizes=SIZES,
    per_piece=st.integers(1, 4),
    converted=st.sets(st.integers(0, 9)),
    deaths=st.lists(st.integers(1, 12), max_size=6),
)
def test_a_stream_survives_the_death_of_every_dispatcher(
    sizes: list[int], per_piece: int, converted: set[int], deaths: list[int]
) -> None:
    """At any place: before and after a descriptor is kept, in mid-record, native and converted mixed."""
    content = capture_of(sizes)
    pieces = spans_of(content, per_piece, sorted(converted))
    with world_of(content) as world:
        for dies_at in [*deaths, -1]:
            world.chances, world.dies_at = 0, dies_at
            with suppress(Killed):
                dispatch(world, pieces)
        world.chances, world.dies_at = 0, -1
        dispatch(world, pieces)

        assert bytes(world.got) == b"".join(piece.window for piece in pieces)


@settings(max_examples=100)
@given(sizes=SIZES, per_piece=st.integers(1, 4), data=st.data())
def test_a_file_that_shrinks_under_us_leaves_whole_records(
    sizes: list[int], per_piece: int, data: st.DataObject
) -> None:
    """The record in the pipe is completed with zeros; what the file still had arrived before."""
    content = capture_of(sizes)
    cut = data.draw(st.integers(FIRST, len(content) - 1), "cut")
    with world_of(content) as world:
        world.shrinks = (data.draw(st.integers(0, 6), "when"), cut)
        with suppress(CaptureError):
            dispatch(world, spans_of(content, per_piece))

        assert_framing_is_whole(bytes(world.got), content, cut)


@settings(max_examples=150)
@given(
    sizes=SIZES,
    per_piece=st.integers(1, 4),
    deaths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    data=st.data(),
)
def test_a_file_that_shrank_between_two_dispatchers_leaves_whole_records(
    sizes: list[int], per_piece: int, deaths: list[int], data: st.DataObject
) -> None:
    """Or the stream is given up, where the length of the record in it is lost."""
    content = capture_of(sizes)
    cut = data.draw(st.integers(FIRST, len(content) - 1), "cut")
    with world_of(content) as world:
        world.dies_at = deaths[0]
        with suppress(Killed):
            dispatch(world, spans_of(content, per_piece))
        os.ftruncate(world.file, cut)
        for dies_at in [*deaths[1:], -1]:
            world.chances, world.dies_at = 0, dies_at
            try:
                dispatch(world, spans_of(content[:cut], per_piece))
            except (Killed, CaptureError):
                continue
            except ReaderGone:
                return

        assert_framing_is_whole(bytes(world.got), content, cut)


def assert_framing_is_whole(stream: bytes, content: bytes, cut: int) -> None:
    """Whole records, which are the file's own up to the cut; behind it come the rest of one and zeros."""
    found, wanted = records_of(stream), records_of(content[FIRST:])
    own = len(records_of_whole(content[:cut]))
    assert found[:own] == wanted[: min(own, len(found))]
    for sent, expected in zip(found[own:], wanted[own:], strict=False):
        assert sent == expected or sent.data.rstrip(b"\0") in expected.data


def records_of_whole(content: bytes) -> list[Record]:
    """Return the records that are whole in what is left of a file."""
    pieces = spans_of(content, 1)
    return [each for piece in pieces for each in records_of(piece.window)]


def test_the_rest_of_a_file_is_not_sent_after_zeros() -> None:
    """The next dispatcher does not go on behind them, even if the file has grown again."""
    content = capture_of([5000, 5000])
    with world_of(content) as world:
        os.ftruncate(world.file, 3000)
        with pytest.raises(CaptureError, match="truncated") as first:
            dispatch(world, spans_of(content, 1))
        os.pwrite(world.file, content, 0)
        with pytest.raises(CaptureError, match="truncated"):
            dispatch(world, spans_of(content, 1))

        assert first.value.offset == 3000
        [padded] = records_of(bytes(world.got))
        assert padded.data == b"\1" * (3000 - FIRST - 16) + bytes(5000 - 3000 + FIRST + 16)


def test_a_source_is_stored_before_its_first_byte() -> None:
    """Else a death right after it would leave bytes in the pipe that no position shows."""
    seen: list[tuple[str, int]] = []
    content = capture_of([100, 100])

    class Watching(World):
        def put(self, key: str, fd: int, note: Note) -> None:
            self.read()
            seen.append((key, len(self.got)))
            super().put(key, fd, note)

    with world_of(content) as plain:
        world = Watching(os.dup(plain.file))
        dispatch(world, spans_of(content, 1, [1]))
        world.close()

    assert ("batch", 116) in seen
    assert ("file", 0) in seen


def test_a_batchs_memory_is_positioned_at_its_start() -> None:
    """Splice moves from there."""
    with memory_file(b"12345") as batch:
        assert os.read(batch, 10) == b"12345"
