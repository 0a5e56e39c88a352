"""`pcapdj reclaim` as people call it, and the controller that calls it where a disk is short."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import forkserver
from support.forkserver import PIPE, Process, clean_environment, start
from support.mounts import MemoryMount, memory_mount
from support.reclaiming import feed, names_in, reclaimed, write_capture
from support.waiting import scaled, wait_until

from pcapdj.commands import reclaim
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.lock import Lock
from pcapdj.store.client import Store
from pcapdj.store.events import read_events

Run = Callable[..., tuple[int, str, str]]
BIG = 2000  # packets: 1.8 MB, where the disk has 16 MB


@pytest.fixture
def run(store: Store) -> Run:
    """Return a runner of the command in the test's lane: exit code, stdout, stderr."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        words = [*map(str, arguments), "--redis-url", store.url, "--lane", store.keys.lane]
        done = forkserver.run("pcapdj", "reclaim", *words, env=clean_environment())
        return done.returncode, done.stdout, done.stderr

    return run_command


@pytest.fixture
def mount(short_path: Path) -> Iterator[MemoryMount]:
    """Return a small disk."""
    with memory_mount(short_path) as mount:
        yield mount


def test_a_preview_names_the_files_their_sizes_and_what_stays(store: Store, run: Run, tmp_path: Path) -> None:
    """The ten newest stay by default; nothing is removed."""
    paths = [write_capture(tmp_path / f"{number:02}.pcap", number) for number in range(12)]
    feed(store, *paths)

    code, shown, _ = run("--dry-run", "--root", tmp_path, "--free", "100%")

    lines = shown.splitlines()
    assert code == ExitCode.OK
    assert lines[0].startswith(f"'{paths[0]}'  20.0 KiB  fed 20")
    assert lines[1].startswith(f"'{paths[1]}'")
    assert lines[2] == "2 files would be removed: 40.0 KiB."
    assert lines[3].startswith(f"'{tmp_path}' has ")
    assert lines[3].endswith("are needed, which is not enough.")
    assert lines[4:] == [
        "These stay:",
        "      10  among the newest (--keep-last)",
        "--reclaim is none: the controller removes nothing.",
    ]
    assert len(names_in(tmp_path)) == 12


def test_a_disk_needs_room_up_to_the_last_byte(
    store: Store, run: Run, mount: MemoryMount, tmp_path: Path
) -> None:
    """A file that is exactly as large as what is missing is enough."""
    feed(store, write_capture(mount.folder / "1.pcap"))
    found = os.statvfs(mount.folder)
    free_bytes = found.f_bavail * found.f_frsize
    roots = ("--dry-run", "--keep-last", 0, "--root", mount.folder)

    exact, more, less = (
        run(*roots, "--reclaim", how, "--free", str(free_bytes + 20480 + extra))[1].splitlines()
        for how, extra in (("delete", 0), ("compress", 1), (f"move:{tmp_path}", -20480))
    )

    assert exact[1] == "1 file would be removed: 20.0 KiB."
    assert re.fullmatch(r"'.*' has .* free, and would have (.*): \1 are needed\.", exact[2])
    assert exact[3:] == []
    assert more[1] == "1 file would be compressed: 20.0 KiB, before compression."
    assert more[2].endswith("are needed, which is not enough.")
    assert less[0] == "0 files would be moved: 0 B."
    assert re.fullmatch(r"'.*' has (.*) free, and would have \1: \1 are needed\.", less[1])


def publish(store: Store, *disks: dict[str, Any]) -> None:
    """Write what a running controller publishes of its disks."""
    one = {"unit": "bytes", "free": 1, "total": 9, "suspend_below": 0, "hold_below": 0, "fills_per_s": 0}
    listed = json.dumps([one | {"state": "open", "failure": "", "open_from": 1} | disk for disk in disks])
    limits = json.dumps({"suspend-free": "0"})
    fields = {"heartbeat_s": f"{time.time():.3f}", "state": "open", "disks": listed, "limits": limits}
    store.redis.hset(store.keys.gate, mapping=dict[Any, Any](fields))


def test_room_is_made_on_the_disks_of_the_controller(store: Store, run: Run, tmp_path: Path) -> None:
    """Up to resume-free, of inodes, too; with --if-short only where the gate is not open."""
    disk, gone = {"name": str(tmp_path), "open_from": 1 << 60}, {"name": "/nowhere", "open_from": 1}
    inodes = {"name": f"{tmp_path} (inodes)", "unit": "inodes", "open_from": 1 << 60}
    memory = {"name": "memory", "open_from": 1 << 60, "state": "hold", "unit": "pages"}
    dry = ("--dry-run", "--root", tmp_path)

    publish(store, disk, inodes, memory, gone, disk | {"name": "/unknown", "free": None, "state": "hold"})
    always, if_short = run(*dry)[1], run(*dry, "--if-short")[1]
    publish(store, disk, inodes | {"state": "hold"})
    by_inodes = run(*dry, "--if-short")[1]
    publish(store, disk | {"state": "hold"})
    by_bytes = run(*dry, "--if-short")[1]

    needed = f"'{tmp_path}' has .* free, and would have .*: 1024.0 PiB are needed, which is not enough."
    assert re.fullmatch(needed, always.splitlines()[1])
    assert len(always.splitlines()) == 3
    publish(store, disk | {"free": None, "state": "hold"})
    unknown = run(*dry, "--if-short")[1]
    assert if_short.splitlines()[1] == unknown.splitlines()[1] == "No watched disk needs room."
    for text in (by_inodes, by_bytes):
        assert re.fullmatch(needed, text.splitlines()[1])


def test_a_moved_file_is_shown_with_its_new_path(
    store: Store, run: Run, tmp_path: Path, mount: MemoryMount
) -> None:
    """The notes of the round stand below, and what the gate's fields get is the same."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)
    goal = mount.folder / "old"
    goal.mkdir(mode=0o700)
    options = (*("--reclaim", f"move:{goal}"), *("--root", tmp_path, "--free", "100%", "--keep-last", 0))
    _, shown, _ = run("now", *options)

    assert re.fullmatch(rf"'{path}'  20\.0 KiB  fed 20\S+Z -> '{goal}/\S+'", shown.splitlines()[0])
    assert shown.splitlines()[1].startswith("1 file moved: ")
    about = json.loads(store.redis.hget(store.keys.gate, "reclaim") or b"")
    assert about.keys() == {
        *("how", "time_s", "removed", "freed_bytes", "missing", "withheld", "gone", "notes", "problem"),
    }
    assert (about["how"], about["removed"], about["withheld"], about["gone"]) == ("move", 1, {}, 0)


def test_now_does_it_once_and_tells_what_is_missing(store: Store, run: Run, tmp_path: Path) -> None:
    """Exit code 1: there is not enough that may go. The gate's fields and the events have it."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)

    code, shown, error = run(
        "now", "--reclaim", "delete", "--root", tmp_path, "--free", "100%", "--keep-last", 0
    )

    assert code == ExitCode.ERROR
    assert shown.splitlines()[1] == "1 file removed: 20.0 KiB."
    assert re.search(
        r"Not enough files may be removed: .* lacks .*iB\. See 'pcapdj reclaim --dry-run'", error
    )
    assert " WARNING reclaim reclaim_round files=1 freed_bytes=20480: Not enough files may" in error
    about = json.loads(store.redis.hget(store.keys.gate, "reclaim") or b"")
    assert (about["removed"], about["how"], list(about["missing"])) == (1, "delete", [str(tmp_path)])
    wait_until(lambda: any(each.kind == "reclaimed" for each in read_events(store)), "the event")
    [event] = [each for each in read_events(store) if each.kind == "reclaimed"]
    assert (event.fields["name"], event.fields["how"], event.role) == (str(path), "removed", "reclaim")
    assert about["time_s"] - event.time_s < scaled(4)  # it waits only for a disk that frees too little


def test_what_a_killed_process_has_left_is_shown_and_completed_also_without_a_setting(
    store: Store, run: Run, tmp_path: Path
) -> None:
    """The capture has its name again; nothing else is removed."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)
    options = ["--root", str(tmp_path), "--free", "100%", "--keep-last", "0"]
    fault = clean_environment(
        PCAPDJ_FAULT="reclaim.hidden:1:kill", PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane
    )
    forkserver.run("pcapdj", "reclaim", "now", "--reclaim", "delete", *options, env=fault)
    assert names_in(tmp_path) == [".pcapdj-reclaim.1.pcap"]

    _, shown, _ = run("--dry-run", *options)
    code, _, _ = run("now", *options)

    assert "1 file left by a process that died: 'pcapdj reclaim now' completes that." in shown
    assert (code, names_in(tmp_path)) == (ExitCode.OK, ["1.pcap"])
    assert run("now", *options)[0] == ExitCode.USAGE


def test_json_has_the_same(store: Store, run: Run, tmp_path: Path) -> None:
    """For programs: the files, and how many stay by reason."""
    feed(store, write_capture(tmp_path / "1.pcap"), write_capture(tmp_path / "2.pcap"))

    _, shown, _ = run("--dry-run", "--json", "--root", tmp_path, "--free", "100%", "--keep-last", 1)

    found = json.loads(shown)
    size_bytes = (tmp_path / "1.pcap").stat().st_size
    file = {"name": str(tmp_path / "1.pcap"), "disk_bytes": 20480, "size_bytes": size_bytes}
    assert [{name: each[name] for name in file} for each in found["files"]] == [file]
    assert found["files"][0].keys() == {*file, "fed_s"}
    assert found["withheld"] == {"among the newest (--keep-last)": 1}
    assert (found["how"], found["dry_run"], found["removed"]) == ("delete", True, 0)

    _, shown, _ = run(
        "now", "--json", "--reclaim", "delete", "--root", tmp_path, "--free", "100%", "--keep-last", 1
    )

    done = json.loads(shown)
    assert [{name: each[name] for name in file} for each in done["files"]] == [file]
    assert done["files"][0].keys() == {*file, "fed_s", "to"}
    assert (done["how"], done["removed"], done["freed_bytes"]) == ("delete", 1, 20480)
    assert done["problem"].startswith("Not enough files may be removed")


def test_the_current_folder_is_no_root_unless_it_is_named(store: Store, tmp_path: Path) -> None:
    """An empty part of the variable would be it, and captures in it would be removed."""
    words = ["now", "--reclaim", "delete", "--free", "100%", "--redis-url", store.url]

    done = forkserver.run(
        "pcapdj", "reclaim", *words, cwd=tmp_path, env=clean_environment(PCAPDJ_ROOT="/nowhere:")
    )

    assert (done.returncode, "PCAPDJ_ROOT has an empty folder" in done.stderr) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], ExitCode.USAGE, "Write 'pcapdj reclaim --dry-run', or 'pcapdj reclaim now', pause or resume."),
        (["soon"], ExitCode.USAGE, "Write 'pcapdj reclaim --dry-run'"),
        (["now", "--dry-run"], ExitCode.USAGE, "Write 'pcapdj reclaim --dry-run'"),
        (["now", "--root", "/x"], ExitCode.USAGE, "Nothing is removed with --reclaim none"),
        (["now", "--reclaim", "delete"], ExitCode.USAGE, "No folder is named below which captures may be"),
        (
            ["now", "--reclaim", "move:"],
            ExitCode.USAGE,
            "'move:' is not a way to make room. Write none, delete",
        ),
        (["--dry-run", "--root", "/x", "--keep-within", "soon"], ExitCode.USAGE, "'soon' is not a time"),
        (["--dry-run", "--root", "/x"], ExitCode.UNAVAILABLE, "No controller is running"),
        (
            ["now", "--reclaim", "move:/nowhere", "--root", "/x", "--free", "1"],
            ExitCode.CANNOT_CREATE,
            "The folder '/nowhere' cannot be used",
        ),
    ],
)
def test_what_is_not_clear_is_refused_in_a_sentence(
    run: Run, arguments: list[str], code: ExitCode, message: str
) -> None:
    """Before anything is looked at."""
    found, _, error = run(*arguments)

    assert (found, message in error) == (code, True), error


@contextmanager
def controller(store: Store, mount: MemoryMount, *options: str) -> Iterator[Process]:
    """Run a controller that holds below 12 MiB, and opens from 14 MiB, of 16."""
    limits = ["--min-free", "12M", "--resume-free", "14M", "--resume-after", "0", "--suspend-free", "0"]
    limits += ["--min-free-inodes", "0"]
    where = ["--watch", str(mount.folder), "--redis-url", store.url, "--lane", store.keys.lane]
    with start(
        "pcapdj.controller", *limits, *where, *options, env=clean_environment(), stderr=PIPE, text=True
    ) as process:
        yield process
        if process.poll() is None:
            process.terminate()


def gate(store: Store) -> dict[str, str]:
    """Return the gate's fields."""
    found: Any = store.redis.hgetall(store.keys.gate)
    return {name.decode(): value.decode() for name, value in found.items()}


def test_the_controller_makes_room_until_resume_free(store: Store, mount: MemoryMount) -> None:
    """Of three captures of 1.8 MB the two oldest go: then the gate opens, and the third one stays."""
    paths = [write_capture(mount.folder / f"{number}.pcap", number, BIG) for number in range(3)]
    feed(store, *paths)

    with controller(store, mount, "--reclaim", "delete", "--root", str(mount.folder), "--keep-last", "0"):
        wait_until(lambda: len(names_in(mount.folder)) == 1, "room")
        wait_until(lambda: gate(store).get("state") == "open", "the gate to open")
        wait_until(lambda: "reclaim" in gate(store), "the result")

    assert names_in(mount.folder) == ["2.pcap"]
    assert json.loads(gate(store)["reclaim"])["removed"] == 2
    assert sorted(reclaimed(store)) == ["0.pcap", "1.pcap"]


@pytest.mark.long
def test_paused_rounds_do_not_begin_until_they_are_resumed(
    store: Store, mount: MemoryMount, run: Run
) -> None:
    """The pause is in Redis, beside live limits, which stay valid."""
    feed(store, write_capture(mount.folder / "1.pcap", packets=BIG * 3))
    assert run("pause")[0] == ExitCode.OK

    with controller(store, mount, "--reclaim", "delete", "--root", str(mount.folder), "--keep-last", "0"):
        wait_until(lambda: gate(store).get("state") == "hold", "the gate to hold")
        assert gate(store).get("refused") == ""
        assert names_in(mount.folder) == ["1.pcap"]
        assert run("resume")[0] == ExitCode.OK
        wait_until(lambda: names_in(mount.folder) == [], "room")


def test_without_the_option_nothing_goes(store: Store, mount: MemoryMount) -> None:
    """A short disk holds the gate, and the captures stay."""
    feed(store, write_capture(mount.folder / "1.pcap", packets=BIG * 4))

    with controller(store, mount):
        wait_until(lambda: gate(store).get("state") == "hold", "the gate to hold")

    assert names_in(mount.folder) == ["1.pcap"]


def test_a_controller_that_should_make_room_needs_a_root(store: Store, mount: MemoryMount) -> None:
    """Exit code 2, with the name of the setting."""
    with controller(store, mount, "--reclaim", "delete") as process:
        _, error = process.communicate()

    assert process.wait() == ExitCode.USAGE
    assert "Name it with --root, or in PCAPDJ_ROOT." in error


def test_two_at_once_exclude_each_other(store: Store, run: Run, tmp_path: Path) -> None:
    """Exit code 75: the controller's round runs."""
    with closing(Lock(reclaim.lock_path(store), "test")):
        code, _, error = run("now", "--reclaim", "delete", "--root", tmp_path, "--free", "1")

    assert (code, f"pid {os.getpid()}" in error) == (ExitCode.BUSY, True)
