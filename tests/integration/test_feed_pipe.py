"""Bytes into a real pipe: whole, interruptible, and exact about what entered it."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.pipes import LivingPeer, NoWaits, ScriptedInterrupts
from support.waiting import scaled, wait_until

from pcapdj.feed.batches import memory_file
from pcapdj.feed.pipe import Pipe
from pcapdj.runtime.errors import LauncherGone, ReaderGone, Stopped

CAPACITY_BYTES = 1 << 20


class Ends:
    """Both ends of a pipe; the reading one never blocks."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.is_read = True

    def read(self) -> bytes:
        """Return what is in the pipe."""
        parts = []
        with suppress(BlockingIOError):
            while part := os.read(self.reader, 1 << 20):
                parts.append(part)
        return b"".join(parts)

    def leave(self) -> None:
        """Close the reading end, as an analyzer that dies."""
        if self.is_read:
            os.close(self.reader)
            self.is_read = False


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Return a pipe's two ends; the writing one belongs to the test's `Pipe`."""
    both = Ends()
    yield both
    both.leave()


@pytest.fixture
def make_pipe(ends: Ends) -> Iterator[Callable[..., Pipe]]:
    """Return a function that makes the pipe's `Pipe` that does something at each check."""
    made: list[Pipe] = []

    def make(on_check: Callable[[], None] = lambda: None, *wakeups: int) -> Pipe:
        interrupts = ScriptedInterrupts(on_check, *(_Descriptor(each) for each in wakeups))
        made.append(Pipe(ends.writer, interrupts, LivingPeer(), "5ca1ab1e"))
        return made[-1]

    yield make
    for pipe in made:
        pipe.close()


class _Descriptor(int):
    def fileno(self) -> int:
        return int(self)


def source_of(tmp_path: Path, data: bytes) -> int:
    """Return a descriptor of a file with this data."""
    path = tmp_path / "source"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def test_splice_moves_exactly_so_many_bytes(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """From the source's position, which the kernel moves."""
    data = os.urandom(100_000)
    source = source_of(tmp_path, data)
    os.lseek(source, 1000, os.SEEK_SET)

    pipe = make_pipe()
    pipe.splice(source, 50_000)

    assert pipe.unread_bytes() == 50_000
    assert ends.read() == data[1000:51_000]
    assert os.lseek(source, 0, os.SEEK_CUR) == 51_000
    assert pipe.moved_bytes == 50_000
    os.close(source)


def test_a_full_pipe_is_waited_for(ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path) -> None:
    """More than a pipe holds arrives whole, in the order of the file."""
    data = os.urandom(3 * CAPACITY_BYTES)
    source, got = source_of(tmp_path, data), bytearray()

    def read_all() -> None:
        while len(got) < len(data):
            got.extend(ends.read())

    reader = threading.Thread(target=read_all)
    reader.start()
    make_pipe().splice(source, len(data))
    reader.join()

    assert bytes(got) == data
    os.close(source)


def test_a_stop_in_a_full_pipe_leaves_an_exact_position(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """The reader gets as much as the source's position shows."""
    data = os.urandom(3 * CAPACITY_BYTES)
    source, calls = source_of(tmp_path, data), []

    def stop_when_full() -> None:
        calls.append(1)
        if len(calls) > 3 and not pipe.unread_bytes() % 4096 and pipe.unread_bytes() > 60_000:
            raise Stopped("A stop signal arrived.")

    pipe = make_pipe(stop_when_full)
    with pytest.raises(Stopped):
        pipe.splice(source, len(data))

    entered = ends.read()
    assert entered == data[: os.lseek(source, 0, os.SEEK_CUR)]
    assert entered
    os.close(source)


def test_a_wakeup_is_checked_while_the_pipe_is_full(make_pipe: Callable[..., Pipe], tmp_path: Path) -> None:
    """A signal's descriptor ends the wait; nothing has to be read for it."""
    source = source_of(tmp_path, bytes(3 * CAPACITY_BYTES))
    wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    timer = threading.Timer(0.1, os.eventfd_write, [wakeup, 1])
    timer.start()

    def on_check() -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(wakeup)
            raise Stopped("It was seen.")

    with pytest.raises(Stopped, match="It was seen"):
        make_pipe(on_check, wakeup).splice(source, 3 * CAPACITY_BYTES)
    timer.join()
    os.close(wakeup)
    os.close(source)


def test_a_suspension_is_stayed_in_before_each_move(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """The check comes first: while it waits nothing enters the pipe."""
    seen: list[bytes] = []
    source = source_of(tmp_path, b"x" * 100)

    make_pipe(lambda: seen.append(ends.read())).splice(source, 100)

    assert seen[0] == b""
    assert len(b"".join(seen) + ends.read()) == 100
    os.close(source)


def test_a_reader_that_left_is_noticed_in_splice_and_drain(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """In the middle of a file, and when it died with bytes unread."""
    source = source_of(tmp_path, bytes(100))
    pipe = make_pipe()
    pipe.splice(source, 50)
    assert not pipe.is_broken()

    ends.leave()

    assert pipe.is_broken()
    with pytest.raises(ReaderGone, match="50 bytes unread"):
        pipe.drain()
    with pytest.raises(ReaderGone):
        pipe.splice(source, 50)
    assert os.lseek(source, 0, os.SEEK_CUR) == 50
    os.close(source)


def test_drain_waits_until_everything_is_read(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """An analyzer that left after its last byte has read it all."""
    source = source_of(tmp_path, bytes(100_000))
    pipe = make_pipe()
    pipe.splice(source, 100_000)
    drained = threading.Event()

    def drain() -> None:
        pipe.drain()
        drained.set()

    thread = threading.Thread(target=drain)
    thread.start()
    os.read(ends.reader, 99_999)
    assert not drained.is_set()
    os.read(ends.reader, 1)
    wait_until(drained.is_set, "the pipe to be drained")
    thread.join()

    ends.leave()
    pipe.drain()
    os.close(source)


def test_a_drain_can_be_stopped(make_pipe: Callable[..., Pipe], tmp_path: Path) -> None:
    """An analyzer that reads nothing must not keep a dispatcher from leaving."""
    source = source_of(tmp_path, bytes(10))

    def stop_once_full() -> None:
        if pipe.unread_bytes():
            raise Stopped("A stop signal arrived.")

    pipe = make_pipe(stop_once_full)
    pipe.splice(source, 10)

    with pytest.raises(Stopped):
        pipe.drain()
    os.close(source)


def test_a_source_that_ends_early_is_an_error_of_ours(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path
) -> None:
    """A memory file cannot become shorter; without the error the dispatcher would spin."""
    source = source_of(tmp_path, b"x" * 100)

    with pytest.raises(EOFError):
        make_pipe().splice(source, 101)

    assert ends.read() == b"x" * 100
    os.close(source)


def test_a_batch_that_is_empty_too_early_is_an_error_of_ours(
    ends: Ends, make_pipe: Callable[..., Pipe]
) -> None:
    """The kernel answers as for a full pipe; waiting for room would never end."""
    batch, writer = os.pipe2(os.O_NONBLOCK)
    os.write(writer, b"x" * 100)

    with pytest.raises(EOFError, match="a batch has fewer bytes"):
        make_pipe().splice(batch, 101)

    assert ends.read() == b"x" * 100
    for each in (batch, writer):
        os.close(each)


def write_without_quota() -> int:
    """Use up the user's quota of pipe pages, and send a record through one pipe more; return its bytes."""
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 65534)  # root has no quota
    kept = []
    for _ in range(500):
        kept.append(os.pipe2(os.O_NONBLOCK))
        try:
            fcntl.fcntl(kept[-1][1], fcntl.F_SETPIPE_SZ, CAPACITY_BYTES)
        except PermissionError:
            break
    else:
        return 0
    reader, writer = os.pipe2(os.O_NONBLOCK)
    pipe = Pipe(writer, ScriptedInterrupts(), LivingPeer(), "5ca1ab1e")
    source = memory_file("header", 3000, NoWaits())
    pipe.splice(source, 3000)
    return len(os.read(reader, 4000))


def test_a_pipe_that_cannot_be_enlarged_works_with_its_size() -> None:
    """The user's quota is used up, by other pipes."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            code = 0 if write_without_quota() == 3000 else 2
        os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Peer(LivingPeer):
    """An analyzer that dies when its launcher is asked for the second time, or whose launcher dies."""

    def __init__(self) -> None:
        self.lives = True
        self.looks = self.questions = 0

    def is_alive(self) -> bool:
        """Report whether the launcher lives."""
        self.looks += 1
        return self.lives

    def has(self, stream: str) -> bool:
        """Report whether the stream's analyzer lives."""
        assert stream == "5ca1ab1e"
        self.questions += 1
        return self.questions == 1


class SuspendedInterrupts(ScriptedInterrupts):
    """The feeding is suspended until the test fails."""

    def check(self) -> bool:
        """Wait a moment; it is still suspended."""
        super().check()
        time.sleep(0.01)
        return True


def test_a_launcher_that_dies_is_noticed_during_a_suspension(ends: Ends, tmp_path: Path) -> None:
    """A stream must not be continued after a suspension of hours; the launcher waits for our write end."""
    peer, source = Peer(), source_of(tmp_path, b"x" * 100)
    pipe = Pipe(ends.writer, SuspendedInterrupts(), peer, "5ca1ab1e")
    threading.Timer(0.1, setattr, (peer, "lives", False)).start()
    started_s = time.monotonic()

    with pytest.raises(LauncherGone):
        pipe.splice(source, 100)

    lasted_s = time.monotonic() - started_s
    assert lasted_s < scaled(5)
    assert peer.looks < 2 + 4 * lasted_s
    assert ends.read() == b""
    pipe.close()
    os.close(source)


def test_an_analyzer_that_dies_behind_another_reader_is_noticed(ends: Ends, tmp_path: Path) -> None:
    """No EPIPE comes then: each second without a byte taken the launcher is asked."""
    peer, source = Peer(), source_of(tmp_path, bytes(3 * CAPACITY_BYTES))
    pipe = Pipe(ends.writer, ScriptedInterrupts(), peer, "5ca1ab1e")
    started_s = time.monotonic()

    with pytest.raises(ReaderGone, match="another process"):
        pipe.splice(source, 3 * CAPACITY_BYTES)

    assert pipe.stalled_s() >= 2
    assert peer.looks < 2 + 4 * (time.monotonic() - started_s)
    pipe.close()
    os.close(source)


def test_a_suspension_is_not_the_analyzers_time(ends: Ends, tmp_path: Path) -> None:
    """Else each suspension would look like an analyzer that reads nothing."""
    source, stalled_s = source_of(tmp_path, bytes(100)), []

    def suspend() -> None:
        time.sleep(1.0)

    def look() -> None:
        stalled_s.append(pipe.stalled_s())
        ends.read()

    steps = iter([lambda: None, lambda: None, suspend, look])
    pipe = Pipe(ends.writer, ScriptedInterrupts(lambda: next(steps)()), LivingPeer(), "5ca1ab1e")  # noqa: PLW0108 - a step each
    pipe.splice(source, 100)
    pipe.drain()

    assert stalled_s[0] < 0.9
    pipe.close()
    os.close(source)


@pytest.mark.parametrize("reads", [True, False])
def test_while_a_pipe_drains_it_shows_for_how_long_nothing_was_read(
    ends: Ends, make_pipe: Callable[..., Pipe], tmp_path: Path, *, reads: bool
) -> None:
    """An analyzer that reads a byte now and then is slow, and has not stalled."""
    source = source_of(tmp_path, bytes(80))
    stalled_s: list[float] = []

    def look() -> None:
        if pipe.unread_bytes():
            stalled_s.append(pipe.stalled_s())
            if reads:
                os.read(ends.reader, 1)
            elif len(stalled_s) == 50:
                ends.read()

    pipe = make_pipe(look)
    pipe.splice(source, 30)
    ends.read()
    pipe.splice(source, 50)
    begun_s = time.monotonic()
    pipe.drain()
    lasted_s = time.monotonic() - begun_s

    assert (stalled_s[-1] < lasted_s / 2) == reads
    assert pipe.stalled_s() == 0
    os.close(source)
