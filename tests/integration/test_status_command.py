"""`pcapdj status`: its whole screen, and `--watch` on a terminal and without one."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from socket import gethostname

import pytest
from support.forkserver import PIPE, Process, clean_environment, start
from support.redis_server import DURABLE, PrivateRedis
from support.waiting import scaled, wait_until

from pcapdj import __version__
from pcapdj.commands import status
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.service import CONF, shipped
from pcapdj.store.client import Store

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
Screen = Callable[[int], list[str]]


@pytest.fixture
def screen(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Return a reader of the status screen's lines at a width."""

    def lines(columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        assert exit_code_of(status.app, "pcapdj status", options) == 0
        return [line.rstrip() for line in ESCAPES.sub("", capsys.readouterr().out).splitlines()]

    return lines


def busy(store: Store) -> None:
    """Fill the lane as it is while a file is fed."""
    keys, now_s = store.keys, time.time()
    store.redis.rpush(keys.in_queue, "/in/2.pcap", "/in/3.pcap")
    store.redis.rpush(keys.processed, "/in/0.pcap")
    store.redis.rpush(keys.failed, json.dumps({"name": "/in/bad.pcap", "reason": "it is damaged"}))
    store.redis.sadd(keys.dispatchers, "/run/stream.pcap")
    store.redis.hset(
        keys.current("/run/stream.pcap"), mapping={"name": "/in/1.pcap", "state": "feeding", "attempt": 1}
    )
    store.redis.hset(
        keys.stats("/run/stream.pcap"),
        mapping={
            "state": "Feeding fifo buffer", "name": "/in/1.pcap", "files": 1, "packets": 2968,
            "cap_lengths": 330581, "done_bytes": 512, "total_bytes": 1024, "heartbeat_s": now_s,
        },
    )  # fmt: skip
    reason = (
        "'/var/log' has 20.0 GiB (21,474,836,480 bytes) free; it holds below 10.0 GiB (10,737,418,240 bytes)."
    )
    store.redis.hset(
        keys.gate, mapping={"state": "open", "since_s": now_s - 600, "reason": reason, "heartbeat_s": now_s}
    )
    store.redis.hset(
        keys.consumer,
        mapping={
            "state": "reading", "stream": "ab12", "pid": 77, "command": "suricata --runmode=single -r {pipe}",
            "logdir": "/out/20260131T100000Z-ab12", "heartbeat_s": now_s,
        },
    )  # fmt: skip


def test_the_screen_of_a_busy_lane(store: Store, screen: Screen) -> None:
    """All of it, on a terminal of 80 columns: long lines are folded beside the labels."""
    busy(store)

    lines = screen(80)

    assert "".join(lines).startswith(f"pcapdj {__version__}  {gethostname()}:")
    at = lines.index("Files        2 queued, 1 current, 1 processed, 1 failed")
    assert [re.sub(r"\b\d+ s\b", "0 s", line) for line in lines[at:]] == [
        "Files        2 queued, 1 current, 1 processed, 1 failed",
        "Gate         open for 10 min: '/var/log' has 20.0 GiB free; it holds below 10.0",
        "             GiB.",
        "Analyzer     reading, stream ab12, pid 77",
        "             runs suricata --runmode=single -r {pipe}",
        "             writes to /out/20260131T100000Z-ab12",
        "Dispatcher   stream.pcap: Feeding fifo buffer",
        "             1 file, 2,968 packets, 322.8 KiB captured",
        "             '/in/1.pcap' (feeding)",
        "             [############............] 50% of 1.0 KiB",
        "Reported     controller 0 s, launcher 0 s, dispatcher 0 s ago; not yet: importer",
        "Failed last  '/in/bad.pcap': it is damaged",
    ]


def test_the_screen_of_a_wider_terminal_folds_nothing(store: Store, screen: Screen) -> None:
    """Each line of the snapshot is one line."""
    busy(store)

    gate = "Gate         open for 10 min: '/var/log' has 20.0 GiB free; it holds below 10.0 GiB."
    assert gate in screen(120)


def test_the_screen_of_an_empty_lane(screen: Screen) -> None:
    """Nothing has run yet."""
    assert screen(80)[-4:] == [
        "Files       0 queued, 0 current, 0 processed, 0 failed",
        "Gate        no controller has reported yet",
        "Analyzer    no launcher has reported yet",
        "Dispatcher  none has reported yet",
    ]


class Terminal:
    """A terminal of 100 columns, and what a command has written to it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        os.set_blocking(self._master, False)
        self.raw = ""

    def shows(self, words: str) -> bool:
        """Report whether these words have come since the last time; what came up to them is dropped."""
        with suppress(BlockingIOError):
            self.raw += os.read(self._master, 1 << 16).decode()
        _, found, after = ESCAPES.sub("", self.raw).partition(words)
        if found:
            self.raw = after
        return bool(found)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._master)
        os.close(self.slave)


@contextmanager
def watching(url: str, *options: str) -> Iterator[tuple[Process, Terminal]]:
    """Run `status --watch` on a terminal of its own."""
    terminal = Terminal()
    environment = clean_environment(TERM="xterm")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    words, slave = ["status", "--watch", "--redis-url", url, *options], terminal.slave
    try:
        with start("pcapdj", *words, env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
            yield process, terminal
    finally:
        terminal.close()


def test_the_watched_screen_follows_the_lane_and_outages(short_path: Path) -> None:
    """A change, a Redis that goes, and its return are shown within a second or so; Ctrl-C ends it."""
    server = PrivateRedis(short_path / "s", *DURABLE)
    server.start()
    try:
        with watching(server.url) as (process, terminal):
            wait_until(lambda: terminal.shows("pcapdj"), "the title")
            wait_until(lambda: terminal.shows("0 queued, 0 current"), "the first screen")
            server.client.rpush("PCAPDJ_IN_QUEUE", "/in/1.pcap")
            wait_until(lambda: terminal.shows("1 queued, 0 current"), "the queued file")
            server.kill()
            wait_until(lambda: terminal.shows("does not answer"), "the outage")
            server.start()
            wait_until(lambda: terminal.shows("1 queued, 0 current"), "the lane again")

            process.send_signal(signal.SIGINT)
            assert process.wait() == 0
    finally:
        server.stop()


def test_the_watched_screen_is_redrawn_in_place(store: Store) -> None:
    """Once a second it moves the cursor up and prints over the lines before, in their colours."""
    with watching(store.url, "--lane", store.keys.lane) as (process, terminal):
        wait_until(lambda: terminal.shows("none has reported yet"), "the first screen")
        seen = terminal.raw

        def is_redrawn() -> bool:
            nonlocal seen
            terminal.shows("no such words")
            seen = terminal.raw
            return "A\r\x1b[J" in seen and "\x1b[33mno controller has reported yet" in seen

        wait_until(is_redrawn, "the screen to be redrawn")
        shown_s = []
        for _ in range(4):
            wait_until(lambda: terminal.shows("none has reported yet"), "the next screen")
            shown_s.append(time.monotonic())
        pauses_s = [after_s - before_s for before_s, after_s in pairwise(shown_s)]
        assert sum(pauses_s) > 1.5  # a screen a second: Redis has other work to do
        assert min(pauses_s) < scaled(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda stop: stop.name)
def test_a_watch_on_a_stopped_terminal_ends_on_a_signal(store: Store, stop: signal.Signals) -> None:
    """After Ctrl-S nothing can be written: it does not wait for Ctrl-Q to restore the cursor."""
    with watching(store.url, "--lane", store.keys.lane) as (process, terminal):
        wait_until(lambda: terminal.shows("none has reported yet"), "the first screen")
        termios.tcflow(terminal.slave, termios.TCOOFF)
        try:
            process.send_signal(stop)
            assert process.wait() == (0 if stop is signal.SIGINT else -stop)
        finally:
            termios.tcflow(terminal.slave, termios.TCOON)


def test_a_watch_of_no_redis_ends_with_its_error(short_path: Path) -> None:
    """Later outages are shown; a wrong address is an error at once."""
    with watching(f"unix://{short_path}/none") as (process, terminal):
        wait_until(lambda: terminal.shows("does not answer"), "the error")
        assert process.wait() == ExitCode.UNAVAILABLE


def test_without_a_terminal_the_watched_screen_is_printed_again_every_second(store: Store) -> None:
    """One screen after the other, with an empty line between, and nothing that moves a cursor."""
    words = ["--watch", "--redis-url", store.url, "--lane", store.keys.lane]
    with start("pcapdj", "status", *words, stdout=PIPE, text=True) as process:
        first = [process.stdout.readline() for _ in range(6)]
        store.redis.rpush(store.keys.processed, "/in/1.pcap")
        begun_s = time.monotonic()
        second = [process.stdout.readline() for _ in range(6)]
        process.stdout.readline()
        assert time.monotonic() - begun_s > 0.9
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert process.wait() == 0
    title = rf"pcapdj {__version__}  {gethostname()}:{store.url}  lane {store.keys.lane}  "
    assert re.fullmatch(re.escape(title) + r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\n", first[0])
    assert second[0] > first[0]
    assert first[1] == "Files       0 queued, 0 current, 0 processed, 0 failed\n"
    assert second[1:] == [first[1].replace("0 processed", "1 processed"), *first[2:]]
    assert first[5] == "\n"


def test_watched_json_is_an_object_a_line(store: Store) -> None:
    """A program reads one a second."""
    words = ["--watch", "--json", "--redis-url", store.url, "--lane", store.keys.lane]
    with start("pcapdj", "status", *words, stdout=PIPE, text=True) as process:
        first = json.loads(process.stdout.readline())
        store.redis.rpush(store.keys.in_queue, "/in/1.pcap")
        objects, read_s = [], [time.monotonic()]
        for _ in range(3):
            objects.append(json.loads(process.stdout.readline()))
            read_s.append(time.monotonic())
        pauses_s = [after_s - before_s for before_s, after_s in pairwise(read_s)]
        assert max(pauses_s) > 0.9
        assert min(pauses_s) < scaled(1.5)
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert (first["queued"], objects[0]["queued"]) == (0, 1)
        assert process.wait() == 0


def test_the_watched_screen_names_the_folder_of_the_service(short_path: Path) -> None:
    """Who has several open knows which one it is, and when it was read."""
    (short_path / "var" / "run").mkdir(parents=True, mode=0o700)
    (short_path / CONF).write_text(shipped())
    server = PrivateRedis(short_path / "var" / "run" / "redis.sock")
    server.start()
    try:
        with watching(server.url) as (process, terminal):
            wait_until(lambda: terminal.shows(f"{gethostname()}:{short_path}"), "the title")
            process.send_signal(signal.SIGINT)
            process.wait()
    finally:
        server.stop()
