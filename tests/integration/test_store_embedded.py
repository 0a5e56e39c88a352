"""The embedded Redis: it and its companion lose no name, and it refuses another server's data."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support.cases import some_long
from support.forkserver import DEVNULL, Process, clean_environment, run, start
from support.waiting import wait_until

from pcapdj.runtime.errors import CannotCreate, ConfigError, PcapdjError, Unavailable
from pcapdj.store.client import Store
from pcapdj.store.embedded import claim_data, find_server, version_of
from pcapdj.store.keys import Keys
from pcapdj.store.server import read_server, risks
from pcapdj.store.syncing import is_synced


def command(folder: Path, socket: str = "redis.sock") -> list[str]:
    """Return the embedded server's module and command line."""
    return ["pcapdj.store.embedded", str(folder / "data"), "--socket", str(folder / socket)]


def answers(store: Store) -> bool:
    """Report whether the server answers."""
    try:
        store.ping()
    except PcapdjError:
        return False
    return True


@contextmanager
def serving(folder: Path, *inherited: int) -> Iterator[tuple[Process, Store]]:
    """Run the embedded server, which inherits these descriptors; return it and a client of it."""
    store = Store(f"unix://{folder}/redis.sock", Keys())
    with start(*command(folder), stdout=DEVNULL, inherited=inherited) as process:
        try:
            wait_until(lambda: answers(store), "the server to answer")
            yield process, store
        finally:
            process.kill()
            store.close()


def companions(folder: Path) -> list[psutil.Process]:
    """Return the companion processes of this folder's server."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"pcapdj.store.syncing", str(folder / "data")} <= set(process.info["cmdline"] or ())
    ]


def test_a_kill_loses_no_name(short_path: Path) -> None:
    """All names are there after a restart; socket and data are private."""
    names = [b"/in/%d.pcap" % number for number in range(2000)]
    with serving(short_path) as (process, store):
        for name in names:
            store.redis.rpush(store.keys.in_queue, name)
        assert (short_path / "redis.sock").stat().st_mode & 0o777 == 0o700
        process.send_signal(signal.SIGKILL)
        process.wait()

    with serving(short_path) as (_, store):
        assert store.redis.lrange(store.keys.in_queue, 0, -1) == names
    assert (short_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", some_long([signal.SIGKILL, signal.SIGTERM], quick=(signal.SIGKILL,)))
def test_the_companion_ends_with_the_server(short_path: Path, number: int) -> None:
    """However the server ends, no process remains."""
    with serving(short_path) as (process, _):
        (companion,) = companions(short_path)

        process.send_signal(number)
        process.wait()

        wait_until(lambda: not companion.is_running(), "the companion to end")
        assert not is_synced(short_path / "data")


def test_the_companion_is_not_a_child_of_the_server(short_path: Path) -> None:
    """Not even a zombie; and a signal to the server's group or terminal does not reach it."""
    with serving(short_path) as (process, _):
        (companion,) = companions(short_path)

        assert psutil.Process(process.pid).children() == []
        assert os.getsid(companion.pid) != os.getsid(process.pid)


def test_the_companion_has_only_the_descriptors_that_it_needs(short_path: Path) -> None:
    """It inherits only stderr: a pipe or socket of the process that started it would stay open."""
    read_end, write_end = os.pipe()
    with serving(short_path, write_end):
        os.close(write_end)
        (companion,) = companions(short_path)
        folder = Path(f"/proc/{companion.pid}/fd")

        held = {str(link.readlink()) for link in folder.iterdir() if link.name != "2"}

    os.close(read_end)
    assert held == {"/dev/null", "anon_inode:[pidfd]", str(short_path / "data")}


@pytest.mark.long
def test_a_second_server_of_one_folder_waits_until_the_first_has_ended(short_path: Path) -> None:
    """Two servers would write into one file, and the one that ends would remove the other's socket."""
    with serving(short_path) as (first, store):
        store.redis.rpush(store.keys.in_queue, b"/in/1.pcap")
        log = short_path / "second.log"
        with (
            log.open("wb") as stderr,
            start(*command(short_path), stdout=DEVNULL, stderr=stderr) as second,
        ):
            wait_until(lambda: b"waiting_for_data" in log.read_bytes(), "the second to wait")
            assert store.redis.info("server")["process_id"] == first.pid

            first.terminate()
            first.wait()

            wait_until(lambda: answers(store), "the second to answer")
            assert store.redis.info("server")["process_id"] == second.pid
            assert store.redis.lrange(store.keys.in_queue, 0, -1) == [b"/in/1.pcap"]
            second.kill()


def test_a_missing_companion_is_noticed(short_path: Path) -> None:
    """With it there is no risk; if only the companion is killed, `check` reports it."""
    with serving(short_path) as (_, store):
        server = read_server(store)
        assert server.is_synced
        assert list(risks(server.settings or {}, is_synced=server.is_synced)) == []

        (companion,) = companions(short_path)
        companion.kill()

        wait_until(lambda: not read_server(store).is_synced, "the missing companion to be seen")
        assert store.redis.ping()


def test_a_named_redis_makes_it_exit_at_once(short_path: Path) -> None:
    """With 0, so that supervisord does not restart it; it makes no folder."""
    done = run(*command(short_path), env=clean_environment(PCAPDJ_REDIS_URL="redis://elsewhere"))

    assert done.returncode == 0
    assert not (short_path / "data").exists()


def test_a_socket_path_that_is_too_long_is_refused(short_path: Path) -> None:
    """The message has its length and the limit."""
    done = run(*command(short_path, "s" * 107))

    assert done.returncode == 73
    assert "107" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(short_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "before"),
    [
        ("Redis 7.0.15", "Valkey 8.1.0"),
        ("Redis 7.0.15", "Redis 8.0.1"),
        ("Valkey 9.1.2", "Redis 7.4.0"),
        ("Valkey 8.0.0", "Valkey 9.0.0"),
    ],
)
def test_data_that_this_server_cannot_read_is_refused(tmp_path: Path, version: str, before: str) -> None:
    """Both servers are named, and the record of the other one stays."""
    (tmp_path / "written-by").write_text(before + "\n")

    with pytest.raises(ConfigError, match=f"{before}; {version}"):
        claim_data(tmp_path, version)

    assert (tmp_path / "written-by").read_text() == before + "\n"


@pytest.mark.parametrize(
    "before", [None, "Redis 7.2.5", "Redis 6.0", "Valkey 8.1.0", "", "a torn record", "Redis ?"]
)
def test_data_that_the_server_can_read_is_accepted(tmp_path: Path, before: str | None) -> None:
    """So is data without a readable record, as a crash may leave it."""
    if before is not None:
        (tmp_path / "written-by").write_text(before)

    claim_data(tmp_path, "Valkey 9.1.2")

    assert (tmp_path / "written-by").read_text() == "Valkey 9.1.2\n"


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file of that name exists."""
    (tmp_path / "data").touch()

    with pytest.raises(CannotCreate, match="data"):
        claim_data(tmp_path / "data", "Redis 7.0.15")


def test_the_name_and_version_of_the_server_are_read() -> None:
    """As they are recorded, and as `check` shows them."""
    name, number = version_of(find_server()).split()

    assert name in {"Redis", "Valkey"}
    assert number[0].isdigit()


def test_a_server_that_does_not_start_is_unavailable(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "redis-server").write_text("#!/bin/false\n")
    (tmp_path / "redis-server").chmod(0o755)

    with pytest.raises(Unavailable, match="redis-server"):
        version_of(tmp_path / "redis-server")


def test_the_server_of_the_wheel_is_used_where_no_other_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PATH comes first, then the `embedded` extra; without both the message names what to install."""
    (tmp_path / "valkey-server").write_text("#!/bin/true\n")
    (tmp_path / "valkey-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == tmp_path / "valkey-server"

    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    try:
        assert find_server().name == "valkey-server"
    except Unavailable as missing:
        assert "pcapdj[embedded]" in str(missing)  # noqa: PT017 - either is right
