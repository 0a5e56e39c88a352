"""The embedded server's start: it waits for room on its disk, and for data that it can read."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cases import some_long
from support.forkserver import DEVNULL, Process, clean_environment, run, start
from support.mounts import MemoryMount, fill, memory_mount
from support.redis_server import answers
from support.service_rig import processes_about
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import CannotCreate, StoreUnavailable
from pcapdj.runtime.log import EventLog
from pcapdj.store.client import Store
from pcapdj.store.data_check import check_space, damage_of, is_torn, wait_for_usable_data
from pcapdj.store.embedded import find_server
from pcapdj.store.keys import Keys
from pcapdj.store.start_problem import clear_problem, problem_at, write_problem

SOON_S = 5.0  # from room to work: two seconds, and a busy machine


@contextmanager
def serving(folder: Path, data: Path, **variables: str) -> Iterator[tuple[Process, Path, Store]]:
    """Start the embedded server, as supervisord does; return it, its log and a client of it."""
    store, log = Store(f"unix://{folder}/redis.sock", Keys()), folder / "log"
    words = ("pcapdj.store.embedded", str(data), "--socket", str(folder / "redis.sock"))
    env = clean_environment(SUPERVISOR_ENABLED="1", **variables)
    with log.open("ab") as stderr, start(*words, stdout=DEVNULL, stderr=stderr, env=env) as process:
        try:
            yield process, log, store
        finally:
            process.kill()
            process.wait()
            store.close()
            wait_until(lambda: not processes_about(data), "server and companion to end")


def written(folder: Path) -> Path:
    """Return a data folder in which a server has written names."""
    data = folder / "data"
    with serving(folder, data) as (_, _, store):
        wait_until(lambda: answers(store), "the server to answer")
        for number in range(200):
            store.redis.rpush(store.keys.in_queue, b"/in/%d.pcap" % number)
    return data


def damage(data: Path) -> Path:
    """Overwrite the middle of the append-only file and return it."""
    (path,) = [*data.glob("appendonlydir/*.incr.aof"), *data.glob("appendonly.aof")]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    return path


def repair(sentence: str) -> str:
    """Paste the command that a sentence about damage shows into a shell; return it."""
    command = sentence.partition("then run: ")[2].partition(" (it cuts off")[0]
    subprocess.run(["bash", "-c", command], input=b"y\n", check=True, stdout=DEVNULL)
    return command


@pytest.fixture
def mount(short_path: Path) -> Iterator[MemoryMount]:
    """Yield a small disk."""
    with memory_mount(short_path, "4m") as mounted:
        yield mounted


def test_a_full_disk_is_waited_for_and_named(short_path: Path, mount: MemoryMount) -> None:
    """The server runs within two seconds of there being room; who asks for it meanwhile gets the reason."""
    (mount.folder / "data").mkdir(0o700)
    filling = fill(mount.folder)
    with serving(short_path, mount.folder / "data") as (process, log, store):
        wait_until(lambda: "waiting_for_storage" in log.read_text(), "the server to wait")
        with pytest.raises(
            StoreUnavailable, match=r"No space left on device.* Redis starts as soon as that works"
        ):
            store.ping()

        filling.unlink()
        began_s = time.monotonic()
        wait_until(lambda: answers(store), "the server to answer")

        assert time.monotonic() - began_s < scaled(SOON_S)
        assert process.poll() is None
    assert log.read_text().count("waiting_for_storage") == 1


def test_a_server_whose_disk_gets_full_takes_writes_again_once_there_is_room(
    short_path: Path, mount: MemoryMount
) -> None:
    """It refuses writes meanwhile, and does not end."""
    with serving(short_path, mount.folder / "data") as (_, _, store):
        wait_until(lambda: answers(store), "the server to answer")
        filling = fill(mount.folder)
        wait_until(lambda: is_refused(store), "writes to be refused")
        filling.unlink()
        began_s = time.monotonic()
        wait_until(lambda: not is_refused(store), "writes to be taken")

        assert time.monotonic() - began_s < scaled(SOON_S)


def is_refused(store: Store) -> bool:
    """Report whether the server refuses a write, as its disk is full."""
    try:
        store.call(lambda client: client.rpush("names", b"x" * 4096))
    except StoreUnavailable as exc:
        return "MISCONF" in str(exc)
    return False


def test_a_disk_that_is_mounted_late_is_waited_for(short_path: Path, mount: MemoryMount) -> None:
    """The data folder is a link to a folder on it, or the disk is read-only for a while."""
    (mount.folder / "data").mkdir(0o700)
    (short_path / "linked").symlink_to(mount.folder / "data")
    mount.unmount()
    with serving(short_path, short_path / "linked") as (_, log, store):
        wait_until(lambda: "waiting_for_storage" in log.read_text(), "the server to wait")
        mount.mount()
        wait_until(lambda: answers(store), "the server to answer")

    assert "linked' cannot be used: No such file or directory" in log.read_text()


@pytest.mark.long
def test_the_folder_below_an_unmounted_disk_gets_no_data(short_path: Path, mount: MemoryMount) -> None:
    """An empty queue in the place of the one on the disk would have everything fed again."""
    mount.folder.chmod(0o700)
    with serving(short_path, mount.folder) as (_, _, store):
        wait_until(lambda: answers(store), "the server to answer")
        store.redis.rpush(store.keys.in_queue, b"/in/1.pcap")
    mount.unmount()

    with serving(short_path, mount.folder) as (_, log, store):
        wait_until(lambda: "waiting_for_storage" in log.read_text(), "the server to wait")
        with pytest.raises(
            StoreUnavailable, match=r"mounted' is not mounted\. If the data belong on another disk"
        ):
            store.ping()
        below = [*mount.folder.iterdir()]
        mount.mount()
        wait_until(lambda: answers(store), "the server to answer")

        assert store.redis.llen(store.keys.in_queue) == 1
    assert below == []


def test_a_damaged_file_is_named_with_what_repairs_it(short_path: Path) -> None:
    """No server is started until the file has changed; the command that is shown repairs it."""
    damaged = damage(written(short_path))
    with serving(short_path, short_path / "data") as (process, log, store):
        wait_until(lambda: "redis_data_damaged" in log.read_text(), "the damage to be logged")
        with pytest.raises(StoreUnavailable) as refused:
            store.ping()
        sentence = str(refused.value)
        repair(sentence)
        wait_until(lambda: answers(store), "the server to answer")

        assert process.poll() is None
        assert 0 < store.redis.llen(store.keys.in_queue) < 200
    assert f"'{damaged}' is damaged at byte " in sentence
    assert " bytes, and with them all changes of queue and results since then)." in sentence
    assert log.read_text().count("redis_data_damaged") == 1
    assert problem_at(store.url) == ""


@pytest.mark.parametrize(
    "is_of_wheel", some_long([False, True], quick=(True,)), ids=["installed", "of the wheel"]
)
def test_a_server_without_a_checking_program_checks_by_itself(
    is_of_wheel: bool,  # noqa: FBT001 - a parameter of the test
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wheel with Valkey has one program, which is called by another name; also that command repairs."""
    damaged = damage(written(short_path))
    if is_of_wheel:
        monkeypatch.setenv("PATH", "/nowhere")
    server = find_server()
    monkeypatch.undo()
    link = short_path / server.name
    link.symlink_to(server)
    data = (short_path / "data").rename(short_path / "it's\n\x1b the data")
    damaged = data / damaged.relative_to(short_path / "data")
    before = damaged.stat().st_size

    command = repair(damage_of(link, data))

    assert command.startswith("bash -c ")
    assert command.isprintable()
    assert damage_of(link, data) == ""
    assert damaged.stat().st_size < before


@pytest.mark.long
@pytest.mark.parametrize("cut_bytes", [1, 5, 40])
def test_a_torn_end_is_no_damage(cut_bytes: int, short_path: Path) -> None:
    """The server cuts it off by itself, as after a power loss, or a kill while it writes."""
    data = written(short_path)
    (path,) = [*data.glob("appendonlydir/*.incr.aof"), *data.glob("appendonly.aof")]
    os.truncate(path, path.stat().st_size - cut_bytes)

    assert damage_of(find_server(), data) == ""
    with serving(short_path, data) as (_, log, store):
        wait_until(lambda: answers(store), "the server to answer")

        assert store.redis.llen(store.keys.in_queue) == 199
    assert "redis_data_damaged" not in log.read_text()


COMMAND = b"*2\r\n$4\r\nLLEN\r\n$1\r\nq\r\n"


@pytest.mark.parametrize("length", range(len(COMMAND) + 1))
def test_a_command_is_torn_wherever_it_ends_early(length: int, tmp_path: Path) -> None:
    """Behind the last whole one, and inside of a transaction without an end; annotations are left out."""
    before = b"*1\r\n$4\r\nPING\r\n"
    (tmp_path / "aof").write_bytes(before + b"#TS:1\r\n" + COMMAND + COMMAND[:length])

    assert is_torn(tmp_path / "aof", len(before))


@pytest.mark.parametrize(
    "end",
    [
        *(b"\0", b"\0" * 100, b"x\r\n", b"*x\r\n", b"*1\n", b"*2\r\n$4\r\nLLENxx", b"*1\r\n:4\r\n"),
        *(b"*1\r\n$-4\r\n", b"*" + b"1" * 100, b"*1\r\n$1x"),
    ],
)
def test_other_bytes_at_the_end_are_damage(end: bytes, tmp_path: Path) -> None:
    """Zeros above all, which a disk leaves where it had no time to write."""
    (tmp_path / "aof").write_bytes(COMMAND + end)

    assert not is_torn(tmp_path / "aof", len(COMMAND))


def test_a_base_file_that_cannot_be_repaired_is_named(short_path: Path) -> None:
    """redis-check-aof cuts off the end of a log; of a snapshot it repairs nothing."""
    data = written(short_path)
    for base in data.glob("appendonlydir/*.base.rdb"):
        base.write_bytes(base.read_bytes()[:20] + b"\xff" * 40)

    sentence = damage_of(find_server(), data)

    assert "which cannot be repaired" in sentence
    assert sentence.endswith("Restore the folder from a copy, or move it away to start with an empty queue.")


def test_a_server_that_ends_at_once_is_started_more_and_more_slowly(short_path: Path) -> None:
    """It may end for a reason that is not known here; a server that lived for a while is started at once."""
    socket, data, pauses = short_path / "redis.sock", short_path / "data", []
    for _ in range(6):
        began_s = time.monotonic()
        wait_for_usable_data(find_server(), data, socket, EventLog("redis"))
        pauses.append(round(time.monotonic() - began_s))
    problem = problem_at(f"unix://{socket}")
    (short_path / "redis.starts").write_text(f"{time.time() - 4} 7")
    began_s = time.monotonic()
    wait_for_usable_data(find_server(), data, socket, EventLog("redis"))

    assert pauses == [0, 0, 0, 0, 1, 2]
    assert problem.startswith("The server has ended 5 times just after its start; ")
    assert time.monotonic() - began_s < 1


def test_room_is_checked_by_writing(mount: MemoryMount) -> None:
    """Nothing is left of what was written."""
    check_space(mount.folder)
    left = [*mount.folder.iterdir()]
    filling = fill(mount.folder)

    with pytest.raises(CannotCreate, match="has no room for the data of Redis: No space left on device"):
        check_space(mount.folder)

    assert left == []
    assert [*mount.folder.iterdir()] == [filling]


def test_a_full_disk_is_named_also_if_the_socket_is_on_it(mount: MemoryMount) -> None:
    """As in the folder of a service: the sentence has room that an earlier start has kept for it."""
    url, data = f"unix://{mount.folder}/redis.sock", mount.folder / "data"
    with serving(mount.folder, data) as (_, _, store):
        wait_until(lambda: answers(store), "the server to answer")
    filling = fill(mount.folder)
    with serving(mount.folder, data) as (_, _, store):
        wait_until(lambda: problem_at(url), "the server to wait")
        with pytest.raises(
            StoreUnavailable, match=r"No space left on device.* Redis starts as soon as that works"
        ):
            store.ping()

        filling.unlink()
        wait_until(lambda: answers(store), "the server to answer")
        assert problem_at(url) == ""


def test_check_shows_a_server_that_refuses_and_calls_it_no_missing_one(mount: MemoryMount) -> None:
    """It answers, but not even PING in any other way than that its disk is full."""
    (mount.folder / "supervisord.conf").touch()
    (mount.folder / "var/run").mkdir(parents=True, mode=0o700)
    with serving(mount.folder / "var/run", mount.folder / "data") as (_, _, store):
        wait_until(lambda: answers(store), "the server to answer")
        fill(mount.folder)
        wait_until(lambda: is_refused(store), "the server to refuse")
        done = run("pcapdj", "check", cwd=mount.folder, env=clean_environment())

    assert f"wrong: Redis at {store.url} takes no writes now (MISCONF" in done.stdout
    assert "does not run" not in done.stdout


def test_no_sentence_is_written_over_a_file_of_others(mount: MemoryMount) -> None:
    """On a full disk, too: only the file that an earlier start has kept is written over."""
    socket = mount.folder / "redis.sock"
    note, other = socket.with_suffix(".problem"), mount.folder / "other"
    clear_problem(socket)
    other.write_bytes(note.read_bytes())
    fill(mount.folder)
    write_problem(socket, "It is full.")
    kept = problem_at(f"unix://{socket}")
    for make in (note.hardlink_to, note.symlink_to):
        note.unlink()
        make(other)
        write_problem(socket, "It is full.")

    assert kept == "It is full."
    assert other.read_text().strip() == ""


def test_a_problem_is_known_only_where_a_server_would_listen(short_path: Path) -> None:
    """At the socket's path; a file of another form is no problem."""
    socket = short_path / "a b.sock"
    write_problem(socket, "It is full.")
    found = problem_at(f"unix://{short_path}/a%20b.sock?db=0")
    clear_problem(socket)
    cleared = problem_at(f"unix://{socket}")
    socket.with_suffix(".problem").unlink()
    socket.with_suffix(".problem").mkdir()

    assert (found, cleared) == ("It is full.", "")
    assert problem_at(f"unix://{socket}") == ""
    assert problem_at("redis://localhost") == ""
