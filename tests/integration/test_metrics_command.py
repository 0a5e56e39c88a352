"""`pcapdj metrics` of a real lane: checked by promtool, served on the loopback device, written by rename."""

import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.cases import some_long
from support.forkserver import PIPE, Process, clean_environment, start
from support.roles_rig import Trio
from support.waiting import scaled, wait_until
from support.workers import worker_of

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import QueuedFile
from pcapdj.commands import metrics
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.safe_text import printable
from pcapdj.store.client import Store
from pcapdj.store.lane_totals import QueueSize, queue_size

LINE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of the command: exit code, stdout, stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = exit_code_of(metrics.app, "pcapdj metrics", arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


def values(text: str) -> dict[str, float]:
    """Return the values by name and labels, without that of the lane."""
    found = {}
    for name, labels, value in LINE.findall(text):
        others = re.sub(r',?lane="[^"]*"', "", labels).strip(",")
        found[f"{name}{{{others}}}" if others else name] = float(value)
    return found


def check(text: str) -> None:
    """Let promtool check form, names and units."""
    answer = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


@contextmanager
def serving(*options: str) -> Iterator[tuple[Process, str]]:
    """Run the server on a free port; return it with its URL."""
    words = ["metrics", "--listen", *options]
    with start("pcapdj", *words, env=clean_environment(), stdout=PIPE, stderr=PIPE) as process:
        line = process.stderr.readline().decode()
        port = re.search(r"port (\d+)\.", line)
        assert port, line
        yield process, f"http://127.0.0.1:{port[1]}/metrics"
        process.terminate()
        assert process.wait() == 0


def scraped(url: str) -> str:
    """Return what a scrape gets."""
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


def test_a_lane_at_work_is_scraped(trio: Trio) -> None:
    """Two files, one of them torn, and one that is fed: roles, gate, queue, counters, disks."""
    url = trio.environment["PCAPDJ_REDIS_URL"]
    torn = trio.capture("2.pcap", 2, 10)
    os.truncate(torn, torn.stat().st_size - 100)
    trio.start_all()
    trio.queue(trio.capture("1.pcap", 1, 10), torn)
    trio.wait_logged("dispatcher", "file_failed")
    trio.brake.touch()
    feeding = trio.capture('3 \\"\n.pcap', 3, 4000)
    trio.queue(feeding, trio.capture("4.pcap", 4))
    trio.await_copied(30_000)

    with serving("0", "--redis-url", url) as (process, address):
        wait_until(lambda: "current_file_info" in scraped(address), "the current file")
        text = scraped(address)
        sockets = psutil.Process(worker_of(process.pid)).net_connections("inet")
        assert [each.laddr.ip for each in sockets if each.status == "LISTEN"] == ["127.0.0.1"]

    check(text)
    found = values(text)
    path = f'path="{trio.folder}"'
    expected = {
        'pcapdj_findings{level="critical"}': 0,
        'pcapdj_findings{level="warning"}': 1,  # a failed file
        'pcapdj_gate_state{state="open"}': 1,
        'pcapdj_gate_state{state="hold"}': 0,
        'pcapdj_analyzer_state{state="reading"}': 1,
        "pcapdj_queue_files": 1,
        'pcapdj_files_total{verdict="processed"}': 1,
        'pcapdj_file_failures_total{kind="damaged"}': 1,
        "pcapdj_packets_total": 19,
        "pcapdj_captured_bytes_total": 19 * 900,
        "pcapdj_analyzer_starts_total": 1,
        "pcapdj_failed_files": 1,
        f'pcapdj_disk_limit_bytes{{limit="hold",{path}}}': 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert [found[name] for name in found if name.startswith("pcapdj_role_up")] == [1.0] * 3
    assert 0 < found[f"pcapdj_disk_free_bytes{{{path}}}"] <= found[f"pcapdj_disk_size_bytes{{{path}}}"]
    families = {each.name: each for each in text_string_to_metric_families(text)}
    (file,) = families["pcapdj_current_file_info"].samples
    assert file.labels["file"] == printable(str(feeding))


def test_a_redis_that_is_away_is_a_metric(short_path: Path, run: Run) -> None:
    """The scrape succeeds, so that an alert rule can tell it from an exporter that is down."""
    code, text, _ = run("--redis-url", f"unix://{short_path}/none")

    assert code == ExitCode.OK
    check(text)
    assert values(text)["pcapdj_redis_up"] == 0.0
    assert "pcapdj_queue_files" not in text


def test_several_lanes_are_one_exporter(store: Store, run: Run) -> None:
    """Each has its label, and all have the same families."""
    store.redis.rpush(store.keys.in_queue, "/in/1")

    _, text, _ = run("--redis-url", store.url, "--lane", store.keys.lane, "--lane", "other")

    check(text)
    assert f'pcapdj_queue_files{{lane="{store.keys.lane}"}} 1.0' in text
    assert 'pcapdj_queue_files{lane="other"} 0.0' in text


def test_a_text_file_is_replaced_whole(store: Store, run: Run, tmp_path: Path) -> None:
    """Its reader has the old one open, or gets the new one; nothing else is left in the folder."""
    path = tmp_path / "pcapdj.prom"
    path.write_text("old\n")
    with path.open() as reader:
        assert run("--redis-url", store.url, "--lane", store.keys.lane, "--textfile", str(path))[0] == 0
        assert reader.read() == "old\n"

    check(path.read_text())
    assert [each.name for each in tmp_path.iterdir()] == ["pcapdj.prom"]


@pytest.mark.parametrize("name", ["pcapdj.prom", "pcapdj.prom.{pid}.{thread}", ".pcapdj.prom.{pid}"])
def test_no_link_beside_the_text_file_is_followed(store: Store, run: Run, tmp_path: Path, name: str) -> None:
    """Whoever may write to the folder of the collector has no file of this user overwritten."""
    folder, victim = tmp_path / "collector", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("mine\n")
    link = folder / name.format(pid=os.getpid(), thread=threading.current_thread().ident)
    link.symlink_to(victim)
    path = folder / "pcapdj.prom"

    code, *_ = run("--redis-url", store.url, "--lane", store.keys.lane, "--textfile", str(path))

    assert (code, victim.read_text(), path.is_symlink()) == (0, "mine\n", False)
    check(path.read_text())


@pytest.mark.parametrize("kind", ["pipe", "device", "stdout"])
def test_a_device_or_pipe_in_the_place_of_the_text_file_stays(
    store: Store, run: Run, tmp_path: Path, kind: str
) -> None:
    """As root, --textfile /dev/null would have made it a file for all programs of the machine."""
    path = tmp_path / "pcapdj.prom"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null" if kind == "device" else "/proc/self/fd/1")
    before = path.lstat()

    code, _, error = run("--redis-url", store.url, "--lane", store.keys.lane, "--textfile", str(path))

    assert (code, error.count("\n")) == (ExitCode.CANNOT_CREATE, 1)
    assert path.lstat().st_ino == before.st_ino
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--listen", "x"], ExitCode.USAGE),
        (["--listen", ":9108"], ExitCode.USAGE),
        (["--listen", "70000"], ExitCode.USAGE),
        (["--listen", "1", "--textfile", "x"], ExitCode.USAGE),
        (["--lane=x"] * 1001, ExitCode.USAGE),
        (["--listen", "192.0.2.1:1"], ExitCode.CANNOT_CREATE),
        (["--listen", f"{'a' * 80}:1"], ExitCode.CANNOT_CREATE),
        (["--textfile", "/does/not/exist/x.prom"], ExitCode.CANNOT_CREATE),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_what_cannot_be_served_or_written_is_refused(
    run: Run, store: Store, words: list[str], code: int
) -> None:
    """With one sentence, and no address but a named one is used."""
    found, _, error = run("--redis-url", store.url, *words)

    assert (found, error.count("\n")) == (code, 1)


def test_an_address_in_brackets_is_one_of_ipv6(run: Run, store: Store) -> None:
    """As URLs have it; the brackets are no part of it."""
    code, _, error = run("--redis-url", store.url, "--listen", "[2001:db8::1]:1")

    assert code == ExitCode.CANNOT_CREATE
    assert "2001:db8::1" in error
    assert "]" not in error


def test_the_size_of_the_queue_is_that_of_its_first_thousand_files(store: Store) -> None:
    """Beyond, it is estimated; names of other programs have no size."""
    assert queue_size(store) == QueueSize(0, 0)

    store.redis.rpush(store.keys.in_queue, "/foreign")
    assert queue_size(store) == QueueSize(1, None)

    lines: Any = {
        f"/in/{n}": f"{n} {QueuedFile(Identity(5, 7, 100 + n % 2, 15 * 10**8), 9, '', '/', '').as_line()}"
        for n in range(3000)
    }
    store.redis.rpush(store.keys.in_queue, *lines)
    store.redis.hset(store.keys.queued, mapping=lines)

    size = queue_size(store)

    assert (size.files, size.is_estimated, size.oldest_s) == (3001, True, 1.5)
    assert size.size_bytes == 3001 * (999 * 100 + 499) // 999


@pytest.mark.long
def test_a_scrape_of_twenty_lanes_costs_less_than_a_hundredth_of_a_core(store: Store) -> None:
    """Every 15 s: that are 150 ms of CPU for one; the limit here is for a busy machine."""
    lanes = [word for n in range(20) for word in ("--lane", f"{store.keys.lane}-{n}")]
    with serving("0", "--redis-url", store.url, *lanes) as (process, address):
        scraped(address)
        before = psutil.Process(worker_of(process.pid)).cpu_times()
        for _ in range(5):
            scraped(address)
        after = psutil.Process(worker_of(process.pid)).cpu_times()
        assert (after.user + after.system - before.user - before.system) / 5 < 0.3
        assert psutil.Process(worker_of(process.pid)).memory_info().rss < 80 << 20


def connections(address: str, count: int, *, sent: bytes = b"") -> ExitStack:
    """Return open connections, each of which has sent so much."""
    host, port = address.split("/")[2].split(":")
    opened = ExitStack()
    for _ in range(count):
        client = opened.enter_context(socket.create_connection((host, int(port)), timeout=20))
        with suppress(OSError):  # it is one too many, and closed already
            client.sendall(sent)
    return opened


@pytest.mark.parametrize("sent", some_long([b"", b"GET /metrics HTTP/1.1\r\nA: "], quick=(b"",)))
def test_connections_without_a_request_keep_no_scrape_from_its_answer(store: Store, sent: bytes) -> None:
    """Hundreds of them take no thread each, and leave nothing on the screen."""
    with serving("0", "--redis-url", store.url) as (process, address):
        with connections(address, 300, sent=sent):
            began_s = time.monotonic()
            assert "pcapdj_redis_up" in scraped(address)
            assert time.monotonic() - began_s < scaled(8)
            assert psutil.Process(worker_of(process.pid)).num_threads() < 25
        assert "pcapdj_redis_up" in scraped(address)
        wait_until(lambda: psutil.Process(worker_of(process.pid)).num_threads() < 5, "the end of the threads")
        os.set_blocking(process.stderr.fileno(), False)
        assert not process.stderr.read()


def test_many_scrapes_at_once_are_all_answered(store: Store) -> None:
    """One that has sent its request is not closed for another one; clients that leave are no error."""
    with serving("0", "--redis-url", store.url) as (process, address):
        connections(address, 20, sent=b"GET /metrics HTTP/1.1\r\n\r\n").close()
        with ThreadPoolExecutor(40) as pool:
            texts = list(pool.map(scraped, [address] * 40))
        assert all("pcapdj_redis_up" in text for text in texts)
        os.set_blocking(process.stderr.fileno(), False)
        assert not process.stderr.read()


def test_a_stop_signal_ends_it_at_once_and_the_next_one_has_its_port(store: Store) -> None:
    """Clients that send nothing are not waited for, and a connection that was closed keeps no port."""
    with serving("0", "--redis-url", store.url) as (process, address):
        scraped(address)
        silent = connections(address, 2)
        wait_until(
            lambda: psutil.Process(worker_of(process.pid)).num_threads() > 3, "the connections' threads"
        )
        stopped_s = time.monotonic()
    assert time.monotonic() - stopped_s < scaled(8)

    port = address.split("/")[2].split(":")[1]
    with silent, serving(port, "--redis-url", store.url) as (_, address):
        assert "pcapdj_redis_up" in scraped(address)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nAccept: application/openmetrics-text;version=a.b\r\n\r\n",
    ],
)
def test_a_request_that_cannot_be_read_is_refused_without_a_word(store: Store, sent: bytes) -> None:
    """Any client could fill the log otherwise."""
    with serving("0", "--redis-url", store.url) as (process, url):
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(sent)
            answer = b"".join(iter(lambda: client.recv(65_536), b""))

        assert answer.startswith(b"HTTP/1.0 400")
        assert "pcapdj_redis_up" in scraped(url)
        os.set_blocking(process.stderr.fileno(), False)
        assert not process.stderr.read()


def test_long_requests_take_no_memory(store: Store) -> None:
    """Sixteen clients with ninety header fields of 64 KiB each took half a gigabyte."""
    fields = b"".join(b"a%d: " % number + b"x" * 65_000 + b"\r\n" for number in range(90))
    with serving("0", "--redis-url", store.url) as (process, url):
        scraped(url)
        before_bytes = psutil.Process(worker_of(process.pid)).memory_info().rss
        address = url.removeprefix("http://").removesuffix("/metrics")

        def send(_: int) -> None:
            host, port = address.rsplit(":", 1)
            with suppress(OSError), socket.create_connection((host, int(port))) as client:
                client.sendall(b"GET /metrics HTTP/1.1\r\n" + fields + b"\r\n")
                while client.recv(65_536):
                    pass

        with ThreadPoolExecutor(16) as clients:
            list(clients.map(send, range(16)))

        assert "pcapdj_redis_up" in scraped(url)
        status = Path(f"/proc/{worker_of(process.pid)}/status").read_text()
        highest_bytes = int(status.split("VmHWM:")[1].split()[0]) << 10
        assert highest_bytes - before_bytes < 64 << 20


@pytest.mark.parametrize("digits", [40, 350, 4000])
def test_no_number_that_another_program_wrote_ends_it(run: Run, store: Store, digits: int) -> None:
    """A whole number in JSON may be larger than any float."""
    disk = dict.fromkeys(("free", "total", "minimum", "resume", "suspend", "rate"), int("9" * digits))
    fields = {
        "heartbeat_s": "1",
        "state": "hold",
        "disks": json.dumps([{"path": "/x", "unit": "bytes", **disk}]),
    }
    store.redis.hset(store.keys.gate, mapping=dict[Any, Any](fields))

    code, printed, _ = run("--redis-url", store.url, "--lane", store.keys.lane)

    assert code == ExitCode.OK
    check(printed)
