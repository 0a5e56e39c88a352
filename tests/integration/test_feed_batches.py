"""Captures into a real pipe, with dispatchers that die at any place: the stream stays whole."""

import errno
import fcntl
import gzip
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import Record, classic, enhanced, interface, section
from support.descriptors import open_descriptors
from support.launcher_rig import ActingWaits
from support.pipes import LivingPeer, NoWaits, ScriptedInterrupts

from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import BEGINNING, StreamFormat, Totals
from pcapdj.capture.reader import PIECE_BYTES
from pcapdj.feed.batches import Batches, memory_file, new_batches, wait_for_memory
from pcapdj.feed.note import BatchNote
from pcapdj.feed.pipe import Pipe
from pcapdj.launcher_protocol import BATCH_KEYS
from pcapdj.runtime.signals import HasFileno

PAGE = 4096
UNUSED_UID = 64_321
STREAM = StreamFormat(1, nanosecond=False)
PACKETS = [Record(n + 1, n, n.to_bytes(4, "big") * (20 + n % 60)) for n in range(5000)]
RECORDS = classic(PACKETS)[24:]
FORMS = {
    "plain": classic(PACKETS),
    "big endian": classic(PACKETS, order=">"),
    "pcapng": section()
    + interface()
    + b"".join(enhanced(r.seconds * 10**6 + r.fraction, r.data) for r in PACKETS),
    "gzip": gzip.compress(classic(PACKETS), 1),
}


class Killed(BaseException):
    """The dispatcher dies here."""


class World:
    """What outlives a dispatcher: the capture, the pipe with its reader, the launcher's descriptors.

    Args:
        name: of the capture.
        pipe_bytes: how large the pipe is.
    """

    def __init__(self, name: bytes, pipe_bytes: int = PAGE) -> None:
        self.name = name
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, pipe_bytes)
        self.batches = new_batches(NoWaits())
        self.got = bytearray()
        self.chances = 0
        self.offsets: list[int] = []

    def read(self) -> None:
        """Read what is in the pipe."""
        with suppress(BlockingIOError):
            while part := os.read(self.reader, 1 << 16):
                self.got += part

    def dispatch(self, dies_at: int = -1) -> None:
        """Be one dispatcher; die at this chance. Each check before a splice is one."""
        self.chances = 0

        def check() -> None:
            self.chances += 1
            self.read()
            if self.chances == dies_at:
                raise Killed

        own = {key: os.dup(fd) for key, fd in self.batches.descriptors.items()}
        batches = Batches(own, NoWaits())
        pipe = Pipe(os.dup(self.writer), ScriptedInterrupts(check), LivingPeer(), "5ca1ab1e")
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PAGE)
        try:
            batches.finish(pipe)
            send_rest(self, batches, pipe)
        finally:
            batches.close()
            pipe.close()
            self.read()

    def close(self) -> None:
        """Close everything."""
        self.batches.close()
        os.close(self.reader)
        os.close(self.writer)


def send_rest(world: World, batches: Batches, pipe: Pipe) -> None:
    """Send what is behind the noted place."""
    last = batches.last
    totals, position = (last.totals, last.stream_end) if last else (Totals(), 24)
    with open_capture(world.name, refuse_written=False) as capture:
        for piece in capture.pieces(STREAM, last.after if last else BEGINNING):
            before, totals = totals, totals + piece.totals
            note = BatchNote(0, "t", 0, len(piece.data), position, piece.after, before, totals)
            world.offsets.append(piece.after.offset)
            batches.send(pipe, piece.data, note)
            position += len(piece.data)


@contextmanager
def world_of(name: bytes) -> Iterator[World]:
    """Return a world around a capture."""
    world = World(name)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the names of the captures in all forms."""
    folder = tmp_path_factory.mktemp("captures")
    for form, content in FORMS.items():
        (folder / form).write_bytes(content)
    return {form: os.fsencode(folder / form) for form in FORMS}


@given(form=st.sampled_from(sorted(FORMS)), deaths=st.lists(st.integers(1, 150), max_size=6))
def test_a_stream_survives_the_death_of_every_dispatcher(
    captures: dict[str, bytes], form: str, deaths: list[int]
) -> None:
    """At any splice, in mid-record: the next one goes on at that byte."""
    with world_of(captures[form]) as world:
        for dies_at in deaths:
            with suppress(Killed):
                world.dispatch(dies_at)
        world.dispatch()
        world.dispatch()

        assert bytes(world.got) == RECORDS
        last = Batches({k: os.dup(fd) for k, fd in world.batches.descriptors.items()}, NoWaits()).last
        assert last is not None
        assert last.totals.packets == len(PACKETS)
        assert last.stream_end == 24 + len(RECORDS)


def test_a_successor_makes_only_what_is_not_sent(captures: dict[str, bytes]) -> None:
    """It goes on behind the noted batch."""
    with world_of(captures["plain"]) as world:
        with pytest.raises(Killed):
            world.dispatch(dies_at=PIECE_BYTES // PAGE + 20)
        sent = len(world.offsets)
        world.dispatch()

        assert sent == 2
        assert world.offsets == sorted(set(world.offsets))


def test_pages_that_a_reader_passes_on_keep_their_bytes(captures: dict[str, bytes]) -> None:
    """A relay refers to the pages of a batch while the batch is filled again."""
    keep_reader, keep_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(keep_writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    with world_of(captures["plain"]) as world:

        def relay() -> None:
            with suppress(BlockingIOError):
                while os.splice(world.reader, keep_writer, 1 << 20, flags=os.SPLICE_F_NONBLOCK):
                    pass

        pipe = Pipe(os.dup(world.writer), ScriptedInterrupts(relay), LivingPeer(), "5ca1ab1e")
        note = BatchNote(0, "t", 0, 50_000, 24, BEGINNING, Totals(), Totals())
        sent = [bytes([n]) * 50_000 for n in range(1, 9)]
        for data in sent:
            world.batches.send(pipe, data, note)
        relay()
        pipe.close()
        assert os.read(keep_reader, 1 << 20) == b"".join(sent)
    os.close(keep_reader)
    os.close(keep_writer)


def test_a_batch_holds_a_whole_piece() -> None:
    """The longest record fits: it must be in the batch before the note names it."""
    batches = new_batches(NoWaits())
    for key in BATCH_KEYS:
        assert os.write(batches.descriptors[key], bytes(PIECE_BYTES)) == PIECE_BYTES
        with pytest.raises(BlockingIOError):  # it is no place to wait in
            os.write(batches.descriptors[key], b"x")
    batches.close()


def test_what_a_dead_dispatcher_did_not_note_is_dropped(captures: dict[str, bytes]) -> None:
    """It had filled a batch: the note does not have it, so no byte of it may be sent."""
    with world_of(captures["plain"]) as world:
        for key in BATCH_KEYS:
            os.write(world.batches.descriptors[key], b"records that were not noted")
        world.dispatch()

        assert bytes(world.got) == RECORDS


class NoMorePipes(NoWaits):
    """Waits that end the process; with status 0 if the wait is for pipes."""

    def wait(
        self,
        timeout_s: float,  # noqa: ARG002 - as in `Waits`
        *readable: HasFileno | int,  # noqa: ARG002
        stops: int = 1,  # noqa: ARG002
        waiting_for: str = "",
    ) -> None:
        """End the process."""
        os._exit("pipe-user-pages-soft" not in waiting_for)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's pipes have to reach their limit")
def test_a_user_without_room_for_pipes_waits_for_it() -> None:
    """The kernel limits the pipes of users without privileges; the wait names the settings."""
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os.setresuid(UNUSED_UID, UNUSED_UID, UNUSED_UID)
            with suppress(PermissionError):
                while pipe := os.pipe():
                    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 20)
            new_batches(NoMorePipes())
        os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_next_batch_is_never_the_noted_one(captures: dict[str, bytes]) -> None:
    """Whoever died: the batch that the note names may not be in the pipe yet."""
    noted: list[int] = []

    class Watching(Batches):
        def send(self, pipe: Pipe, data: object, note: BatchNote) -> None:
            before = self.last
            super().send(pipe, data, note)  # type: ignore[arg-type]
            assert self.last is not None
            assert before is None or self.last.batch != before.batch
            noted.append(self.last.number)

    with world_of(captures["plain"]) as world:
        fds = {key: os.dup(fd) for key, fd in world.batches.descriptors.items()}
        pipe = Pipe(os.dup(world.writer), ScriptedInterrupts(world.read), LivingPeer(), "5ca1ab1e")
        batches = Watching(fds, NoWaits())
        send_rest(world, batches, pipe)
        batches.close()
        pipe.close()

    assert noted == list(range(1, len(noted) + 1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM, errno.EFBIG])
def test_missing_memory_is_waited_for(number: int) -> None:
    """It is not the capture's fault."""
    waits = NoWaits()

    wait_for_memory(OSError(number, os.strerror(number)), waits)

    assert waits.shown == [f"Waiting for memory for packets: {os.strerror(number)}."]


def test_a_memory_file_without_memory_is_made_once_there_is_some(
    request: pytest.FixtureRequest,
) -> None:
    """The limit of a file's size stands for a full machine. Nothing stays open of what could not be made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    before = open_descriptors()
    opened: list[set[int]] = []

    def end_shortage() -> None:
        opened.append(open_descriptors() - before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, hard))
    file = memory_file("header", (1 << 22) + 1, ActingWaits(NoWaits(), end_shortage))

    assert opened == [set()]
    assert open_descriptors() - before == {file}
    assert os.fstat(file).st_size == (1 << 22) + 1
    os.close(file)


def test_another_error_is_not_waited_for() -> None:
    """Waiting would not help."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        wait_for_memory(OSError(errno.EBADF, "Bad file descriptor"), NoWaits())


def test_a_memory_file_is_made_without_rights_to_run_it() -> None:
    """Where the kernel can make such files."""
    file = memory_file("header", 24, NoWaits())
    try:
        assert not os.fstat(file).st_mode & 0o111 or kernel_before((6, 3))
    finally:
        os.close(file)


def kernel_before(wanted: tuple[int, int]) -> bool:
    """Report whether the machine's kernel is older."""
    found = Path("/proc/sys/kernel/osrelease").read_text().split(".")
    return (int(found[0]), int(found[1])) < wanted
